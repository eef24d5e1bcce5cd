"""When and where trials ran, and what the rungs made of them, from the journal alone."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count, pairwise

from vgg6.tuning.algorithms.early_stopping import AshaRule, replay
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.algorithms.rule_of_search import rule_of
from vgg6.tuning.algorithms.warm_start import WarmStart
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import Search

GAP_S = 1.0  # two epochs of a trial further apart than this, over their length, are two spans
SLACK = 1e-3  # minutes by which two epochs of one slot may overlap


@dataclass(frozen=True)
class WorkerSpan:
    """A stretch in which a worker ran a trial, in minutes of searching.

    ``slot``: the node, and which of the trials that it ran at once, from 1.
    """

    slot: tuple[str, int]
    trial: int
    state: str
    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start

    @property
    def row(self) -> str:
        """Its row of a figure: node and slot."""
        node, slot = self.slot
        return f"{node} · {slot}"


@dataclass(frozen=True)
class SearchClock:
    """Minutes of searching since the first trial was created, without the pauses between sessions.

    Args:
        began: Unix seconds.
        breaks: start and end of each pause, in Unix seconds, in their order.
    """

    began: float
    breaks: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, history: History) -> SearchClock:
        """That of a search: a pause is from the end of a session to the start of the next."""
        began = min((t.created for t in history.trials.values()), default=0.0)
        times = sorted(row.time for trial in history.trials.values() for row in trial.rows.values())
        breaks = []
        for session, following in pairwise(history.sessions):
            # A session that was killed wrote no end: its last epoch stands for it.
            last = bisect_right(times, following.began) - 1
            ended = session.time if session.outcome else times[last] if last >= 0 else began
            if began <= ended < following.began:
                breaks.append((ended, following.began))
        return cls(began, tuple(breaks))

    def minutes(self, time: float) -> float:
        """When that was; a moment within a pause is the pause's."""
        paused = sum(max(0.0, min(time, end) - start) for start, end in self.breaks)
        return (time - self.began - paused) / 60


@dataclass(frozen=True)
class Timeline:
    """Where and when the trials of a search ran."""

    spans: list[WorkerSpan]
    clock: SearchClock

    @property
    def pauses(self) -> list[float]:
        """The minutes at which pauses of the search are cut out."""
        return [round(self.clock.minutes(start), 3) for start, _ in self.clock.breaks]


@dataclass(frozen=True)
class Rung:
    """A rung of a bracket: how many trials arrived, how many of them ran on past it, and the score
    that the scheduler would ask of the next."""

    name: str
    arrived: int
    went_on: int
    cutoff: float | None


def timeline(history: History) -> Timeline:
    """Every unbroken stretch of one trial in one slot, by the time of its start."""
    clock = SearchClock.of(history)
    spans: list[WorkerSpan] = []
    ends: dict[tuple[str, int], float] = {}  # of the last span of each slot
    slots: dict[tuple[str, int | None], tuple[str, int]] = {}  # the last one of each process
    for node, pid, span in sorted(_stretches(history, clock), key=lambda found: found[2].start):
        known = slots.get((node, pid))
        if known is None or ends[known] > span.start + SLACK:
            numbers = count(1)
            known = next(
                (node, n) for n in numbers if ends.get((node, n), -math.inf) <= span.start + SLACK
            )
        slots[node, pid], ends[known] = known, span.end
        spans.append(replace(span, slot=known))
    return Timeline(spans, clock)


def _stretches(
    history: History, clock: SearchClock
) -> Iterator[tuple[str, int | None, WorkerSpan]]:
    """The node and the process of each stretch, and the stretch, in a slot to be found."""
    for trial in history.trials.values():
        last: tuple[str, int | None, WorkerSpan] | None = None
        for row in trial.curve:
            node = row.node or "?"
            start, end = clock.minutes(row.time - row.seconds), clock.minutes(row.time)
            gap = (GAP_S + row.seconds) / 60
            if last and last[:2] == (node, row.pid) and start - last[2].end < gap:
                last = node, row.pid, replace(last[2], end=end)
                continue
            if last:
                yield last
            last = node, row.pid, WorkerSpan((node, 0), trial.number, trial.state, start, end)
        if last:
            yield last


def running_trials(spans: Sequence[WorkerSpan]) -> list[tuple[float, int]]:
    """How many trials ran at once: the count from each minute at which it changes."""
    changes = sorted([(s.start, 1) for s in spans] + [(s.end, -1) for s in spans])
    counts = accumulate(change for _, change in changes)
    return [(minute, count) for (minute, _), count in zip(changes, counts, strict=True)]


def rung_counts(search: Search) -> list[Rung]:
    """The rungs of each bracket of ASHA or Hyperband.

    The scheduler is replayed with the recorded results, as on a resume, so that trials which are
    trained whole are in no rung. Nothing where the search had no rungs.
    """
    history, settings = search.history, search.facts.settings
    if settings.scheduler not in ("asha", "asha-stop", "hyperband"):
        return []
    warm = WarmStart.from_facts(search.facts.warm_start, search.space, search.metric)
    rule = rule_of(
        settings, search.space, history, search.facts.trials, added=warm.points,
        lengths=search.lengths,
    )  # fmt: skip
    replay(rule, history.arrivals)
    if isinstance(rule, PromotionRule):
        return [
            Rung(
                f"epoch {epoch}", len(scores), _passed(history, scores, epoch),
                _score(search, rule.cutoff(epoch)),
            )
            for epoch, scores in rule.scores.items()
        ]  # fmt: skip
    assert isinstance(rule, AshaRule)
    rungs = []
    for number, bracket in enumerate(rule.brackets):
        for milestone, scores in bracket.scores.items():
            name = f"epoch {milestone:g}"
            if len(rule.brackets) > 1:
                name += f", bracket {number}"
            went_on = _passed(history, scores, milestone)
            cutoff = _score(search, bracket.cutoff(scores))
            rungs.append(Rung(name, len(scores), went_on, cutoff))
    return rungs


def _score(search: Search, merit: float | None) -> float | None:
    return None if merit is None else search.metric.score_of(merit)


def _passed(history: History, scores: dict[int, float], epoch: int) -> int:
    """How many of the trials that were at the rung of ``epoch`` ran on past it."""
    return sum(history.trials[number].epoch > epoch for number in scores)
