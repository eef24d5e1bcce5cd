"""ASHA by promotion: a trial waits at each rung, and goes on once it is among the best there."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from vgg6.tuning.algorithms.telling_rungs import TellingRung

UNJUDGED = 8  # first trials that pass the first rung without being compared
LEAST_WHOLE = 3  # a search trains so many trials to the end, if it has them
RANKED = 300  # the newest trials of a rung, which a model ranks
# By the numbers of trials: how they are expected to end. None where that is not known yet.
Expected = Callable[[Sequence[int]], Mapping[int, float] | None]


@dataclass(frozen=True)
class Spared:
    """Trials that run to their full length, whatever they score.

    ``first``: so many, the first ones. ``again``: others, which were trained to the end before with
    a smaller length.
    """

    first: int = 0
    again: frozenset[int] = frozenset()

    def __contains__(self, number: int) -> bool:
        return number < self.first or number in self.again

    def __len__(self) -> int:
        return self.first + len(self.again)


NONE_SPARED = Spared()


def rung_epochs(epochs: int, grace: int, reduction: float) -> list[int]:
    """The epochs of the rungs, ``reduction`` times apart, below the full length of ``epochs``."""
    found: list[int] = []
    rung = float(grace)
    while round(rung) < epochs:
        found.append(round(rung))
        rung = max(rung * reduction, rung + 1)
    return found


def compared_at(epochs: int, grace: int, reduction: float) -> list[int]:
    """The epochs at which trials are compared: those of the rungs, then the full length."""
    return [*rung_epochs(epochs, grace, reduction), epochs]


class PromotionRule:
    """Which trials wait, and which of them goes on: ASHA as published (Li et al., 2020).

    A trial that reaches a rung pauses and gives its worker to another. It goes on later, when it is
    among the best 1/reduction of all trials that have been at the rung by then. So a rung that
    fills up slowly, with bad trials first, does no harm: nobody is stopped for good.

    The first ``UNJUDGED`` trials pass the first rung, so that somebody has seen what its ranking is
    worth. A rung tells something once it ranks trials as the next one does (``first_telling``).
    Below such a rung scores decide little. A model's suggestions pass there, and those go on that
    the model expects to end best.

    Trials that no model suggested also compete among themselves, at every rung: their best
    1/reduction go on. So they are a whole search by ASHA of their own. A model that is wrong, and
    fills the rungs with its own suggestions, cannot keep a good one from being seen.

    A rule hears results and promotions in their order and holds nothing else: what it knows is
    rebuilt from the journal.

    Args:
        max_t: a trial's full length, in epochs.
        grace: the epoch of the first rung.
        reduction: 1/reduction of those at a rung go on. Rungs are ``reduction`` times apart.
        trials: how many the search has: who can no longer be promoted need not wait.
        spared: trials that never wait and are in no rung.
        by_model: trials that a model suggested. More are added to ``by_model`` as they begin.
    """

    def __init__(
        self,
        *,
        max_t: int,
        grace: int,
        reduction: float,
        trials: int,
        spared: Spared = NONE_SPARED,
        by_model: Collection[int] = (),
    ) -> None:
        self.by_model = set(by_model)
        self.scores: dict[int, dict[int, float]] = {
            epoch: {} for epoch in rung_epochs(max_t, grace, reduction)
        }
        self.reduction, self.spared = reduction, spared
        self._competing = trials - len(spared)
        self.complete: set[int] = set()
        self._max_t, self._first = max_t, grace
        self._waiting: dict[int, int] = {}  # the rung at which a trial waits
        self._ended: Counter[int] = Counter()  # how many, by their last rung; 0 is none
        self._ranked: dict[int, list[tuple[float, int]]] = {epoch: [] for epoch in self.scores}
        self._even: dict[int, list[tuple[float, int]]] = {epoch: [] for epoch in self.scores}
        self._promoted: dict[int, set[int]] = {epoch: set() for epoch in self.scores}
        self._telling = TellingRung(list(self.scores.values()))

    def stops(self, number: int, epoch: int, score: float) -> bool:
        """Hear the score of a trial after an epoch. Returns whether it leaves its worker."""
        if epoch >= self._max_t:
            self.complete.add(number)
            return True
        if epoch > self._waiting.get(number, epoch):  # a replay hears of no promotion
            self.go_on(number)
        scores = self.scores.get(epoch)
        if number in self.spared or scores is None or number in scores:  # the last: heard again
            return False
        scores[number] = score
        insort(self._ranked[epoch], (-score, number))
        if number not in self.by_model:
            insort(self._even[epoch], (-score, number))
        if epoch == self._first and number < self.spared.first + UNJUDGED:
            return False
        if number in self.by_model and epoch < self.telling:
            return False
        self._waiting[number] = epoch
        return True

    def waits(self, number: int) -> bool:
        """Whether a trial is paused at a rung."""
        return number in self._waiting

    def go_on(self, number: int) -> None:
        """Hear that a trial was promoted."""
        at = self._waiting.pop(number, None)
        if at is not None:
            self._promoted[at].add(number)

    def end(self, number: int) -> None:
        """Hear that a trial will not go on."""
        self._waiting.pop(number, None)
        if number not in self.spared:
            self._ended[max((e for e, s in self.scores.items() if number in s), default=0)] += 1

    @property
    def telling(self) -> int:
        """The epoch of the first rung whose ranking is that of the next one."""
        rungs = list(self.scores)
        return rungs[self._telling.find()] if rungs else self._max_t

    def promotable(self, expected: Expected | None = None) -> int | None:
        """A waiting trial that is among the best of its rung, of the highest such rung; or None.

        Args:
            expected: ranks the trials at rungs that tell nothing, if anybody can.
        """
        for epoch in reversed(self.scores):
            for number in self._best_to_go_on(epoch, expected):
                if self._waiting.get(number) == epoch:
                    return number
        return None

    def _best_to_go_on(self, epoch: int, expected: Expected | None) -> Iterator[int]:
        """The trials of a rung that are good enough to go on, waiting or not."""
        if expected:
            yield from self._best_even(epoch, len(self._even[epoch]) / self.reduction)
            if self._has_enough(epoch):
                return
        ends = self._expected(epoch, expected) if expected and epoch < self.telling else None
        yield from self._best_expected(ends) if ends else self._best_quarter(epoch)

    def _has_enough(self, epoch: int) -> bool:
        """Whether two more than 1/reduction of a rung were promoted.

        A model's suggestions beat those before, so that nearly every new one is among the best when
        it arrives.
        """
        recent = self._recent(epoch)
        promoted = len(self._promoted[epoch].intersection(recent))
        return promoted > int(len(recent) / self.reduction) + 1

    def _expected(self, epoch: int, expected: Expected) -> Mapping[int, float] | None:
        """How the newest trials of a rung are expected to end, if one of them waits."""
        recent = self._recent(epoch)
        waits = any(self._waiting.get(number) == epoch for number in recent)
        return expected(recent) if waits and len(recent) >= self.reduction else None

    def _best_expected(self, ends: Mapping[int, float]) -> list[int]:
        best_first = sorted(ends, key=lambda number: (-ends[number], number))
        return best_first[: int(len(ends) / self.reduction)]

    def _recent(self, epoch: int) -> list[int]:
        newest = list(islice(reversed(self.scores[epoch]), RANKED))
        return newest[::-1]

    def _best_quarter(self, epoch: int) -> list[int]:
        return self._best(epoch, len(self.scores[epoch]) / self.reduction)

    def cutoff(self, epoch: int) -> float | None:
        """The worst score that is promoted from the rung of ``epoch``; None where it is none, or
        where scores decide nothing."""
        if self.by_model and epoch < self.telling:
            return None
        best = self._best_quarter(epoch)
        return self.scores[epoch][best[-1]] if best else None

    def hopeless(self) -> list[int]:
        """The waiting trials that will not be promoted, whatever the trials to come score."""
        found = []
        most = self._competing - self._ended[0]  # that are, were or can come here
        for epoch in self.scores:
            places = max(most / self.reduction, LEAST_WHOLE)
            keep = {*self._best(epoch, places), *self._best_even(epoch, places)}
            waiting = [n for n, at in self._waiting.items() if at == epoch]
            by_score = not self.by_model or epoch >= self.telling
            lost = [n for n in waiting if by_score and n not in keep]
            most -= len(lost) + self._ended[epoch]
            found += lost
        return found

    def _best(self, epoch: int, count: float) -> list[int]:
        """So many trials of a rung, the best first, of equals the earlier."""
        return [number for _, number in self._ranked[epoch][: int(count)]]

    def _best_even(self, epoch: int, count: float) -> list[int]:
        """The same of the trials that no model suggested."""
        return [number for _, number in self._even[epoch][: int(count)]]

    def by_hope(self) -> list[int]:
        """The waiting trials: who came furthest first, of equals who scored best."""
        at, scores = self._waiting, self.scores
        return sorted(at, key=lambda n: (at[n], scores[at[n]][n], -n), reverse=True)

    def best_waiting(self) -> int | None:
        """The first of ``by_hope``; None where nobody waits."""
        return next(iter(self.by_hope()), None)
