"""The interval of each candidate's mean over its fresh seeds, as figures and tables show it."""

from __future__ import annotations

import math
from statistics import fmean

from scipy import stats

from analysis.winner.paired import BINOMIAL_DF
from vgg6.tuning.run.records import Confirmation

Bounds = tuple[float | None, float | None]


def shown_intervals(found: Confirmation, images: int) -> dict[int, Bounds]:
    """Lower and upper bound of each candidate's mean, by its trial.

    They are those that decided, as the confirmation holds them. Older files hold what each
    candidate's own scores give. There the spread of one score is pooled over all candidates. So two
    equal seeds have an interval, and one dropped after two seeds has an interval that shows why.

    Args:
        images: validation images behind a score.
    """
    if found.margin is not None:
        return {c.trial: (c.low, c.high) for c in found.candidates}
    scores = {
        c.trial: [run.val_acc for run in c.finished if run.val_acc is not None]
        for c in found.candidates
    }
    scores = {trial: own for trial, own in scores.items() if own}
    degrees = sum(len(own) - 1 for own in scores.values())
    squares = sum((x - fmean(own)) ** 2 for own in scores.values() for x in own)
    p = fmean(x for own in scores.values() for x in own)
    binomial = p * (1 - p) / images
    # Equal scores would have no spread: the binomial one counts a little.
    total = degrees + BINOMIAL_DF
    variance = (squares + BINOMIAL_DF * binomial) / total
    quantile = float(stats.t.isf((1 - found.level) / 2, total if degrees else math.inf))
    bounds: dict[int, Bounds] = {}
    for trial, own in scores.items():
        half = quantile * math.sqrt(variance / len(own))
        bounds[trial] = (max(0.0, fmean(own) - half), min(1.0, fmean(own) + half))
    return bounds
