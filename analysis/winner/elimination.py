"""Who is still in a confirmation: seeds are run in rounds, and clear losers run no further.

A pure function of the scores: the same scores give the same answer, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from analysis.winner.seed_noise import noise, pooled_spread
from vgg6.common.intervals import LEVEL

Scores = Mapping[int, Sequence[float | None]]  # candidate -> one a round, None where it diverged
CHEAPER = 0.9  # a time below this share of another's is not the machine's noise


@dataclass(frozen=True)
class Standing:
    """``alive``: candidates that are still in, in the given order; ``eliminated``: after how many
    seeds each of the others was dropped; ``rounds``: that are complete for all who were in."""

    alive: list[int]
    eliminated: dict[int, int]
    rounds: int


def standing(scores: Scores, rounds: int, images: int) -> Standing:
    """Drop the clear losers of each complete round.

    A candidate is dropped when its mean is behind the best by more than chance gives with 5 %
    probability in the whole confirmation: the bound is Bonferroni's over all comparisons that can
    be made. One that diverged under a seed is dropped too.

    Args:
        scores: of each candidate the rounds that have ended, in order.
        rounds: how many seeds there are.
        images: validation images behind each score.
    """
    alive = list(scores)
    eliminated: dict[int, int] = {}
    alpha = (1 - LEVEL) / max(1, (len(alive) - 1) * rounds)
    for number in range(1, rounds + 1):
        if any(len(scores[c]) < number for c in alive):
            return Standing(alive, eliminated, number - 1)
        done = {c: [x for x in scores[c][:number] if x is not None] for c in alive}
        for lost in [c for c in alive if len(done[c]) < number]:
            eliminated[lost] = number
            del done[lost]
        if not done:
            return Standing([], eliminated, number)
        gap = noise(pooled_spread(done, images), number, number, alpha)
        best = max(fmean(own) for own in done.values())
        for lost in [c for c in done if best - fmean(done[c]) > gap]:
            eliminated[lost] = number
        alive = [c for c in alive if c not in eliminated]
    return Standing(alive, eliminated, rounds)


def tied(scores: Mapping[int, Sequence[float]], images: int) -> list[int]:
    """The candidates whose mean is no further from the best than noise, the best first.

    Two-sided at 95 %, with the pooled spread. Between single scores nothing under four binomial
    standard deviations is a difference.
    """
    spread = pooled_spread(scores, images)
    order = sorted(scores, key=lambda c: -fmean(scores[c]))
    best = order[0]

    def close(other: int) -> bool:
        gap = noise(spread, len(scores[best]), len(scores[other]), (1 - LEVEL) / 2)
        return fmean(scores[best]) - fmean(scores[other]) <= gap

    return [c for c in order if close(c)]


def preferred(ties: Sequence[int], seconds: Mapping[int, float]) -> int:
    """Of tied candidates, the best mean first, the cheapest; of those that cost about the same, the
    one with the best mean."""
    least = min(seconds[c] for c in ties)
    return next(c for c in ties if seconds[c] * CHEAPER <= least)
