"""How sure a mean of a few seeds is, and when a difference between two is more than noise.

Scores are accuracies in 0 to 1. A configuration's scores over seeds differ by chance; candidates of
one search train alike, so their spread is pooled over all of them, as in an analysis of variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy import stats

# One seed has no spread. Until there are two, the spread that so many validation images would give
# on their own stands in, and only a gap of so many of those counts.
CLEAR_GAP = 4.0


@dataclass(frozen=True)
class Spread:
    """The standard deviation of one score over seeds, and its degrees of freedom."""

    sd: float
    df: float


def pooled_spread(scores: Mapping[int, Sequence[float]], images: int) -> Spread:
    """The spread over seeds, pooled over candidates; of single scores the binomial one.

    Args:
        scores: of each candidate, one a seed.
        images: how many validation images each score counts.
    """
    df = sum(len(own) - 1 for own in scores.values())
    if df:
        squares = sum((x - fmean(own)) ** 2 for own in scores.values() for x in own)
        return Spread(math.sqrt(squares / df), df)
    p = fmean(x for own in scores.values() for x in own)
    return Spread(math.sqrt(p * (1 - p) / images), math.inf)


def noise(spread: Spread, first: int, second: int, alpha: float) -> float:
    """The least difference of two means, of ``first`` and ``second`` seeds, that chance gives with
    a probability below ``alpha`` (one-sided)."""
    single = math.isinf(spread.df)
    quantile = CLEAR_GAP if single else float(stats.t.isf(alpha, spread.df))
    return quantile * spread.sd * math.sqrt(1 / first + 1 / second)
