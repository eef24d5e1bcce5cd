"""Which rungs tell something: those that rank trials as the next one does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

TELLING = 0.65  # the correlation with the next rung from which on a rung's ranking is trusted
LEAST_PAIRS = 6  # trials that were seen at both; a rung is trusted until there are so many
EQUAL = 1e-9  # places that differ by less are the same


def rank_correlation(below: Mapping[int, float], above: Mapping[int, float]) -> float:
    """How far a rung's ranking is that of the next one, for all trials that were at the lower.

    Those that went on are not a fair sample where their scores let them. So the correlation is
    made of the slope and the rest of a regression on the place among all, 0 to 1, which such a
    choice leaves as they are. 1 where nothing can be said: where fewer than ``LEAST_PAIRS`` were
    seen at both, or all of them are equal at one.
    """
    both = [number for number in above if number in below]
    if len(both) < LEAST_PAIRS:
        return 1.0
    place = dict(zip(below, places(below.values()), strict=True))
    low = np.array([place[number] for number in both])
    high = places(above[number] for number in both)
    low, high = low - low.mean(), high - high.mean()
    if low.max() < EQUAL or high.max() < EQUAL:
        return 1.0
    slope = (low @ high) / (low @ low)
    rest = high - slope * low
    explained = slope**2 / 12  # places are uniform: their variance is 1/12
    return float(np.sign(slope) * np.sqrt(explained / (explained + rest @ rest / (len(both) - 2))))


def first_telling(scores: Sequence[Mapping[int, float]]) -> int:
    """The lowest rung that ranks trials as the next one does; at most the last of ``scores``."""
    return next(
        (rung for rung, (below, above) in enumerate(pairwise(scores))
         if rank_correlation(below, above) >= TELLING),
        len(scores) - 1,
    )  # fmt: skip


def places(scores: Iterable[float]) -> npt.NDArray[np.float64]:
    """The place of each score among all, above 0 to 1; equal ones share the mean of theirs."""
    values = np.array(list(scores))
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[which] / len(values)
