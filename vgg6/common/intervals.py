"""Intervals of a measured accuracy or mean. scipy is imported where it is needed: it is slow to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, stdev

LEVEL = 0.95


def wilson(accuracy: float, images: int) -> dict[str, float]:
    """Wilson's score interval (1927) of a share of ``images``: low, high and its level.

    It covers which images happened to be drawn; neither the seed of the training nor a choice
    among several scores.
    """
    return wilson_of_share(round(accuracy * images) / images, images)


def wilson_of_share(share: float, images: float) -> dict[str, float]:
    """The same of a share that need not be a count over ``images``, nor these a whole number."""
    z = normal_quantile((1 - LEVEL) / 2)
    extra = z * z / images
    middle = (share + extra / 2) / (1 + extra)
    half = z * math.sqrt(share * (1 - share) / images + extra / images / 4) / (1 + extra)
    low = middle - half if share > 0 else 0.0
    high = middle + half if share < 1 else 1.0
    return {"low": low, "high": high, "level": LEVEL}


def normal_quantile(alpha: float) -> float:
    """What a standard normal variable exceeds with a probability of ``alpha``."""
    return -NormalDist().inv_cdf(alpha)


@lru_cache(maxsize=4096)
def student_quantile(alpha: float, df: float) -> float:
    """What Student's t with ``df`` degrees of freedom exceeds with a probability of ``alpha``."""
    if math.isinf(df):
        return normal_quantile(alpha)
    from scipy.special import stdtrit

    return -float(stdtrit(df, alpha))


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
    n = len(values)
    mean = fmean(values) if n else math.nan
    if n < least:
        return MeanInterval(n, mean)
    sd = stdev(values)
    half = student_quantile((1 - LEVEL) / 2, n - 1) * sd / math.sqrt(n)
    return MeanInterval(n, mean, sd, mean - half, mean + half)
