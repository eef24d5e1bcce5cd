"""The events of a journal, checked as they are read."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Annotated, Any

from vgg6.common.checks import InputError, Range, check_choice, check_integer, check_number
from vgg6.common.schema import (
    FINITE,
    TOP,
    Count,
    Flag,
    Real,
    Record,
    Text,
    leaf,
    one_of,
    read_record,
    real,
    whole,
)
from vgg6.metric import Metric
from vgg6.run_record import LONGEST, Config
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import COMPLETED, METRICS, OPEN, PAUSED, RUNNING, STATES


def check_event(event: Any, history: History) -> dict[str, Any]:
    """An event of a file, its configuration typed. Anybody may have written the file.

    Raises:
        InputError: it cannot follow on those before, or breaks a rule; names the field.
    """
    if not isinstance(event, dict):
        raise InputError(TOP, event, "is not a mapping of names to values (event, time)")
    kind = event.get("event")
    if kind == "epoch":
        _check_epoch(event, history.metric)
    elif kind not in _SHORT or not _is_plain(event):
        if not isinstance(kind, str) or kind not in EVENTS:
            read_record(_Event, event)
            check_choice("event", kind, EVENTS)
        found = read_record(EVENTS[str(kind)], event)
        if isinstance(found, _TrialEvent):
            event = event | {"config": found.config}
    if kind == "session_end" and not history.sessions:
        raise InputError("event", kind, "comes before any session")
    if kind in ("session", "session_end", "learnt"):
        return event
    number = event["trial"]
    known = history.trials.get(number)
    if (known is None) != (kind == "trial"):
        rule = "has not begun" if known is None else "begins twice"
        raise InputError("trial", number, rule)
    if known and kind == "epoch" and event["epoch"] > known.config.epochs:
        check_integer("epoch", event["epoch"], Range(1, known.config.epochs))
    if known and kind == "pause" and (known.state not in OPEN or not known.rows):
        raise InputError("event", kind, f"is of a trial that is {known.state}, epoch {known.epoch}")
    if known and kind == "promotion" and known.state != PAUSED:
        raise InputError("event", kind, f"is of a trial that is {known.state}, not paused")
    if known and kind == "reopen" and known.state == RUNNING:
        raise InputError("event", kind, f"is of a trial that is {known.state}, and has not ended")
    if known and kind == "lengthen":
        check_integer("epochs", event["epochs"], Range(known.config.epochs, LONGEST))
    of = event.get("again_of") if kind == "trial" else None
    if of is not None and of not in history.trials:
        raise InputError("again_of", of, "has not begun")
    if known and event.get("state") == COMPLETED and not known.rows:
        raise InputError("state", COMPLETED, "is that of a trial without a finished epoch")
    return event


def _check_epoch(event: dict[str, Any], metric: Metric) -> None:
    """By hand and not by a record: a search has ten thousands of these."""
    if _is_plain_epoch(event, metric):
        return
    for key, allowed in _EPOCH_RANGES.items():
        if key not in event:
            if key in _LATER and key not in (metric.column, metric.best_key):
                continue
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


def _is_plain_epoch(event: dict[str, Any], metric: Metric) -> bool:
    """Whether an epoch breaks no rule at first sight. Else each of its values is looked at."""
    lacking = 0.0 if metric.is_accuracy else None
    balanced: Any = event.get("val_balanced_acc", lacking)
    score: Any = event.get("best_score", lacking)
    try:
        floats, counts = _floats_of(event), _counts_of(event)
    except KeyError:
        return False
    kinds = {*map(type, floats), type(balanced), type(score)}, {*map(type, counts)}
    if kinds != ({float}, {int}):
        return False
    time, seconds, train_loss, val_loss, lr, train_acc, val_acc, best_val_acc = floats
    trial, epoch, best_epoch = counts
    node = event.get("node", "")
    return (
        0 <= time <= 1e11 and 0 <= seconds <= 1e9
        and LOWEST <= train_loss <= HIGHEST and LOWEST <= val_loss <= HIGHEST
        and LOWEST <= lr <= HIGHEST and LOWEST <= score <= HIGHEST
        and 0 <= train_acc <= 1 and 0 <= val_acc <= 1
        and 0 <= best_val_acc <= 1 and 0 <= balanced <= 1
        and 0 <= trial <= 10**7 and 1 <= best_epoch <= epoch <= LONGEST
        and type(node) is str and "\0" not in node
    )  # fmt: skip


def _is_plain(event: dict[str, Any]) -> bool:
    """Whether a short event breaks no rule at first sight. Else its record tells, and says why."""
    time, trial, reason = event.get("time"), event.get("trial"), event.get("reason", "")
    return (
        type(time) is float and 0 <= time <= 1e11
        and type(trial) is int and 0 <= trial <= 10**7
        and (event["event"] != "end" or (event.get("state") in _ENDS and "reason" in event))
        and type(reason) is str and "\0" not in reason
    )  # fmt: skip


def _session_name(field: str, value: Any) -> None:
    if not (isinstance(value, str) and SESSION.fullmatch(value)):
        raise InputError(field, value, "is no name of a session, such as session_1")


# A session's name becomes that of a folder which is removed.
SESSION = re.compile(r"session_\d{1,9}")
_SHORT = ("pause", "promotion", "reopen", "end")  # of which a search has several a trial
_ENDS = tuple(state for state in STATES if state != PAUSED)
_EPOCH_RANGES = {
    "time": Range(0, 1e11),
    **{
        key: Range(0, 1) if key.endswith("_acc") else Range(0, 1e9) if key == "seconds" else FINITE
        for key in METRICS if key != "best_epoch"
    },
}  # fmt: skip
LOWEST, HIGHEST = FINITE.low, FINITE.high
_floats_of = itemgetter(
    "time", "seconds", "train_loss", "val_loss", "lr", "train_acc", "val_acc", "best_val_acc"
)
_counts_of = itemgetter("trial", "epoch", "best_epoch")
# What the first recorded searches lack, or those that go by accuracy.
_LATER = ("val_balanced_acc", "best_score")
_Number = Annotated[int, whole(0, 10**7)]
_Name = Annotated[str, leaf(_session_name)]


class _Event(Record):
    event: Text
    time: Annotated[float, real(0, 1e11)]


class _SessionEvent(_Event):
    session: _Name


class _SessionEndEvent(_SessionEvent):
    outcome: Text


class _TrialEvent(_Event):
    trial: _Number
    config: Config
    params: dict[str, Any]
    by_model: Flag = False
    again_of: _Number | None = None


class _OfTrial(_Event):
    trial: _Number


class _EnlargedEvent(_OfTrial):
    gpus: Annotated[float, real(1e-4, 1)]
    reason: Text


class _LengthenEvent(_OfTrial):
    epochs: Annotated[int, whole(1, LONGEST)]


class _LearntEvent(_Event):
    scores: Count
    rungs: list[Count]
    constants: list[Real]


class _EndEvent(_OfTrial):
    state: Annotated[str, one_of(*_ENDS)]
    reason: Text


EVENTS: dict[str, type[_Event]] = {
    "session": _SessionEvent,
    "session_end": _SessionEndEvent,
    "trial": _TrialEvent,
    "epoch": _Event,
    "pause": _OfTrial,
    "promotion": _OfTrial,
    "enlarged": _EnlargedEvent,
    "reopen": _OfTrial,
    "lengthen": _LengthenEvent,
    "learnt": _LearntEvent,
    "end": _EndEvent,
}
