"""How a search stands, from its folder alone, while it runs or after."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from filelock import FileLock, Timeout

from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.progress import clock, remaining_epochs
from vgg6.tuning.run.search import Search


@dataclass(frozen=True)
class Incumbent:
    """The best trial so far."""

    trial: int
    label: str
    best_val_acc: float
    config: TrialConfig


@dataclass(frozen=True)
class Status:
    """How a search stands. ``minutes_left`` is None before the first trial's end."""

    search: str
    data: str
    state: str
    trials: int
    by_state: dict[str, int]
    epochs_run: int
    epochs_a_minute: float
    minutes_left: float | None
    last_news_s: float | None
    incumbent: Incumbent | None
    repeated_rows: int
    torn_lines: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def status_of(search: Search) -> Status:
    """How a search stands."""
    facts, history = search.facts, search.history
    session = history.sessions[-1] if history.sessions else None
    running = is_running(search.folder)
    ended = (session.outcome or "killed") if session else "not begun"
    started = session.time if session else 0.0
    rows = [row for trial in history.trials.values() for row in trial.rows.values()]
    recent = [row.time for row in rows if row.time >= started]
    last = max(recent, default=started)
    rate = len(recent) / (last - started) * 60 if last > started else 0.0
    left = remaining_epochs(history, facts.trials)
    return Status(
        search=search.name,
        data=facts.data.name,
        state="running" if running else ended,
        trials=facts.trials,
        by_state=history.states,
        epochs_run=len(rows),
        epochs_a_minute=round(rate, 2),
        minutes_left=round(left / rate, 1) if running and rate and left is not None else None,
        last_news_s=round(time.time() - last) if last else None,
        incumbent=_incumbent(history),
        repeated_rows=history.repeated_rows,
        torn_lines=history.torn_lines,
    )


def _incumbent(history: History) -> Incumbent | None:
    best = history.incumbent
    if best is None or best.best_val_acc is None:
        return None
    return Incumbent(best.number, best.config.label, best.best_val_acc, best.config)


def render(status: Status, to_go_on: str = "") -> str:
    """The status as a few lines of text.

    Args:
        to_go_on: the command that resumes the search.
    """
    states = ", ".join(f"{n} {state}" for state, n in sorted(status.by_state.items()))
    lines = [
        f"{status.search} on {status.data}: {status.state}",
        f"  trials    {status.trials} asked for: {states or 'none begun'}",
        f"  epochs    {status.epochs_run} run, {status.epochs_a_minute} a minute",
    ]
    if status.minutes_left is not None:
        lines.append(f"  left      about {clock(60 * status.minutes_left)}")
    if best := status.incumbent:
        score = f"val_acc {best.best_val_acc:.4f}"
        lines.append(f"  incumbent trial {best.trial} {best.label}: {score}")
    if torn := status.torn_lines:
        lines.append(f"  journal   {torn} line{'s' * (torn > 1)} torn by a crash, left out")
    if to_go_on and status.state in ("interrupted", "incomplete", "killed", "failed"):
        lines.append(f"  to go on  {to_go_on}")
    return "\n".join(lines)


def is_running(run: RunFolder) -> bool:
    """Whether a driver holds the run folder's lock; for an object store nobody can tell."""
    if not run.local or not run.exists(".lock"):
        return False
    try:
        FileLock(run.file(".lock")).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False
