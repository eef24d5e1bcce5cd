"""Intervals of a measured accuracy or mean. scipy is imported where it is needed: it is slow to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

LEVEL = 0.95


def wilson(accuracy: float, images: int) -> dict[str, float]:
    """Wilson's score interval (1927) of a share of ``images``: low, high and its level.

    It covers which images happened to be drawn; neither the seed of the training nor a choice
    among several scores.
    """
    from scipy.stats import binomtest

    test = binomtest(round(accuracy * images), images)
    found = test.proportion_ci(confidence_level=LEVEL, method="wilson")
    return {"low": float(found.low), "high": float(found.high), "level": LEVEL}


@dataclass(frozen=True)
class MeanInterval:
    """The mean of ``n`` values with its interval at ``LEVEL``. ``sd`` and the bounds are None where
    there are too few values."""

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def student(values: Sequence[float], *, least: int = 2) -> MeanInterval:
    """Student's t interval of the mean of ``values``, from their own spread.

    Args:
        least: of fewer values there is no interval.
    """
    from scipy.stats import t

    n = len(values)
    mean = fmean(values) if n else math.nan
    if n < least:
        return MeanInterval(n, mean)
    sd = stdev(values)
    if not sd:  # scipy gives none of a spread of nothing
        return MeanInterval(n, mean, 0.0, mean, mean)
    low, high = t.interval(LEVEL, n - 1, loc=mean, scale=sd / math.sqrt(n))
    return MeanInterval(n, mean, sd, float(low), float(high))
