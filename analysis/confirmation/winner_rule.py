"""Who is still in a confirmation, and who wins it. Clear losers run no further seeds.

Pure functions of the scores: the same scores give the same answer, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis.confirmation.paired_scores import Difference, PairedScores, seeds_to_tell
from vgg6.common.intervals import LEVEL
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.confirmation import OPEN, WITHIN, WORSE

Scores = Mapping[int, Sequence[float | None]]  # candidate -> one a round, None where it diverged
MARGIN = 0.005  # of the score: what a cheaper candidate may cost
# Rounds that go on until the winner is settled. After one seed nothing is known of the spread; and
# a user does not wait for ever.
LEAST_SEEDS, MOST_ROUNDS = 2, 10
SETTLED = 1 - LEVEL  # the level of a bound that says how much worse the winner may be


@dataclass(frozen=True)
class Standing:
    """``alive``: candidates that are still in, in the given order; ``eliminated``: after how many
    seeds each of the others was dropped; ``rounds``: that are complete for all who were in;
    ``behind``: of each that was dropped and had not diverged, the best one of its last round and by
    how much it was behind it; ``alpha``: the level at which that was decided."""

    alive: list[int]
    eliminated: dict[int, int]
    rounds: int
    alpha: float
    behind: dict[int, tuple[int, Difference]] = field(default_factory=dict)


def standing(
    scores: Scores,
    rounds: int,
    images: float,
    costs: Mapping[int, float] | None = None,
    margin: float = MARGIN,
    metric: Metric = ACCURACY,
) -> Standing:
    """Drop the clear losers of each complete round.

    A candidate is dropped when it is shown to be worse than the best by its differences, seed by
    seed. The bound is Bonferroni's over all comparisons that can be made: the best one is dropped
    in at most one confirmation of twenty. A cheaper one may still win within the margin, and so
    must be worse by more than that. One that diverged under a seed is dropped too.

    Args:
        scores: of each candidate the rounds that have ended, in order.
        rounds: how many seeds there are.
        images: validation images behind each score: see ``Metric.images_behind``.
        costs: of training each candidate; None: all cost the same.
        margin: of the score, as that of ``decide``.
        metric: what they are scores of.
    """
    costs = costs or dict.fromkeys(scores, 1.0)
    alpha = family_alpha(len(scores), rounds)
    now = Standing(list(scores), {}, rounds, alpha)
    alive = now.alive
    for number in range(1, rounds + 1):
        if any(len(scores[c]) < number for c in alive):
            return replace(now, alive=alive, rounds=number - 1)
        done = {c: [x for x in scores[c][:number] if x is not None] for c in alive}
        for lost in [c for c in alive if len(done[c]) < number]:
            now.eliminated[lost] = number
            del done[lost]
        if not done:
            return replace(now, alive=[], rounds=number)
        paired = PairedScores(done, images, metric)
        best = paired.order[0]
        for lost in done:
            found = paired.difference(best, lost)
            if found.bound(alpha) > (margin if costs[lost] < costs[best] else 0.0):
                now.eliminated[lost] = number
                now.behind[lost] = best, found
        alive = [c for c in alive if c not in now.eliminated]
    return replace(now, alive=alive)


def family_alpha(candidates: int, rounds: int) -> float:
    """The level of one comparison, for all of a confirmation together to err in one of twenty."""
    return (1 - LEVEL) / max(1, (candidates - 1) * rounds)


def is_better(difference: Difference, alpha: float) -> bool:
    """Whether the first of a pair is shown to be better than the second."""
    return difference.bound(alpha) > 0


@dataclass(frozen=True)
class Decision:
    """``winner``; ``rivals``: how each other candidate stands to it, and by how much the winner is
    above it; ``more_seeds``: how many would tell of those that are open, 0 where none is."""

    winner: int
    rivals: dict[int, tuple[str, Difference]]
    more_seeds: int

    @property
    def settled(self) -> bool:
        """Whether the winner is better than each rival, or no more than the margin worse."""
        return self.more_seeds == 0


def decide(paired: PairedScores, costs: Mapping[int, float], margin: float) -> Decision:
    """The best mean wins, unless a cheaper candidate is shown to be within ``margin`` of it.

    "Not shown to differ" is not "equal": a cheaper one that may be worse by more does not win.

    Args:
        costs: of training each candidate; only their order matters.
        margin: of the score.
    """
    best = paired.order[0]
    able = [c for c in paired.order if c == best or _within(paired.difference(c, best), margin)]
    winner = min(able, key=lambda c: costs[c])  # of equals the first, which has the better mean
    rivals: dict[int, tuple[str, Difference]] = {}
    more = 0
    for rival in paired.order:
        if rival == winner:
            continue
        found = paired.difference(winner, rival)
        stands = OPEN
        if is_better(found, SETTLED):
            stands = WORSE
        elif _within(found, margin):
            stands = WITHIN
        else:
            more = max(more, seeds_to_tell(found, -margin, SETTLED))
        rivals[rival] = stands, found
    return Decision(winner, rivals, more)


def _within(difference: Difference, margin: float) -> bool:
    """Whether the first of a pair is shown at ``LEVEL`` to be no more than ``margin`` worse."""
    return difference.bound(SETTLED) > -margin
