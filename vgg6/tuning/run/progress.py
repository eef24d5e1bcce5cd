"""How a search gets on: a live table on a terminal, and a line a minute where there is none."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vgg6.common.numbers_in_words import counted, rate, roughly
from vgg6.common.say import say
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import PAUSED, RUNNING, TrialRecord

REFRESH_S = 0.5
LINE_EVERY_S = 60.0
SHOWN_TRIALS = 8


class Best(NamedTuple):
    """The number of a trial, and its best score, where more is always better."""

    trial: int
    score: float


class LineSchedule:
    """When a line is due: each minute, and whenever another trial is better than the best so far.

    Args:
        now: seconds, by any clock.
        best: the best trial so far.
    """

    def __init__(self, now: float, best: Best | None) -> None:
        self._said, self._best = now, best

    def is_due(self, now: float, best: Best | None) -> bool:
        """Whether a line is due, which is then taken for said."""
        if not self._is_beaten_by(best) and now - self._said < LINE_EVERY_S:
            return False
        self._said, self._best = now, best
        return True

    def _is_beaten_by(self, best: Best | None) -> bool:
        if best is None or self._best is None:
            return best is not self._best
        if best.trial == self._best.trial:
            self._best = best
        return best.score > self._best.score


@dataclass(frozen=True)
class Standing:
    """How a session of a search gets on.

    Args:
        history: of the search.
        total: how many trials the search will have.
        elapsed: seconds since the session began.
        epochs: how many it has run.
        budget: seconds that it may take; None for no limit.
    """

    history: History
    total: int
    elapsed: float
    epochs: int
    budget: float | None = None

    @property
    def speed(self) -> str:
        """Epochs by time, in words; empty before the first."""
        return rate(60 * self.epochs / self.elapsed) if self.epochs and self.elapsed else ""

    @property
    def left(self) -> str:
        """How long it will go on, in words; empty where nothing tells yet."""
        bounds = []
        remaining = remaining_epochs(self.history, self.total)
        if remaining is not None and self.epochs:
            bounds.append(remaining * self.elapsed / self.epochs)
        if self.budget is not None:
            bounds.append(max(0.0, self.budget - self.elapsed))
        return f"{roughly(min(bounds))} left" if bounds else ""

    @property
    def one(self) -> str:
        """What is counted: a search's trials, or a confirmation's runs."""
        runs = any("candidate" in trial.params for trial in self.history.trials.values())
        return "run" if runs else "trial"

    @property
    def leader(self) -> str:
        """What the best trial is called; of a confirmation, where it decides nothing, the best
        run."""
        return "incumbent" if self.one == "trial" else "best run"

    @property
    def trials(self) -> str:
        """How many trials ended and how, and how many run."""
        counts = Counter(trial.state for trial in self.history.trials.values())
        running, paused = counts.pop(RUNNING, 0), counts.pop(PAUSED, 0)
        states = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
        ended = f"{counts.total()} of {counted(self.total, self.one)} ended"
        going = f"{running} running" + (f", {paused} paused" if paused else "")
        return f"{ended}{f' ({states})' if states else ''}, {going}"

    def line(self) -> str:
        """All of it in one line, for a log."""
        best = self.history.incumbent
        parts = [
            self.trials,
            f"{counted(self.epochs, 'epoch')}{f', {self.speed}' if self.speed else ''}",
            f"{self.leader} {best.title} {best.config.label}"
            f" {self.history.metric.column} {best.score:.4f}"
            if best
            else "no score yet",
            *filter(None, [self.left]),
        ]
        return f"{clock(self.elapsed)}  {'; '.join(parts)}"


class Progress:
    """Shows how a history grows. Use as a context manager around the search.

    Args:
        title: the search and its data.
        total: how many trials the search will have.
        history: read at every refresh; the journal keeps it up to date.
        budget: seconds that the session may take; None for no limit.
    """

    def __init__(
        self, title: str, total: int, history: History, budget: float | None = None
    ) -> None:
        self.title, self.total, self.history, self.budget = title, total, history, budget
        self.console = Console(stderr=True)
        self.live: Live | None = None
        self.lines: LineSchedule | None = None
        self._drawn = 0.0
        self._started = time.monotonic()
        self._epochs_before = epochs_run(history)

    def __enter__(self) -> Progress:
        # A dumb terminal cannot be drawn on again: it would show nothing until the end.
        if sys.stderr.isatty() and not self.console.is_dumb_terminal:
            self.live = Live(self.render(), console=self.console, auto_refresh=False)
            self.live.start()
        else:
            self.lines = LineSchedule(time.monotonic(), _best(self.history))
        return self

    def __exit__(self, *exc: object) -> None:
        if self.live:
            self.live.update(self.render(), refresh=True)
            self.live.stop()

    def refresh(self) -> None:
        """Draw again if the last drawing is old enough; say a line if one is due."""
        now = time.monotonic()
        if self.live and now - self._drawn > REFRESH_S:
            self._drawn = now
            self.live.update(self.render(), refresh=True)
        if self.lines and self.lines.is_due(now, _best(self.history)):
            say(self.standing().line())

    def standing(self) -> Standing:
        elapsed = time.monotonic() - self._started
        epochs = epochs_run(self.history) - self._epochs_before
        return Standing(self.history, self.total, elapsed, epochs, self.budget)

    def render(self) -> Group:
        """The head lines, the incumbent and the running trials."""
        now = self.standing()
        speed = f"{now.speed.replace(' ', ' epochs ', 1)}, " if now.speed else ""
        head = Text.assemble(
            (self.title, "bold"),
            f"\n{now.trials}\n{speed}{clock(now.elapsed)} so far, {now.left or 'measuring'}\n",
        )
        best = self.history.incumbent
        if best:
            head.append(f"{now.leader}: {best.title} {best.config.label} ")
            head.append(f"{self.history.metric.column} {best.score:.4f}", "bold green")
        return Group(head, self._table())

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        metric = self.history.metric
        for column in ("trial", "configuration", "epoch", metric.column, "best"):
            table.add_column(column, justify="left" if column == "configuration" else "right")
        running = [t for t in self.history.trials.values() if t.state == RUNNING]
        for record in running[-SHOWN_TRIALS:]:
            last = record.last
            table.add_row(
                record.title.removeprefix("trial "),
                record.config.label,
                f"{record.epoch}/{record.config.epochs}",
                f"{metric.of(last):.4f}" if last else "-",
                f"{metric.best_of(last):.4f}" if last else "-",
            )
        return table


def _best(history: History) -> Best | None:
    best = history.incumbent
    return Best(best.number, best.gain) if best else None


def epochs_run(history: History) -> int:
    return len(history.arrivals)


def remaining_epochs(history: History, total: int) -> float | None:
    """Epochs still to run, if those to come are like those that ended; None before the first."""
    ended = [t for t in history.trials.values() if t.ended is not None]
    if not ended:
        return None
    mean = sum(t.epoch for t in ended) / len(ended)
    # Most of those that are paused will not be promoted.
    running = (t for t in history.trials.values() if t.ended is None and t.state != PAUSED)
    under_way = sum(_left_of(t, mean) for t in running)
    return mean * (total - len(history.trials)) + under_way


def _left_of(trial: TrialRecord, mean: float) -> float:
    """Epochs that a running trial may have left. One that got a greater length goes on to it."""
    if trial.lengthened or trial.again_of is not None:
        return trial.config.epochs - trial.epoch
    return max(mean - trial.epoch, 0.5)


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"
