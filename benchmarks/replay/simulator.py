"""A search replayed on recorded curves: real searchers and schedulers under virtual time.

The simulator knows workers, a clock and curves. What decides, a ``Decider``, is the same object
that decides in a live search; ``deciders.py`` and ``peers.py`` make them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Verdict = Literal["go on", "stop", "pause"]
Row = dict[str, Any]  # one epoch's report: epoch, val_acc, best_val_acc and the losses


class Start(NamedTuple):
    """Run trial ``number`` from where it stands: from the beginning, or on from a pause."""

    number: int
    config: dict[str, Any]


class Decider(Protocol):
    """A searcher and a scheduler together, as the loop that runs trials sees them."""

    def ask(self) -> Start | None:
        """The next trial for a free worker, or None when there is none for now."""

    def report(self, number: int, row: Row) -> Verdict:
        """A finished epoch of a trial that is not at its full length."""

    def end(self, number: int, row: Row | None, state: str) -> None:
        """The trial ended as ``completed``, ``pruned``, ``infeasible`` or ``failed``, with its
        last row."""


class Curve(NamedTuple):
    """What a configuration does: its rows in order, and whether its loss then diverges.

    ``lasts``: how long each epoch is, where they are not all equally long.
    """

    rows: Sequence[Row]
    diverges: bool
    lasts: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under what a search runs. Times are in epochs of a worker that is not slow.

    Args:
        workers: trials at once.
        startup: time that a worker takes before the first epoch of each trial.
        stragglers: standard deviation of the log of a trial's slowness.
        failures: probability that a worker dies within an epoch, which is then trained again.
    """

    workers: int = 1
    startup: float = 0.0
    stragglers: float = 0.0
    failures: float = 0.0


class Moment(NamedTuple):
    """After an epoch: the clock, the epochs charged so far, and what was reported."""

    time: float
    charged: int
    number: int
    row: Row


@dataclass
class Trace:
    """What happened, in the order of the clock."""

    moments: list[Moment] = field(default_factory=list)
    configs: dict[int, dict[str, Any]] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    charged: int = 0
    time: float = 0.0


def replay(
    decider: Decider,
    curve_of: Callable[[int, dict[str, Any]], Curve],
    conditions: Conditions,
    rng: np.random.Generator,
    *,
    epochs: int,
    budget: int,
    until: Callable[[Trace], bool] = lambda trace: False,
) -> Trace:
    """Run a search until its decider has no more trials or ``budget`` epochs have been charged.

    Every epoch that a worker begins and ends is charged, those before a stop, those of a trial
    that a failure made it train again, and the one in which a loss diverges.

    Args:
        curve_of: the curve of a trial, by its number and configuration.
        epochs: a trial's full length.
        until: looked at after every epoch; the search ends where it is true.
    """
    trace = Trace()
    free = conditions.workers
    done: dict[int, int] = {}  # epochs that a trial has behind it
    slowness: dict[int, float] = {}
    curves: dict[int, Curve] = {}
    events: list[tuple[float, int, int]] = []  # when a trial's current epoch ends
    order = 0

    def schedule(number: int, wait: float) -> None:
        nonlocal order
        order += 1
        lasts = curves[number].lasts
        epoch = slowness[number] * (lasts[done[number]] if lasts else 1.0)
        heapq.heappush(events, (trace.time + wait + epoch, order, number))

    def fill() -> None:
        nonlocal free
        while free:
            start = decider.ask()
            if start is None:
                return
            number = start.number
            if number not in curves:
                curves[number] = curve_of(number, start.config)
                trace.configs[number], done[number] = start.config, 0
                slowness[number] = float(np.exp(conditions.stragglers * rng.standard_normal()))
            trace.states[number] = "running"
            free -= 1
            schedule(number, conditions.startup)

    fill()
    while events and trace.charged < budget:
        trace.time, _, number = heapq.heappop(events)
        trace.charged += 1
        if conditions.failures and rng.random() < conditions.failures:
            schedule(number, conditions.startup)
            continue
        curve = curves[number]
        done[number] += 1
        state = ""
        if curve.diverges and done[number] > len(curve.rows):
            row = curve.rows[-1] if curve.rows else None
            state = "infeasible"
        else:
            row = curve.rows[done[number] - 1]
            trace.moments.append(Moment(trace.time, trace.charged, number, row))
            if done[number] == epochs:
                decider.report(number, row)
                state = "completed"
            else:
                verdict = decider.report(number, row)
                state = {"go on": "", "stop": "pruned", "pause": "paused"}[verdict]
        if not state:
            schedule(number, 0.0)
        else:
            trace.states[number] = state
            free += 1
            if state != "paused":
                decider.end(number, row, state)
        if until(trace):
            break
        fill()
    return trace
