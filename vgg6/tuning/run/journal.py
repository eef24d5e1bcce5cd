"""The journal of a search: one JSON line an event, and the state of every trial read from it.

It is the only memory that a search has. Whatever dies, ``resume`` rebuilds the searcher, the
scheduler and the table from these lines; nothing is ever unpickled.
"""

from __future__ import annotations

import heapq
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vgg6.common import old_schema as s
from vgg6.common.checks import InputError, Range, check_choice, check_integer, check_number
from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import JOURNAL, Appender, RunFolder

# How a trial can stand. "pruned": the scheduler stopped it early; "infeasible": its loss diverged
# or it does not fit into device memory; "failed": it crashed more often than allowed; "stopped":
# the search ended before it did.
RUNNING, COMPLETED, PRUNED, INFEASIBLE, FAILED, STOPPED = STATES = (
    "running", "completed", "pruned", "infeasible", "failed", "stopped",
)  # fmt: skip
WHERE = ("time", "node", "pid")  # of a row: when and where it was made
METRICS = (
    "train_loss", "train_acc", "val_loss", "val_acc", "best_val_acc", "best_epoch", "lr", "seconds",
)  # fmt: skip


class StorageLost(BaseException):
    """The run folder cannot be written: it is full, read-only or gone. The message names it.

    Not an Exception: Ray would take it for a fault of a trial or of the searcher.
    """


@dataclass
class TrialRecord:
    """What the journal knows of one trial. ``rows``: metrics by epoch, each epoch once."""

    number: int
    config: dict[str, Any]
    params: dict[str, Any]
    created: float
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    state: str = RUNNING
    reason: str = ""
    ended: float | None = None
    epoch: int = 0  # the last finished one
    best_val_acc: float | None = None
    gpus: float | None = None  # its share since it ran out of device memory with the usual one

    def __post_init__(self) -> None:
        given, self.rows = self.rows, {}
        for epoch, row in given.items():
            self.add_row(epoch, row)

    def add_row(self, epoch: int, row: dict[str, Any]) -> None:
        """Take in a finished epoch. What is asked of every trial at every event is kept ready."""
        self.rows[epoch] = row
        self.epoch = max(self.epoch, epoch)
        self.best_val_acc = max(row["val_acc"], self.best_val_acc or 0.0)

    @property
    def curve(self) -> list[dict[str, Any]]:
        """Its rows in the order of their epochs."""
        return [row for _, row in sorted(self.rows.items())]

    @property
    def results(self) -> list[dict[str, Any]]:
        """``curve`` without where and when each row was made, which is no part of a result."""
        return [{k: v for k, v in row.items() if k not in WHERE} for row in self.curve]

    @property
    def assignment(self) -> dict[str, Any]:
        """What the shared trainable is given: ``number``, ``config`` and, if it has one of its own,
        the share of a GPU as ``gpus``."""
        own = {} if self.gpus is None else {"gpus": self.gpus}
        return {"number": self.number, "config": self.config, **own}


@dataclass
class History:
    """All trials by number, the epochs in the order they came, and how the search stands."""

    trials: dict[int, TrialRecord] = field(default_factory=dict)
    arrivals: list[tuple[int, int, float]] = field(default_factory=list)  # trial, epoch, score
    sessions: list[dict[str, Any]] = field(default_factory=list)
    repeated_rows: int = 0
    torn_lines: int = 0
    enlarged: int = 0  # trials that ran out of device memory and got a larger share

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
            self.sessions.append(event)
            return
        if kind == "session_end":
            self.sessions[-1] = self.sessions[-1] | event
            return
        number = event["trial"]
        if kind == "trial":
            self.trials[number] = TrialRecord(
                number, event["config"], event["params"], event["time"]
            )
        elif kind == "epoch":
            trial, epoch = self.trials[number], event["epoch"]
            if epoch in trial.rows:  # a worker died between its report and its checkpoint
                self.repeated_rows += 1
                return
            trial.add_row(epoch, {k: v for k, v in event.items() if k not in ("event", "trial")})
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
        """An event of a file, its configuration filled in; what is read, anybody may have written.

        Raises:
            InputError: it cannot follow on those before, or breaks a rule; names the key.
        """
        _EVENT(s.TOP, event)
        kind = event["event"]
        check_choice("event", kind, EVENTS)
        EVENTS[kind](s.TOP, event)
        if kind == "session_end" and not self.sessions:
            raise InputError("event", kind, "comes before any session")
        if "trial" not in event:
            return dict(event)
        number, known = event["trial"], self.trials.get(event["trial"])
        if (known is None) != (kind == "trial"):
            rule = "has not begun" if known is None else "begins twice"
            raise InputError("trial", number, rule)
        if kind == "trial":
            return event | {"config": TrialConfig.from_mapping(event["config"]).to_dict()}
        if known and kind == "epoch":
            check_integer("epoch", event["epoch"], Range(1, known.config["epochs"]))
            for key, allowed in _METRIC_RANGES.items():
                if key not in event:
                    raise InputError(kind, key, "is missing")
                value = event[key]
                # The common case without a call: a search has ten thousands of these.
                if not (type(value) is float and allowed.low <= value <= allowed.high):
                    check_number(key, value, allowed)
            check_integer("best_epoch", event["best_epoch"], Range(1, event["epoch"]))
        if known and event.get("state") == COMPLETED and not known.rows:
            raise InputError("state", COMPLETED, "is that of a trial without a finished epoch")
        return dict(event)


LONGEST = 10_000  # epochs
_METRIC_RANGES = {
    key: Range(0, 1) if key.endswith("_acc") else Range(0, 1e9) if key == "seconds" else s.FINITE
    for key in METRICS
}
_NUMBER = s.integer(0, 10**7)
_EVENT = s.mapping({"event": s.text, "time": s.number(0, 1e11)})


def _session(key: str, value: Any) -> None:
    s.text(key, value)
    if not SESSION.fullmatch(value):
        raise InputError(key, value, "is no name of a session, such as session_1")


# A session's name becomes that of a folder which is removed.
SESSION = re.compile(r"session_\d{1,9}")
_PARAMS = s.mapping({})
EVENTS: dict[str, s.Check] = {
    "session": s.mapping({"session": _session}),
    "session_end": s.mapping({"session": _session, "outcome": s.text}),
    "trial": s.mapping({"trial": _NUMBER, "config": s.config, "params": _PARAMS}),
    "epoch": s.mapping({"trial": _NUMBER, "epoch": s.integer(1, LONGEST)}, {"node": s.text}),
    "enlarged": s.mapping({"trial": _NUMBER, "gpus": s.number(1e-4, 1), "reason": s.text}),
    "end": s.mapping({"trial": _NUMBER, "state": s.one_of(STATES), "reason": s.text}),
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
        with s.located(f"{where}: "):
            event = history.checked(event)
        history.add(event)
    return history
