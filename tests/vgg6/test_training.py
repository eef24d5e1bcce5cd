"""An epoch is that of a plain loop, its metrics are right, it learns and keeps its best weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.made.narrow_runs import FP32, digest, narrow_config, run
from torch import Tensor

from vgg6.augment import epoch_batches
from vgg6.common.seeds import derive_seed
from vgg6.data import Source, TrialData, split
from vgg6.evaluation import evaluate
from vgg6.hardware.runtime import Runtime, resident
from vgg6.model import VGG6
from vgg6.training import TrainState, fit


@pytest.mark.parametrize(
    "values",
    [{}, {"label_smoothing": 0.1, "schedule": "onecycle"}, {"cutout": 12}, {"sam": 0.1}],
)
def test_an_epoch_equals_a_plain_loop_and_its_metrics_those_counted_by_hand(
    tiny: TrialData, values: dict[str, Any]
) -> None:
    # Smooth and slow: at a rate where the loss first rises, rounding alone grows past any bound.
    shared = {"activation": "gelu", "lr": 0.002, "dropout": 0.0, "weight_decay": 0.001}
    config = narrow_config(epochs=2, **shared, **values)
    smoothing = config.label_smoothing
    parts = resident(tiny, "cpu")
    mean_colour = torch.tensor([round(255 * m) for m in tiny.mean], dtype=torch.uint8)
    torch.manual_seed(derive_seed(config.seed, 0, "weights"))
    model = VGG6(config)
    optimizer = torch.optim.SGD(
        model.parameters(), config.lr, momentum=0.9, weight_decay=0.001, foreach=False
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=8, cycle_momentum=False
    )
    if config.schedule == "constant":
        optimizer.param_groups[0]["lr"] = config.lr
    expected = []
    for epoch in (1, 2):
        loss_sum, correct = 0.0, 0
        for images, labels in epoch_batches(
            parts.train_images, parts.train_labels, 16, seed=config.seed, epoch=epoch, flip=False,
            cutout=config.cutout, colour=mean_colour,
        ):  # fmt: skip
            logits = model(parts.normalize(images))
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            if config.sam and epoch == 2:  # the last third of two epochs, begun ones whole
                _move_to_the_gradients_beside(
                    model, config.sam, lambda x=images, y=labels: F.cross_entropy(
                        model(parts.normalize(x)), y, label_smoothing=smoothing
                    ),
                )  # fmt: skip
            optimizer.step()
            lr = optimizer.param_groups[0]["lr"]
            if config.schedule == "onecycle" and schedule.last_epoch < 7:
                schedule.step()
            loss_sum += loss.item() * len(labels)
            correct += int((logits.argmax(1) == labels).sum())
        expected.append((loss_sum / 60, correct / 60, lr))

    got = list(fit(TrainState(config, FP32), tiny))
    for metrics, (train_loss, train_acc, lr) in zip(got, expected, strict=True):
        assert metrics.train_loss == pytest.approx(train_loss, rel=1e-4)
        assert metrics.train_acc == pytest.approx(train_acc, abs=1 / 60)
        assert metrics.lr == pytest.approx(lr, rel=1e-9)


def _move_to_the_gradients_beside(
    model: VGG6, radius: float, loss_of: Callable[[], Tensor]
) -> None:
    """Foret et al.'s algorithm 1, weight by weight: from the gradients at the weights to those at
    ``radius`` from them."""
    weights = list(model.parameters())
    slopes = [p.grad.clone() for p in weights if p.grad is not None]
    length = sum(float(g.square().sum()) for g in slopes) ** 0.5
    before = [p.detach().clone() for p in weights]
    for p, slope in zip(weights, slopes, strict=True):
        p.data += radius * slope / length
    model.zero_grad()
    loss_of().backward()
    for p, value in zip(weights, before, strict=True):
        p.data = value


def test_validation_metrics_are_those_of_the_model_that_the_epoch_left(tiny: TrialData) -> None:
    state = TrainState(narrow_config(norm="batch"), FP32)
    parts = resident(tiny, "cpu")
    for metrics in fit(state, tiny):
        state.model.eval()
        with torch.no_grad():
            logits = state.model(parts.normalize(parts.val_images))
        assert metrics.val_acc == (logits.argmax(1) == parts.val_labels).double().mean().item()
        expected = F.cross_entropy(logits, parts.val_labels).item()
        assert metrics.val_loss == pytest.approx(expected, rel=1e-5)


def test_evaluation_counts_true_classes_down_and_predicted_ones_across(
    digits_small: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = TrainState(narrow_config(), FP32)
    parts = resident(digits_small, "cpu")
    whole = evaluate(state.model, parts.train_images, parts.train_labels, parts.normalize, FP32)
    with torch.no_grad():
        predicted = state.model.eval()(parts.normalize(parts.train_images)).argmax(1)
    by_hand = torch.zeros(10, 10, dtype=torch.int64)
    for true, guess in zip(parts.train_labels, predicted, strict=True):
        by_hand[true, guess] += 1
    assert whole.confusion.equal(by_hand)
    assert whole.accuracy == by_hand.trace().item() / 400
    assert whole.confusion.dtype == torch.int64

    monkeypatch.setattr("vgg6.evaluation.EVAL_BATCH", 7)
    pieces = evaluate(state.model, parts.train_images, parts.train_labels, parts.normalize, FP32)
    assert pieces.loss == pytest.approx(whole.loss, rel=1e-6)
    assert pieces.confusion.equal(whole.confusion)


@pytest.mark.slow
def test_training_learns(digits_source: Source, runtime: Runtime) -> None:
    data = split(digits_source, limit_train=1000)
    config = narrow_config(optimizer="adam", lr=1e-3, epochs=3, batch_size=32)
    metrics = list(fit(TrainState(config, runtime), data))
    assert metrics[-1].best_val_acc > 0.8
    assert metrics[-1].train_loss < 0.7 * metrics[0].train_loss


@pytest.mark.slow
def test_images_are_mirrored_in_turn_where_it_is_asked_for_and_the_data_can_be(
    tiny: TrialData, digits_source: Source
) -> None:
    mirrored = split(replace(digits_source, flip=True), limit_train=60)
    for data, alike in ((tiny, True), (mirrored, False)):
        by_chance, in_turn = (
            run(TrainState(narrow_config(epochs=2, flip=flip), FP32), data)
            for flip in ("random", "alternating")
        )
        assert (by_chance == in_turn) == alike


def test_a_finished_run_does_nothing_more(tiny: TrialData, runtime: Runtime) -> None:
    state = TrainState(narrow_config(epochs=1), runtime)
    assert len(run(state, tiny)) == 1
    after = digest(state.model)
    assert run(state, tiny) == []
    assert digest(state.model) == after


def test_stopping_after_no_epoch_runs_none(tiny: TrialData, runtime: Runtime) -> None:
    assert list(fit(TrainState(narrow_config(), runtime), tiny, stop_after=0)) == []


@pytest.mark.slow
def test_the_best_weights_are_those_of_the_best_epoch_and_the_first_of_equals(
    tiny: TrialData,
) -> None:
    config = narrow_config(epochs=6, optimizer="adam", lr=0.003, seed=1)
    state = TrainState(config, FP32)
    history: list[tuple[float, dict[str, Tensor]]] = []
    for metrics in fit(state, tiny):
        weights = {k: v.clone() for k, v in state.model.state_dict().items()}
        history.append((metrics.val_acc, weights))
        scores = [score for score, _ in history]
        assert metrics.best_val_acc == state.best.val_acc == max(scores)
        first = scores.index(max(scores))
        assert metrics.best_epoch == state.best.epoch == first + 1
        assert all(v.equal(history[first][1][k]) for k, v in state.best.weights.items())
        assert state.best.weights.keys() == weights.keys()
    assert len(set(scores)) > 1


def test_an_accuracy_of_nothing_still_has_its_best_weights(
    tiny: TrialData, runtime: Runtime
) -> None:
    """Validation labels that the network never answers: its accuracy is exactly 0."""
    config = narrow_config(epochs=1)
    first = TrainState(config, runtime)
    list(fit(first, tiny))
    parts = resident(tiny, "cpu")
    first.model.eval()
    with torch.inference_mode(), runtime.autocast():
        answers = first.model(parts.normalize(parts.val_images)).argmax(1).numpy()
    wrong = replace(
        tiny, val=replace(tiny.val, labels=(answers + 1) % 10), fingerprint="never right"
    )
    state = TrainState(config, runtime)
    (metrics,) = fit(state, wrong)
    assert (metrics.val_acc, metrics.best_val_acc, metrics.best_epoch) == (0.0, 0.0, 1)
    assert all(torch.equal(state.best.weights[k], v) for k, v in state.model.state_dict().items())
