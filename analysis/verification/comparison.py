"""How far a run's numbers are from those that were recorded of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.packages.package_metrics import Metrics
from vgg6.run_record import EpochMetrics

BOUND = 2.0  # standard deviations
TIMES = {"seconds"}  # columns of the history that no run repeats


@dataclass(frozen=True)
class FirstDifference:
    """The first value of a history that is not the same again. Times are not compared."""

    epoch: int
    column: str
    recorded: float
    again: float


@dataclass(frozen=True)
class OtherLength:
    """Two histories that agree as far as both go, and have not as many epochs."""

    epochs: int
    again: int


@dataclass(frozen=True)
class ComparedScore:
    """How far two runs' validation scores are apart: ``sds`` standard deviations of a difference
    between two runs, each ``sd_of_difference``. ``bound``: what is within it."""

    recorded: float
    again: float
    difference: float
    sd_of_difference: float
    sd_from: str
    sds: float
    bound: float = BOUND


def compare_score(metrics: Metrics, again: float, images: float) -> ComparedScore:
    """How far two runs' validation scores are apart, in standard deviations of a difference.

    The spread of one run is that of the confirmed seeds where there is one, else the standard error
    of a score on so many images; the variance of a difference of two runs is the sum of theirs.
    Both runs see the same images, which makes the latter an upper bound.

    Args:
        again: the score by the metric of the package.
        images: behind a score: see ``Metric.images_behind``.
    """
    metric, confirmed = metrics.measure, metrics.confirmed
    recorded = metrics.val_acc if metrics.score is None else metrics.score
    if confirmed and confirmed.sd:
        spread, source = confirmed.sd * math.sqrt(2), f"{len(confirmed.seeds)} confirmed seeds"
    else:
        variances = [p * (1 - p) / images for p in (recorded, again)]
        source = "the binomial error of two scores"
        if not metric.is_accuracy:
            variances = [metric.variance(score, images) for score in (recorded, again)]
            source = "what the choice of images does to two scores"
        spread = math.sqrt(sum(variances))
    difference = again - recorded
    sds = abs(difference) / spread if spread else math.inf if difference else 0.0
    return ComparedScore(recorded, again, difference, spread, source, sds)


def first_difference(
    recorded: Sequence[EpochMetrics], again: Sequence[EpochMetrics]
) -> FirstDifference | OtherLength | None:
    """The first value that is not the same, or None. Times are not compared, nor what an earlier
    version did not record."""
    for old, new in zip(recorded, again, strict=False):
        before, after = old.to_dict(), new.to_dict()
        for name in after:
            if name in before and name not in TIMES and before[name] != after[name]:
                return FirstDifference(new.epoch, name, before[name], after[name])
    if len(recorded) != len(again):
        return OtherLength(len(recorded), len(again))
    return None
