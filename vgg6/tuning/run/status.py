"""How a search stands, from its folder alone, while it runs or after."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from vgg6.common.numbers_in_words import counted, rate, roughly
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, metric_named
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.driver_lock import is_running
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.progress import remaining_epochs
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.training_depth import in_words, pruned_after
from vgg6.tuning.run.trials import OPEN, RUNNING, STOPPED

STARTING, IN_PROGRESS, CONFIRMING = "starting", "running", "confirming"

STARTING_S = 30.0  # a session without an epoch is starting for so long


@dataclass(frozen=True)
class Incumbent:
    """The best trial so far. ``score``: its best by the search's metric; ``best_val_acc``: its
    accuracy in that epoch."""

    trial: int
    label: str
    best_val_acc: float
    config: TrialConfig
    score: float


@dataclass(frozen=True)
class ConfirmedWinner:
    """The trial that won a confirmation. ``mean``: of its scores over ``seeds``;
    ``more_seeds``: how many would settle whether it is the best, None where that is not known."""

    trial: int
    label: str
    mean: float
    seeds: int
    more_seeds: int | None = None


@dataclass(frozen=True)
class Status:
    """How a search stands. ``metric``: what scores are of; ``minutes_left``: None before the first
    trial's end; ``pruned_after``: how many trials were stopped early after how many epochs;
    ``depth``: that in words; ``extensions``: what was added since it began, a line each;
    ``outdated``: what a confirmation is of that was made before; ``confirming``: how far one has
    come that is not at its end, empty where there is none."""

    search: str
    data: str
    state: str
    trials: int
    by_state: dict[str, int]
    epochs_run: int
    epochs_a_minute: float
    minutes_left: float | None = None
    last_news_s: float | None = None
    incumbent: Incumbent | None = None
    repeated_rows: int = 0
    torn_lines: int = 0
    confirmed: ConfirmedWinner | None = None
    pruned_after: dict[int, int] = field(default_factory=dict)
    depth: str = ""
    extensions: list[str] = field(default_factory=list)
    outdated: str = ""
    confirming: str = ""
    metric: str = ACCURACY.name

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def status_of(search: Search) -> Status:
    """How a search stands."""
    facts, history, now = search.facts, search.history, time.time()
    session = history.sessions[-1] if history.sessions else None
    state = _state(search, now)
    started = session.time if session else 0.0
    rows = [row for trial in history.trials.values() for row in trial.rows.values()]
    # Counted and not compared by their times: a clock may have been set back.
    arrivals = history.arrivals[session.arrived :] if session else []
    recent = [history.trials[number].rows[epoch].time for number, epoch, _ in arrivals]
    last = max(recent, default=started)
    speed = len(recent) / (last - started) * 60 if last > started else 0.0
    left = remaining_epochs(history, facts.trials)
    goes_on = state == IN_PROGRESS and speed and left is not None
    return Status(
        search=search.name,
        data=facts.data.name,
        state=state,
        trials=facts.trials,
        by_state=_by_state(history, state in (STARTING, IN_PROGRESS)),
        epochs_run=len(rows),
        epochs_a_minute=round(speed, 4),
        minutes_left=round(left / speed, 2) if goes_on and left is not None else None,
        last_news_s=max(0, round(now - last)) if last else None,
        incumbent=_incumbent(history),
        repeated_rows=history.repeated_rows,
        torn_lines=history.torn_lines,
        confirmed=_confirmed(search.confirmation),
        pruned_after=pruned_after(history),
        depth=in_words(history) if state not in (STARTING, IN_PROGRESS) and rows else "",
        extensions=search.extensions,
        outdated=search.outdated_in_words,
        confirming=_confirming(search.folder),
        metric=search.metric.name,
    )


def starting_status(name: str) -> Status:
    """How a search stands that has no file yet."""
    return Status(name, "", STARTING, 0, {}, 0, 0.0)


def _state(search: Search, now: float) -> str:
    """What the driver does, or how its last session ended."""
    sessions = search.history.sessions
    if is_running(search.folder):
        if not sessions:
            return STARTING
        waits = len(search.history.arrivals) == sessions[-1].arrived
        return STARTING if waits and 0 <= now - sessions[-1].time < STARTING_S else IN_PROGRESS
    if search.folder.local and is_running(search.folder.confirmed):
        return CONFIRMING
    if search.is_pending:
        return "incomplete"
    return (sessions[-1].outcome or "killed") if sessions else "not begun"


def _by_state(history: History, goes_on: bool) -> dict[str, int]:
    """How many trials are in which state. None runs where no driver does."""
    counts = Counter(history.states)
    if not goes_on and (left := counts.pop(RUNNING, 0)):
        counts[STOPPED] += left
    return dict(counts)


def _incumbent(history: History) -> Incumbent | None:
    best = history.incumbent
    if best is None or best.best_val_acc is None or best.score is None:
        return None
    return Incumbent(best.number, best.config.label, best.best_val_acc, best.config, best.score)


def _confirmed(found: Confirmation | None) -> ConfirmedWinner | None:
    if found is None or (mean := found.chosen.mean) is None:
        return None
    chosen = found.chosen
    seeds = len(chosen.finished)
    return ConfirmedWinner(chosen.trial, chosen.label, mean, seeds, found.more_seeds)


def _confirming(run: RunFolder) -> str:
    """How far a confirmation has come that is not at its end: which runs it has, and what became of
    its driver."""
    inner = run.confirmed
    if not inner.exists(JOURNAL):
        return ""
    history = read_history(inner)
    states = Counter(history.states)
    ended = len(history.trials) - sum(states[state] for state in OPEN)
    runs = f"{counted(ended, 'run')} over fresh seeds ended"
    if inner.local and is_running(inner):
        return f"{runs}, {states[RUNNING]} going on"
    outcome = history.sessions[-1].outcome if history.sessions else ""
    return "" if outcome == "complete" else f"{outcome or 'killed'} after {runs}"


def render(status: Status, to_go_on: str = "", to_confirm: str = "") -> str:
    """The status as a few lines of text.

    Args:
        to_go_on: the command that resumes the search.
        to_confirm: the one that goes on with a confirmation.
    """
    if not status.data:
        return f"{status.search}: {status.state}"
    column = metric_named(status.metric).column
    states = ", ".join(f"{n} {state}" for state, n in sorted(status.by_state.items()))
    speed = rate(status.epochs_a_minute) if status.epochs_run else ""
    lines = [
        f"{status.search} on {status.data}: {status.state}",
        f"  trials    {status.trials} asked for: {states or 'none begun'}",
        f"  epochs    {status.epochs_run:,} run{f', {speed}' if speed else ''}",
    ]
    lines += [f"  {line}" for line in status.extensions]
    if status.minutes_left is not None:
        lines.append(f"  left      {roughly(60 * status.minutes_left)}")
    if status.depth:
        lines.append(f"  trained   {status.depth}")
    if best := status.incumbent:
        score = f"{column} {best.score:.4f}"
        lines.append(f"  incumbent trial {best.trial} {best.label}: {score}")
    if found := status.confirmed:
        over = f"mean {column} {found.mean:.4f} over {counted(found.seeds, 'fresh seed')}"
        open_ = "; not settled against its rivals" if found.more_seeds else ""
        lines.append(f"  confirmed trial {found.trial} {found.label}: {over}{open_}")
    if status.confirming:
        again = to_confirm and status.state != CONFIRMING
        lines.append(f"  confirm   {status.confirming}{f': {to_confirm}' if again else ''}")
    elif status.outdated:
        lines.append(f"  confirm   again: {status.outdated}")
    if torn := status.torn_lines:
        lines.append(f"  journal   {counted(torn, 'line')} torn by a crash, left out")
    if to_go_on and status.state in ("interrupted", "incomplete", "killed", "failed"):
        lines.append(f"  to go on  {to_go_on}")
    return "\n".join(lines)
