"""The journal of a search: one JSON line an event, and the state of every trial read from it.

It is the only memory that a search has. Whatever dies, ``resume`` rebuilds the searcher, the
scheduler and the table from these lines; nothing is ever unpickled.
"""

from __future__ import annotations

import heapq
import json
import math
import re
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from vgg6.common.checks import InputError, Range, check_choice, check_integer, check_number
from vgg6.common.schema import (
    FINITE,
    TOP,
    Record,
    Text,
    leaf,
    located,
    one_of,
    read_record,
    real,
    whole,
)
from vgg6.config import TrialConfig
from vgg6.run_record import LONGEST, Config, EpochMetrics
from vgg6.tuning.run.folder import JOURNAL, Appender, RunFolder

# How a trial can stand. "pruned": the scheduler stopped it early; "infeasible": its loss diverged
# or it does not fit into device memory; "failed": it crashed more often than allowed; "stopped":
# the search ended before it did.
RUNNING, COMPLETED, PRUNED, INFEASIBLE, FAILED, STOPPED = STATES = (
    "running", "completed", "pruned", "infeasible", "failed", "stopped",
)  # fmt: skip
METRICS = tuple(f.name for f in fields(EpochMetrics) if f.name != "epoch")


class StorageLost(BaseException):
    """The run folder cannot be written: it is full, read-only or gone. The message names it.

    Not an Exception: Ray would take it for a fault of a trial or of the searcher.
    """


@dataclass(kw_only=True, slots=True)
class Epoch(EpochMetrics):
    """A finished epoch of a trial, and when, on which node and in which process it was made."""

    time: float
    node: str | None = None
    pid: int | None = None

    @property
    def metrics(self) -> EpochMetrics:
        """The epoch without when and where, which are no part of a result."""
        return EpochMetrics(**{f.name: getattr(self, f.name) for f in fields(EpochMetrics)})


def scored(epoch: int, val_acc: float, best_val_acc: float) -> Epoch:
    """An epoch of which only the validation accuracy is known."""
    return Epoch(
        epoch=epoch, train_loss=math.nan, train_acc=math.nan, val_loss=math.nan, val_acc=val_acc,
        best_val_acc=best_val_acc, best_epoch=epoch, lr=math.nan, seconds=0.0, time=0.0,
    )  # fmt: skip


@dataclass
class TrialRecord:
    """What the journal knows of one trial. ``params``: what Optuna suggested, by its names;
    ``rows``: the finished epochs, by number."""

    number: int
    config: TrialConfig
    params: dict[str, Any]
    created: float
    rows: dict[int, Epoch] = field(default_factory=dict)
    state: str = RUNNING
    reason: str = ""
    ended: float | None = None
    epoch: int = 0  # the last finished one
    best_val_acc: float | None = None
    gpus: float | None = None  # its share since it ran out of device memory with the usual one

    def __post_init__(self) -> None:
        given, self.rows = self.rows, {}
        for row in given.values():
            self.add_row(row)

    def add_row(self, row: Epoch) -> None:
        """Take in a finished epoch. What is asked of every trial at every event is kept ready."""
        self.rows[row.epoch] = row
        self.epoch = max(self.epoch, row.epoch)
        self.best_val_acc = max(row.val_acc, self.best_val_acc or 0.0)

    @property
    def curve(self) -> list[Epoch]:
        """Its rows in the order of their epochs."""
        return [row for _, row in sorted(self.rows.items())]

    @property
    def results(self) -> list[EpochMetrics]:
        """``curve`` without where and when each row was made."""
        return [row.metrics for row in self.curve]

    @property
    def last(self) -> Epoch | None:
        """Its last finished epoch."""
        return self.rows.get(self.epoch)

    @property
    def best_epoch(self) -> int:
        """The epoch of its best score; 0 before its first."""
        return self.last.best_epoch if self.last else 0

    @property
    def seconds(self) -> float:
        """How long its epochs took, together."""
        return float(sum(row.seconds for row in self.rows.values()))

    @property
    def stop_after(self) -> int | None:
        """How many epochs a re-run must stop after, if it was not run to its full length."""
        return self.epoch if self.epoch < self.config.epochs else None

    @property
    def assignment(self) -> dict[str, Any]:
        """What the shared trainable is given: ``number``, ``config`` and, if it has one of its own,
        the share of a GPU as ``gpus``."""
        own = {} if self.gpus is None else {"gpus": self.gpus}
        return {"number": self.number, "config": self.config.to_dict(), **own}


