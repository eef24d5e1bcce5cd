"""The live table of a search on a terminal; nothing where there is none to see it."""

from __future__ import annotations

import sys
import time
from collections import Counter

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import RUNNING

REFRESH_S = 0.5
SHOWN_TRIALS = 8


class Progress:
    """Draws the state of a history. Use as a context manager around the search.

    Args:
        title: the search and its data.
        total: how many trials the search will have.
        history: read at every refresh; the journal keeps it up to date.
    """

    def __init__(self, title: str, total: int, history: History) -> None:
        self.title, self.total, self.history = title, total, history
        self.console = Console(stderr=True)
        self.live: Live | None = None
        self._drawn = 0.0
        self._started = time.monotonic()
        self._epochs_before = epochs_run(history)

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self.live = Live(self.render(), console=self.console, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.live:
            self.live.update(self.render(), refresh=True)
            self.live.stop()

    def refresh(self) -> None:
        """Draw again if the last drawing is old enough."""
        now = time.monotonic()
        if self.live and now - self._drawn > REFRESH_S:
            self._drawn = now
            self.live.update(self.render(), refresh=True)

    def render(self) -> Group:
        """The head lines, the incumbent and the running trials."""
        history = self.history
        counts = Counter(t.state for t in history.trials.values())
        elapsed = time.monotonic() - self._started
        epochs = epochs_run(history) - self._epochs_before
        rate = 60 * epochs / elapsed if elapsed else 0.0
        left = remaining_epochs(history, self.total)
        eta = f"about {clock(60 * left / rate)} left" if rate and left is not None else "measuring"
        ended = {k: v for k, v in counts.items() if k != RUNNING}
        states = ", ".join(f"{n} {state}" for state, n in sorted(ended.items())) or "none yet"
        head = Text.assemble(
            (self.title, "bold"),
            f"\n{sum(ended.values())} of {self.total} trials ended: {states};"
            f" {counts[RUNNING]} running\n"
            f"{rate:.1f} epochs a minute, {clock(elapsed)} so far, {eta}\n",
        )
        best = history.incumbent
        if best:
            head.append(f"incumbent: trial {best.number} {best.config.label} ")
            head.append(f"val_acc {best.best_val_acc:.4f}", "bold green")
        return Group(head, self._table())

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("trial", "configuration", "epoch", "val_acc", "best"):
            table.add_column(column, justify="left" if column == "configuration" else "right")
        running = [t for t in self.history.trials.values() if t.state == RUNNING]
        for record in running[-SHOWN_TRIALS:]:
            last = record.last
            table.add_row(
                str(record.number),
                record.config.label,
                f"{record.epoch}/{record.config.epochs}",
                f"{last.val_acc:.4f}" if last else "-",
                f"{last.best_val_acc:.4f}" if last else "-",
            )
        return table


def epochs_run(history: History) -> int:
    return len(history.arrivals)


def remaining_epochs(history: History, total: int) -> float | None:
    """Epochs still to run, if those to come are like those that ended; None before the first."""
    ended = [t for t in history.trials.values() if t.ended is not None]
    if not ended:
        return None
    mean = sum(t.epoch for t in ended) / len(ended)
    running = (t for t in history.trials.values() if t.ended is None)
    under_way = sum(max(mean - t.epoch, 0.5) for t in running)
    return mean * (total - len(history.trials)) + under_way


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"
