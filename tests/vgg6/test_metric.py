"""Metrics: each by its definition, what of it is better, and the epoch that a run keeps by it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from vgg6.checkpoint import load_state, save_state
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.config import TrialConfig
from vgg6.data import LabelledImages, TrialData
from vgg6.evaluation import Evaluation, balanced_accuracy
from vgg6.hardware.runtime import Runtime
from vgg6.metric import ACCURACY, BALANCED_ACCURACY, METRIC_NAMES, VAL_LOSS, Metric, metric_named
from vgg6.run_record import EpochMetrics
from vgg6.training import TrainState, fit

EACH = [metric_named(name) for name in METRIC_NAMES]
FP32 = Runtime(device="cpu", precision="fp32", threads=1)
CONFIG = TrialConfig(
    activation="relu", optimizer="adam", lr=0.003, batch_size=32, epochs=5, width=0.125, dropout=0.0
)


@pytest.fixture(scope="module")
def uneven() -> TrialData:
    """Three classes of 8x8 pixels that overlap, with 6, 30 and 84 images to train on."""
    draw = np.random.default_rng(5)

    def part(counts: tuple[int, ...]) -> LabelledImages:
        labels = np.repeat(np.arange(3), counts)
        grey = draw.normal(96 + 24 * labels[:, None, None, None], 40, (len(labels), 8, 8, 3))
        return LabelledImages(np.clip(grey, 0, 255).astype(np.uint8), labels)

    spread = (0.25, 0.25, 0.25)
    return TrialData(
        "uneven", part((6, 30, 84)), part((3, 12, 45)), (0.45, 0.45, 0.45), spread, False, "u", 3
    )


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    for classes in (2, 3, 10):
        true = draw.choice(classes, 300, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
        guessed = np.where(draw.random(300) < 0.6, true, draw.integers(0, classes, 300))
        confusion = torch.zeros(classes, classes, dtype=torch.int64)
        for pair in zip(true, guessed, strict=True):
            confusion[pair] += 1
        found = Evaluation(0.0, 0.0, confusion).balanced_accuracy
        assert found == pytest.approx(balanced_accuracy_score(true, guessed), abs=1e-15)
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])
    assert balanced_accuracy(counts) == 0.625, "a class without an image is left out"


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    for typed, nearest in (("balanced-acuracy", "balanced_accuracy"), ("loss", "val_loss")):
        with pytest.raises(InputError, match=f"metric: '{typed}' .*mean '{nearest}'"):
            metric_named(typed)


@pytest.mark.parametrize("metric", EACH)
def test_merit_and_gain_rank_as_the_metric_does(metric: Metric) -> None:
    scores = [0.01, 0.2, 0.5, 0.9, 1.0]
    best_first = sorted(scores, reverse=not metric.lower_is_better)
    assert sorted(scores, key=lambda s: -metric.gain(s)) == best_first
    assert sorted(scores, key=lambda s: -metric.merit(s)) == best_first
    assert [metric.score_of(metric.merit(s)) for s in scores] == pytest.approx(scores)
    assert metric.is_better(best_first[0], than=best_first[1])
    assert not metric.is_better(0.5, than=0.5)
    assert all(s in metric.range for s in scores) and metric.worst in metric.range
    assert not metric.is_better(metric.worst, than=best_first[-1])


def test_a_loss_of_zero_has_a_merit_and_a_thousandfold_one_stands_beside_the_others() -> None:
    assert math.isfinite(VAL_LOSS.merit(0.0))
    near = VAL_LOSS.merit(0.5) - VAL_LOSS.merit(0.6)
    assert near > (VAL_LOSS.merit(0.6) - VAL_LOSS.merit(2300.0)) / 50


def test_guessing_gives_each_metric_its_level_of_chance() -> None:
    labels = np.repeat([0, 1, 2], [400, 3000, 6000])
    guesses = np.random.default_rng(1).integers(0, 3, len(labels))
    assert BALANCED_ACCURACY.chance(3) == ACCURACY.chance(3) == 1 / 3
    assert balanced_accuracy_score(labels, guesses) == pytest.approx(1 / 3, abs=0.03)
    assert VAL_LOSS.chance(3) == pytest.approx(-math.log(1 / 3))


def test_a_balanced_accuracy_strays_as_one_of_fewer_images() -> None:
    counts, p = [4, 27, 54], 0.7
    behind = BALANCED_ACCURACY.images_behind(85, counts)
    draw = np.random.default_rng(2)
    drawn = np.mean([draw.binomial(n, p, 40_000) / n for n in counts], axis=0)
    assert BALANCED_ACCURACY.variance(p, behind) == pytest.approx(drawn.var(), rel=0.03)
    assert ACCURACY.images_behind(85, counts) == VAL_LOSS.images_behind(85, counts) == 85
    assert BALANCED_ACCURACY.images_behind(90, [30, 30, 30]) == pytest.approx(90)
    intervals = [BALANCED_ACCURACY.interval(float(score), behind) for score in drawn[:4000]]
    covered = np.mean([x is not None and x["low"] <= p <= x["high"] for x in intervals])
    assert 0.93 < covered < 0.98
    assert ACCURACY.interval(0.7, 85) == wilson(0.7, 85)
    assert VAL_LOSS.interval(0.7, 85) is None


def run_of(data: TrialData, metric: Metric) -> tuple[TrainState, list[EpochMetrics]]:
    state = TrainState(CONFIG, FP32, task=data.task, metric=metric)
    return state, list(fit(state, data))


def test_the_metric_chooses_the_epoch_that_is_kept_and_changes_no_bit_of_training(
    uneven: TrialData,
) -> None:
    runs = {metric: run_of(uneven, metric) for metric in EACH}
    chosen = {"best_val_acc", "best_epoch", "best_score", "seconds"}
    rows = [
        [{k: v for k, v in row.to_dict().items() if k not in chosen} for row in found]
        for _, found in runs.values()
    ]
    assert rows[0] == rows[1] == rows[2]
    assert all(row.keys() >= {"val_acc", "val_loss", "val_balanced_acc"} for row in rows[0])
    weights = [state.model.state_dict() for state, _ in runs.values()]
    assert all(weights[0][k].equal(other[k]) for k in weights[0] for other in weights[1:])
    epochs = set()
    for metric, (state, found) in runs.items():
        scores = [metric.of(row) for row in found]
        best = min(scores) if metric.lower_is_better else max(scores)
        assert metric.best_of(found[-1]) == state.best.score == best
        assert found[-1].best_epoch == state.best.epoch == scores.index(best) + 1
        assert found[-1].best_val_acc == found[state.best.epoch - 1].val_acc
        assert (found[-1].best_score is None) == (metric == ACCURACY)
        epochs.add(state.best.epoch)
    assert len(epochs) > 1, "the data were made so that the metrics differ"


@pytest.mark.parametrize("metric", [BALANCED_ACCURACY, VAL_LOSS])
def test_a_run_that_goes_on_keeps_the_epoch_that_it_would_have_kept(
    uneven: TrialData, metric: Metric, tmp_path: Path
) -> None:
    state, whole = run_of(uneven, metric)
    stopped = TrainState(CONFIG, FP32, task=uneven.task, metric=metric)
    rows = list(fit(stopped, uneven, stop_after=3))
    save_state(stopped, tmp_path)
    again = load_state(tmp_path, FP32, uneven.task, metric)
    rows += fit(again, uneven)
    for row in (*rows, *whole):
        row.seconds = 0.0
    assert rows == whole
    assert again.best.epoch == state.best.epoch and again.best.score == state.best.score
    assert all(v.equal(state.best.weights[k]) for k, v in again.best.weights.items())