@dataclass
class Session:
    """One driver's run of a search. ``time``: when it began, or ended; ``outcome``: how it ended,
    empty before it has."""

    name: str
    time: float
    outcome: str = ""


@dataclass
class History:
    """All trials by number, the epochs in the order they came, and how the search stands."""

    trials: dict[int, TrialRecord] = field(default_factory=dict)
    arrivals: list[tuple[int, int, float]] = field(default_factory=list)  # trial, epoch, score
    sessions: list[Session] = field(default_factory=list)
    repeated_rows: int = 0
    torn_lines: int = 0
    enlarged: int = 0  # trials that ran out of device memory and got a larger share

    @property
    def states(self) -> dict[str, int]:
        """How many trials stand how."""
        return dict(Counter(trial.state for trial in self.trials.values()))

    @property
    def incumbent(self) -> TrialRecord | None:
        """The trial with the highest validation accuracy, the first of equals."""
        scored = [t for t in self.trials.values() if t.best_val_acc is not None]
        return max(scored, key=lambda t: (t.best_val_acc, -t.number), default=None)

    def ranking(self, first: int | None = None) -> list[TrialRecord]:
        """Trials by their best validation accuracy; of equals the cheaper, then the earlier.

        Diverged and crashed trials are left out: they have no weights to give. ``first``: only so
        many of them.
        """
        able = (
            t
            for t in self.trials.values()
            if t.best_val_acc is not None and t.state not in (INFEASIBLE, FAILED)
        )
        count = len(self.trials) if first is None else first
        return heapq.nsmallest(
            count, able, key=lambda t: (-(t.best_val_acc or 0.0), t.epoch, t.number)
        )

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event, as it is written or as it is read back."""
        kind = event["event"]
        if kind == "session":
            self.sessions.append(Session(event["session"], event["time"]))
            return
        if kind == "session_end":
            session = self.sessions[-1]
            session.time, session.outcome = event["time"], event["outcome"]
            return
        number = event["trial"]
        if kind == "trial":
            config = event["config"]
            if not isinstance(config, TrialConfig):
                config = TrialConfig.from_mapping(config)
            self.trials[number] = TrialRecord(number, config, event["params"], event["time"])
        elif kind == "epoch":
            trial, epoch = self.trials[number], event["epoch"]
            if epoch in trial.rows:  # a worker died between its report and its checkpoint
                self.repeated_rows += 1
                return
            trial.add_row(_epoch(event))
            self.arrivals.append((number, epoch, event["best_val_acc"]))
        elif kind == "enlarged":
            self.trials[number].gpus = event["gpus"]
            self.enlarged += 1
        elif kind == "end":
            trial = self.trials[number]
            trial.state, trial.reason = event["state"], event["reason"]
            trial.ended = event["time"]
        else:
            raise KeyError(kind)

    def checked(self, event: Any) -> dict[str, Any]:
        """An event of a file, its configuration typed; what is read, anybody may have written.

        Raises:
            InputError: it cannot follow on those before, or breaks a rule; names the field.
        """
        if not isinstance(event, dict):
            raise InputError(TOP, event, "is not a mapping of names to values (event, time)")
        kind = event.get("event")
        if kind == "epoch":
            _check_epoch(event)
        else:
            read_record(_Event, event)
            check_choice("event", kind, EVENTS)
            found = read_record(EVENTS[str(kind)], event)
            if isinstance(found, _TrialEvent):
                event = event | {"config": found.config}
        if kind == "session_end" and not self.sessions:
            raise InputError("event", kind, "comes before any session")
        if kind in ("session", "session_end"):
            return event
        number = event["trial"]
        known = self.trials.get(number)
        if (known is None) != (kind == "trial"):
            rule = "has not begun" if known is None else "begins twice"
            raise InputError("trial", number, rule)
        if known and kind == "epoch" and event["epoch"] > known.config.epochs:
            check_integer("epoch", event["epoch"], Range(1, known.config.epochs))
        if known and event.get("state") == COMPLETED and not known.rows:
            raise InputError("state", COMPLETED, "is that of a trial without a finished epoch")
        return event


def _epoch(event: dict[str, Any]) -> Epoch:
    return Epoch(
        epoch=event["epoch"], train_loss=event["train_loss"], train_acc=event["train_acc"],
        val_loss=event["val_loss"], val_acc=event["val_acc"], best_val_acc=event["best_val_acc"],
        best_epoch=event["best_epoch"], lr=event["lr"], seconds=event["seconds"],
        time=event["time"], node=event.get("node"), pid=event.get("pid"),
    )  # fmt: skip


def _check_epoch(event: dict[str, Any]) -> None:
    """By hand and not by a record: a search has ten thousands of these."""
    for key, allowed in _EPOCH_RANGES.items():
        if key not in event:
            raise InputError("epoch", key, "is missing")
        value = event[key]
        if not (type(value) is float and allowed.low <= value <= allowed.high):
            check_number(key, value, allowed)
    for key, most in (("trial", 10**7), ("epoch", LONGEST), ("best_epoch", None)):
        if key not in event:
            raise InputError("epoch", key, "is missing")
        low, high = int(key != "trial"), most or event["epoch"]
        value = event[key]
        if not (type(value) is int and low <= value <= high):
            check_integer(key, value, Range(low, high))
    if type(event.get("node", "")) is not str or "\0" in event.get("node", ""):
        raise InputError("node", event["node"], "is not text")


def _session_name(field: str, value: Any) -> None:
    if not (isinstance(value, str) and SESSION.fullmatch(value)):
        raise InputError(field, value, "is no name of a session, such as session_1")


# A session's name becomes that of a folder which is removed.
SESSION = re.compile(r"session_\d{1,9}")
_EPOCH_RANGES = {
    "time": Range(0, 1e11),
    **{
        key: Range(0, 1) if key.endswith("_acc") else Range(0, 1e9) if key == "seconds" else FINITE
        for key in METRICS if key != "best_epoch"
    },
}  # fmt: skip
_Number = Annotated[int, whole(0, 10**7)]
_Name = Annotated[str, leaf(_session_name)]


class _Event(Record):
    event: Text
    time: Annotated[float, real(0, 1e11)]


class _SessionEvent(_Event):
    session: _Name


class _SessionEndEvent(_Event):
    session: _Name
    outcome: Text


class _TrialEvent(_Event):
    trial: _Number
    config: Config
    params: dict[str, Any]


class _EnlargedEvent(_Event):
    trial: _Number
    gpus: Annotated[float, real(1e-4, 1)]
    reason: Text


class _EndEvent(_Event):
    trial: _Number
    state: Annotated[str, one_of(*STATES)]
    reason: Text


EVENTS: dict[str, type[_Event]] = {
    "session": _SessionEvent,
    "session_end": _SessionEndEvent,
    "trial": _TrialEvent,
    "epoch": _Event,
    "enlarged": _EnlargedEvent,
    "end": _EndEvent,
}


class Journal:
    """Writes events and keeps the history that they make."""

    def __init__(self, run: RunFolder) -> None:
        self.history = read_history(run)
        self._lines = Appender(run, JOURNAL)

    @property
    def staged(self) -> Path:
        """The local file that the lines go to first."""
        return self._lines.staged

    def write(self, event: str, **facts: Any) -> None:
        """Add an event.

        Raises:
            StorageLost: it could not be written, and is not in the history either.
        """
        entry = {"event": event, "time": time.time(), **facts}
        try:
            self._lines.append(json.dumps(entry))
        except OSError as error:
            raise StorageLost(f"{self._lines.where} cannot be written: {error}") from error
        self.history.add(entry)

    def close(self) -> None:
        self._lines.close()


def read_history(run: RunFolder) -> History:
    """Read a run's journal; an unfinished last line is counted, one in the middle is an error.

    A line that was torn by a crash and then followed by a later session's lines is such a last
    line too: every session starts with its own event.

    Raises:
        InputError: a line in the middle is damaged, or any line breaks a rule; names the file,
            the line and the key.
    """
    history = History()
    if not run.exists(JOURNAL):
        return history
    lines = run.read(JOURNAL).split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{run.file(JOURNAL)} line {number}"
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            following = next((x for x in lines[number:] if x.strip()), b'{"event": "session"')
            if not following.startswith(b'{"event": "session"'):
                raise InputError("run", where, f"is damaged: {error!r}") from None
            history.torn_lines += 1
            continue
        with located(f"{where}: "):
            event = history.checked(event)
        history.add(event)
    return history
