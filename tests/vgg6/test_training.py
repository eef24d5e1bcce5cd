"""A run is reproducible to the bit, stopped or not; it learns; and it stops before it breaks."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.paths import ROOT
from torch import Tensor

from vgg6.augment import epoch_batches
from vgg6.checkpoint import save_state
from vgg6.common.checks import InputError
from vgg6.common.seeds import derive_seed
from vgg6.config import TrialConfig
from vgg6.data import Source, TrialData, split
from vgg6.evaluation import evaluate
from vgg6.gradients import Gradients, Replayed, hold_weights
from vgg6.hardware.runtime import Runtime, native_bf16, resident, usable_cpus
from vgg6.model import VGG6
from vgg6.sharpness import Sharpened
from vgg6.training import NonFiniteLoss, TrainState, fit

FP32 = Runtime(device="cpu", precision="fp32", threads=1)


@pytest.fixture(scope="module")
def tiny(digits_source: Source) -> TrialData:
    """60 training images: four batches of 16, the last one short."""
    return split(digits_source, limit_train=60)


def _config(**values: Any) -> TrialConfig:
    """A run of a narrow network: how wide it is proves nothing here."""
    shared = {"activation": "relu", "lr": 0.01, "batch_size": 16, "epochs": 3, "init": "kaiming",
              "width": 0.25}  # fmt: skip
    return TrialConfig(**{**shared, **values})


def _digest(model: VGG6) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _run(state: TrainState, data: TrialData, **options: Any) -> list[dict[str, Any]]:
    """Each epoch's metrics without its time, and the weights after it."""
    out = []
    for metrics in fit(state, data, **options):
        facts = {k: v for k, v in metrics.to_dict().items() if k != "seconds"}
        out.append({**facts, "weights": _digest(state.model)})
    return out


# The same configuration, the same bits


@pytest.mark.slow
@pytest.mark.parametrize("threads", sorted({1, min(2, usable_cpus())}))
def test_the_same_configuration_gives_the_same_bits(
    tiny: TrialData, runtime: Runtime, threads: int
) -> None:
    runtime = replace(runtime, threads=threads)
    first = _run(TrainState(_config(), runtime), tiny)
    torch.rand(7)
    torch.set_num_threads(1)  # what was set outside of the run has no say
    assert _run(TrainState(_config(), runtime), tiny) == first
    assert [m["epoch"] for m in first] == [1, 2, 3]


@pytest.mark.slow
def test_runs_that_take_turns_in_one_process_do_not_touch_each_other(
    tiny: TrialData, runtime: Runtime
) -> None:
    configs = [_config(epochs=2), _config(epochs=2, seed=7, optimizer="adam", lr=1e-3)]
    alone = [_run(TrainState(c, runtime), tiny) for c in configs]
    states = [TrainState(c, runtime) for c in configs]
    together: list[list[dict[str, Any]]] = [[], []]
    for epoch in (1, 2):
        for state, out in zip(states, together, strict=True):
            out += _run(state, tiny, stop_after=epoch)
    assert together == alone


def test_another_seed_gives_another_start_another_order_and_another_result(
    tiny: TrialData,
) -> None:
    states = [TrainState(_config(epochs=1, seed=seed), FP32) for seed in (1, 2)]
    assert _digest(states[0].model) != _digest(states[1].model)
    assert _run(states[0], tiny)[0]["train_loss"] != _run(states[1], tiny)[0]["train_loss"]


RESUME = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_training import _run
from vgg6.checkpoint import load_state
from vgg6.data import load_digits, split
from vgg6.hardware.runtime import Runtime
runtime = Runtime(**json.loads(sys.argv[3]))
data = split(load_digits(), limit_train=60)
folders = sorted(Path(sys.argv[2]).glob("*/*"))
out = {f"{f.parent.name}/{f.name}": _run(load_state(f, runtime), data) for f in folders}
print(json.dumps(out))
"""
RESUMED = ("sgd", "adam", "nadam", "rmsprop", "adagrad")


@pytest.fixture(scope="module")
def stopped(
    tiny: TrialData, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs that are saved after each epoch, and what a new process makes of each saved state."""
    folder = tmp_path_factory.mktemp("stopped")
    whole = {}
    for name in RESUMED:
        config = _config(
            optimizer=name, lr=0.01 if name == "sgd" else 1e-3, schedule="onecycle", norm="batch"
        )
        state = TrainState(config, runtime)
        save_state(state, folder / name / "0")
        whole[name] = []
        for epoch in (1, 2, 3):
            whole[name] += _run(state, tiny, stop_after=epoch)
            save_state(state, folder / name / str(epoch))
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", RESUME, str(here), str(folder), json.dumps(runtime.to_dict())],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return whole, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
@pytest.mark.parametrize("optimizer", RESUMED)
def test_a_run_stopped_at_any_epoch_and_resumed_elsewhere_equals_one_never_stopped(
    stopped: tuple[dict[str, Any], dict[str, Any]], optimizer: str, epoch: int
) -> None:
    whole, resumed = stopped
    assert len({m["weights"] for m in whole[optimizer]}) == 3
    assert resumed[f"{optimizer}/{epoch}"] == whole[optimizer][epoch:]
    # The one that went on from epoch 0 was neither stopped nor saved on its way.
    assert resumed[f"{optimizer}/0"] == whole[optimizer]


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_a_run_stopped_early_is_the_beginning_of_the_whole_run(
    tiny: TrialData, runtime: Runtime, schedule: str
) -> None:
    config = _config(schedule=schedule)
    whole = _run(TrainState(config, runtime), tiny, stop_after=9)
    assert len(whole) == 3
    assert _run(TrainState(config, runtime), tiny, stop_after=2) == whole[:2]
    assert len({m["lr"] for m in whole}) == 3


