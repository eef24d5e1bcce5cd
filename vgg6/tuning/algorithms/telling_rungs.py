"""Which rungs tell something: those that rank trials as the next one does."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt

TELLING = 0.65  # the correlation with the next rung from which on a rung's ranking is trusted
LEAST_PAIRS = 6  # trials that were seen at both; a rung is trusted until there are so many
EQUAL = 1e-9  # places that differ by less are the same
Array = npt.NDArray[np.float64]


class RungPair:
    """A rung and the next one, asked again and again while trials arrive at both.

    Args:
        below: the scores at the rung, by trial. Trials are added to it, and no score changes.
        above: the same of the next rung.
    """

    def __init__(self, below: dict[int, float], above: dict[int, float]) -> None:
        self._below, self._above = self._rungs = below, above
        self._forget()

    def _forget(self) -> None:
        self._seen = (0, 0)  # trials of either that were taken in
        self._ranked = np.empty(0)  # all scores below, the lowest first
        self._low, self._high = array("d"), array("d")  # scores of the trials that are at both
        self._high_places = np.empty(0)

    def _take_in(self) -> None:
        """Take in what has arrived since the last time."""
        below, above = (_newest(*new) for new in zip(self._rungs, self._seen, strict=True))
        if any(number in self._above for number in set(below) - set(above)):
            self._forget()  # it was seen above first: the order is not that of ``above``
            below, above = list(self._below), list(self._above)
        self._seen = len(self._below), len(self._above)
        if below:
            fresh = [self._below[number] for number in below]
            self._ranked = np.sort(np.concatenate([self._ranked, fresh]), kind="stable")
        both = [number for number in above if number in self._below]
        if both:
            self._low.extend(self._below[number] for number in both)
            self._high.extend(self._above[number] for number in both)
            high = np.array(self._high)
            self._high_places = places_among(high, np.sort(high))

    def correlation(self) -> float:
        """How far a rung's ranking is that of the next one, for all trials that were at the lower.

        Those that went on are not a fair sample where their scores let them. So the correlation is
        made of the slope and the rest of a regression on the place among all, 0 to 1. Such a choice
        leaves these as they are. 1 where nothing can be said: where fewer than ``LEAST_PAIRS`` were
        seen at both, or all of them are equal at one.
        """
        self._take_in()
        if len(self._low) < LEAST_PAIRS:
            return 1.0
        low, high = places_among(np.array(self._low), self._ranked), self._high_places
        low, high = low - low.mean(), high - high.mean()
        if low.max() < EQUAL or high.max() < EQUAL:
            return 1.0
        slope = (low @ high) / (low @ low)
        rest = high - slope * low
        explained = slope**2 / 12  # places are uniform: their variance is 1/12
        scale = explained + rest @ rest / (len(low) - 2)
        return float(np.sign(slope) * np.sqrt(explained / scale))


def _newest(rung: dict[int, float], seen: int) -> list[int]:
    """The trials that have arrived since there were ``seen``."""
    return list(islice(reversed(rung), len(rung) - seen))[::-1]


class TellingRung:
    """``first_telling`` of rungs that trials arrive at, kept up to date.

    Args:
        scores: of each rung, by trial. Trials are added to them, and no score changes.
    """

    def __init__(self, scores: Sequence[dict[int, float]]) -> None:
        self._scores = scores
        self._pairs = [RungPair(below, above) for below, above in pairwise(scores)]
        self._known: tuple[list[int], int] = [], 0  # trials at each rung, and the answer then

    def find(self) -> int:
        """The lowest rung that ranks trials as the next one does; at most the last."""
        counts = list(map(len, self._scores))
        if counts != self._known[0]:
            telling = (n for n, pair in enumerate(self._pairs) if pair.correlation() >= TELLING)
            self._known = counts, next(telling, len(self._scores) - 1)
        return self._known[1]


def first_telling(scores: Sequence[dict[int, float]]) -> int:
    """The lowest rung that ranks trials as the next one does; at most the last of ``scores``."""
    return TellingRung(scores).find()


def places_among(scores: Array, ranked: Array) -> Array:
    """The place of each score among all, above 0 to 1; equal ones share the mean of theirs.

    Args:
        scores: (n,). ranked: all scores, these among them, the lowest first.
    """
    first, last = (np.searchsorted(ranked, scores, side) for side in ("left", "right"))
    return np.asarray((last - (last - first - 1) / 2) / len(ranked))
