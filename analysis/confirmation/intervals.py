"""The interval of each candidate's mean over its fresh seeds, as all outputs show it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from analysis.confirmation.paired_scores import BINOMIAL_DF
from vgg6.common.intervals import LEVEL, MeanInterval, student_quantile
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.confirmation import Confirmation

Bounds = tuple[float | None, float | None]


def pooled_means(
    scores: Mapping[int, Sequence[float]], images: float, metric: Metric = ACCURACY
) -> dict[int, MeanInterval]:
    """The mean of each candidate that has a score, by its trial, with its interval at ``LEVEL``.

    Its ``sd`` is of one score over seeds. The interval lies within the scores that there can be.
    The spread of one score is pooled over all candidates. So two equal seeds have an interval, and
    a candidate that was dropped after two seeds has one that shows why.

    Args:
        images: validation images behind a score: see ``Metric.images_behind``.
        metric: what they are scores of.
    """
    scores = {trial: own for trial, own in scores.items() if own}
    if not scores:
        return {}
    degrees = sum(len(own) - 1 for own in scores.values())
    squares = sum((x - fmean(own)) ** 2 for own in scores.values() for x in own)
    by_images = metric.variance(fmean(x for own in scores.values() for x in own), images)
    # Equal scores would have no spread: that of the choice of images counts a little.
    total = degrees + BINOMIAL_DF
    sd = math.sqrt((squares + BINOMIAL_DF * by_images) / total)
    times = student_quantile((1 - LEVEL) / 2, total if degrees else math.inf)
    found = {}
    for trial, own in scores.items():
        mean, half = fmean(own), times * sd / math.sqrt(len(own))
        low, high = max(metric.range.low, mean - half), min(metric.range.high, mean + half)
        found[trial] = MeanInterval(len(own), mean, sd, low, high)
    return found


def shown_intervals(found: Confirmation, images: float) -> dict[int, Bounds]:
    """Lower and upper bound of each candidate's mean, by its trial: see ``pooled_means``."""
    scores = {
        c.trial: [run.result for run in c.finished if run.result is not None]
        for c in found.candidates
    }
    means = pooled_means(scores, images, found.measure)
    return {trial: (m.low, m.high) for trial, m in means.items()}


def with_shown_intervals(found: Confirmation, images: float) -> Confirmation:
    """The same with these intervals: files of earlier versions hold a candidate's own ones."""
    bounds = shown_intervals(found, images)
    rows = []
    for row in found.candidates:
        low, high = bounds.get(row.trial, (None, None))
        rows.append(row.model_copy(update={"low": low, "high": high}))
    return found.model_copy(update={"candidates": rows})