def test_a_finished_run_does_nothing_more(tiny: TrialData, runtime: Runtime) -> None:
    state = TrainState(_config(epochs=1), runtime)
    assert len(_run(state, tiny)) == 1
    after = _digest(state.model)
    assert _run(state, tiny) == []
    assert _digest(state.model) == after


# What is trained, and what is reported


@pytest.mark.parametrize(
    "values",
    [{}, {"label_smoothing": 0.1, "schedule": "onecycle"}, {"cutout": 12}, {"sam": 0.1}],
)
def test_an_epoch_equals_a_plain_loop_and_its_metrics_those_counted_by_hand(
    tiny: TrialData, values: dict[str, Any]
) -> None:
    # Smooth and slow: at a rate where the loss first rises, rounding alone grows past any bound.
    shared = {"activation": "gelu", "lr": 0.002, "dropout": 0.0, "weight_decay": 0.001}
    config = _config(epochs=2, **shared, **values)
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


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_only_the_last_third_of_a_run_is_sharpened_and_leaves_the_weights_in_place(
    tiny: TrialData, norm: str
) -> None:
    config = _config(norm=norm, epochs=5, sam=0.1, dropout=0.0)
    plain, sharp = (_run(TrainState(c, FP32), tiny) for c in (replace(config, sam=0.0), config))
    assert [a == b for a, b in zip(plain, sharp, strict=True)] == [True] * 3 + [False] * 2

    parts = resident(tiny, "cpu")
    state = TrainState(config, FP32)
    gradients = Gradients(state.model, parts.normalize, FP32, 0.0)
    before = _digest(state.model)
    gradients(parts.train_images, parts.train_labels)
    once, normalised = gradients.totals.clone(), _digest(state.model)
    assert (before == normalised) == (norm == "none"), "batch norm keeps what it saw"
    slope = state.model.fc1.weight.grad
    assert slope is not None
    state = TrainState(config, FP32)
    gradients = Gradients(state.model, parts.normalize, FP32, 0.0)
    Sharpened(gradients, gradients, 0.1)(parts.train_images, parts.train_labels)
    assert _digest(state.model) == normalised, "weights and statistics, to the last bit"
    assert gradients.totals.equal(once), "counted once"
    sharp_slope = state.model.fc1.weight.grad
    assert sharp_slope is not None and not torch.allclose(sharp_slope, slope, rtol=1e-2)


def test_a_loss_that_is_not_finite_beside_the_weights_only_is_seen_and_leaves_them(
    tiny: TrialData,
) -> None:
    parts = resident(tiny, "cpu")
    state = TrainState(_config(), FP32)
    gradients = Gradients(state.model, parts.normalize, FP32, 0.0)
    before = _digest(state.model)
    gradients(parts.train_images, parts.train_labels)
    assert gradients.finite
    Sharpened(gradients, gradients, 1e30)(parts.train_images, parts.train_labels)
    assert not gradients.finite and gradients.loss.isfinite()
    assert _digest(state.model) == before


def test_validation_metrics_are_those_of_the_model_that_the_epoch_left(tiny: TrialData) -> None:
    state = TrainState(_config(norm="batch"), FP32)
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
    state = TrainState(_config(), FP32)
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
def test_the_best_weights_are_those_of_the_best_epoch_and_the_first_of_equals(
    tiny: TrialData,
) -> None:
    config = _config(epochs=6, optimizer="adam", lr=0.003, seed=1)
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


@pytest.mark.slow
def test_training_learns(digits_source: Source, runtime: Runtime) -> None:
    data = split(digits_source, limit_train=1000)
    config = _config(optimizer="adam", lr=1e-3, epochs=3, batch_size=32)
    metrics = list(fit(TrainState(config, runtime), data))
    assert metrics[-1].best_val_acc > 0.8
    assert metrics[-1].train_loss < 0.7 * metrics[0].train_loss


# Divergence


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 10.0},
        {"lr": 10.0, "activation": "gelu", "init": "torch"},
        {"lr": 10.0, "momentum": 0.0},
    ],
)
def test_a_run_that_diverges_stops_before_a_weight_is_lost(
    tiny: TrialData, runtime: Runtime, values: dict[str, Any]
) -> None:
    state = TrainState(_config(**{"batch_size": 8, "epochs": 5, **values}), runtime)
    finished = []
    with pytest.raises(NonFiniteLoss, match="training loss is (nan|inf) at epoch") as caught:
        finished += list(fit(state, tiny))
    assert all(p.isfinite().all() for p in state.model.parameters())
    assert state.epoch == len(finished) == caught.value.epoch - 1
    assert caught.value.step > 0


