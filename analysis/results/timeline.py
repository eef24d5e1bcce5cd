"""When and where trials ran, and what the rungs made of them, from the journal alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from vgg6.tuning.algorithms.early_stopping import AshaRule, replay, stopping_rule, trained_whole
from vgg6.tuning.algorithms.warm_start import WarmStart
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import Search

GAP_S = 1.0  # two epochs of a trial further apart than this, over their length, are two spans


@dataclass(frozen=True)
class WorkerSpan:
    """A stretch in which a worker ran a trial, in minutes since the first trial was created."""

    worker: str
    trial: int
    state: str
    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Rung:
    """A rung of a bracket: how many trials arrived, how many of them ran on past it, and the score
    that the scheduler would ask of the next."""

    name: str
    arrived: int
    went_on: int
    cutoff: float | None


def worker_spans(history: History) -> list[WorkerSpan]:
    """Every unbroken stretch of one trial on one worker, by trials."""
    began = min((t.created for t in history.trials.values()), default=0.0)
    spans: list[WorkerSpan] = []
    for trial in history.trials.values():
        last: WorkerSpan | None = None
        for row in trial.curve:
            worker = f"{row.node or '?'} {row.pid or ''}"
            start, end = (row.time - row.seconds - began) / 60, (row.time - began) / 60
            gap = (GAP_S + row.seconds) / 60
            if last and last.worker == worker and start - last.end < gap:
                spans[-1] = last = replace(last, end=end)
            else:
                last = WorkerSpan(worker, trial.number, trial.state, start, end)
                spans.append(last)
    return spans


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
    if settings.scheduler not in ("asha", "hyperband"):
        return []
    warm = WarmStart.from_facts(search.facts.warm_start, search.space)
    rule = stopping_rule(
        settings.scheduler, epochs=settings.epochs, grace=settings.grace,
        reduction=settings.reduction, seed=settings.seed,
        whole=trained_whole(search.space, settings.searcher, search.facts.trials, warm.points),
    )  # fmt: skip
    assert isinstance(rule, AshaRule)
    replay(rule, history.arrivals)
    rungs = []
    for number, bracket in enumerate(rule.brackets):
        for milestone, scores in bracket.scores.items():
            name = f"epoch {milestone:g}"
            if len(rule.brackets) > 1:
                name += f", bracket {number}"
            went_on = sum(history.trials[int(trial)].epoch > milestone for trial in scores)
            rungs.append(Rung(name, len(scores), went_on, bracket.cutoff(scores)))
    return rungs