def test_a_validation_loss_that_is_not_finite_is_divergence_too(tiny: TrialData) -> None:
    # One step an epoch: validation is the first to see what the last step did.
    state = TrainState(_config(lr=10.0, batch_size=4096, epochs=9), FP32)
    with pytest.raises(NonFiniteLoss, match="validation loss is nan"):
        for metrics in fit(state, tiny):
            assert state.epoch == metrics.epoch
    assert state.best.epoch <= state.epoch


def test_gradients_of_a_lost_loss_are_zeroed_and_others_left(tiny: TrialData) -> None:
    parts = resident(tiny, "cpu")
    model = TrainState(_config(), FP32).model
    logits = model(parts.normalize(parts.train_images[:8]))
    loss = F.cross_entropy(logits, parts.train_labels[:8])
    loss.backward(retain_graph=True)
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    hold_weights(model, torch.tensor(False))
    for kept, parameter in zip(before, model.parameters(), strict=True):
        assert parameter.grad is not None
        assert parameter.grad.equal(kept)
        assert parameter.grad.any()

    (loss * float("nan")).backward()
    hold_weights(model, torch.tensor(True))
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()  # NaN counts as true: none is left


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("radius", [0.0, 0.05])
def test_replaying_a_cuda_graph_gives_the_gradients_of_running_each_batch(
    digits_source: Source, dropout: float, radius: float
) -> None:
    runtime = Runtime(device="cuda", precision="fp32", threads=1)
    config = _config(dropout=dropout, batch_size=32)
    parts = resident(split(digits_source, limit_train=32 * 9 + 5), "cuda")
    found = []
    for replays in (False, True):
        state = TrainState(config, runtime)
        gradients = Gradients(state.model, parts.normalize, runtime, 0.0)
        plain = Replayed(gradients, 32) if replays else gradients
        compute = Sharpened(plain, gradients, radius) if radius else plain
        state.model.train()
        for epoch in (1, 2):
            torch.manual_seed(epoch)
            for images, labels in epoch_batches(
                parts.train_images, parts.train_labels, 32, seed=1, epoch=epoch, flip=False
            ):
                compute(images, labels)
                state.optimizer.step()
        assert gradients.finite
        found.append((gradients.totals.tolist(), state.model.state_dict()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for name, value in found[0][1].items():
        torch.testing.assert_close(value, found[1][1][name], rtol=1e-3, atol=1e-5)


# The machine


def test_auto_becomes_what_the_machine_has() -> None:
    found = Runtime.resolve()
    assert found.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found.precision in ("bf16", "fp32")
    assert found.threads == usable_cpus()
    if native_bf16():
        assert Runtime.resolve("cpu").precision == "bf16"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "gpu"}, "^device: 'gpu' is not one of auto, cpu, cuda"),
        ({"precision": "fp16"}, "^precision: 'fp16' .*did you mean 'bf16'"),
        ({"threads": 0}, "^threads: 0 is not in"),
        ({"threads": 1.5}, "^threads: 1.5 is not a whole number"),
        ({"threads": True}, "^threads: True is not a whole number"),
    ],
)
def test_a_machine_that_does_not_exist_is_an_input_error(
    asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Runtime.resolve(**asked)


def test_a_run_on_a_gpu_uses_only_convolutions_that_give_the_same_bits_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    FP32.apply()
    assert not torch.backends.cudnn.deterministic, "it is no matter on a CPU"
    replace(FP32, device="cuda").apply()
    assert torch.backends.cudnn.deterministic


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_where_there_is_none_is_an_input_error() -> None:
    with pytest.raises(InputError, match="device: 'cuda' needs a CUDA GPU"):
        Runtime.resolve("cuda")


def test_data_with_equal_images_but_another_rule_is_not_taken_for_the_same(
    tiny: TrialData, digits_source: Source
) -> None:
    assert not resident(tiny, "cpu").flip
    mirrored = split(replace(digits_source, flip=True), limit_train=60)
    assert resident(mirrored, "cpu").flip


@pytest.mark.slow
def test_images_are_mirrored_in_turn_where_it_is_asked_for_and_the_data_can_be(
    tiny: TrialData, digits_source: Source
) -> None:
    mirrored = split(replace(digits_source, flip=True), limit_train=60)
    for data, alike in ((tiny, True), (mirrored, False)):
        by_chance, in_turn = (
            _run(TrainState(_config(epochs=2, flip=flip), FP32), data)
            for flip in ("random", "alternating")
        )
        assert (by_chance == in_turn) == alike


def test_stopping_after_no_epoch_runs_none(tiny: TrialData, runtime: Runtime) -> None:
    assert list(fit(TrainState(_config(), runtime), tiny, stop_after=0)) == []


def test_an_accuracy_of_nothing_still_has_its_best_weights(
    tiny: TrialData, runtime: Runtime
) -> None:
    """Validation labels that the network never answers: its accuracy is exactly 0."""
    config = _config(epochs=1)
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
