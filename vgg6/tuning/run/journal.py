"""The journal of a search: one JSON line an event, and the state of every trial read from it.

It is the only memory that a search has. Whatever dies, ``resume`` rebuilds the searcher, the
scheduler and the table from these lines; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from vgg6.common.checks import InputError
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.events import check_event
from vgg6.tuning.run.folder import JOURNAL, Appender, RunFolder, store_left_over
from vgg6.tuning.run.history import History


class StorageLost(BaseException):
    """The run folder cannot be written: it is full, read-only or gone. The message names it.

    Not an Exception: Ray would take it for a fault of a trial or of the searcher.
    """


class Journal:
    """Writes events and keeps the history that they make, ranked by ``metric``."""

    def __init__(self, run: RunFolder, metric: Metric = ACCURACY) -> None:
        store_left_over(run, JOURNAL)
        self.history = read_history(run, metric)
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


def read_history(run: RunFolder, metric: Metric = ACCURACY) -> History:
    """Read a run's journal; an unfinished last line is counted, one in the middle is an error.

    ``metric``: what its trials are ranked by, which ``search.json`` says.

    A line that was torn by a crash and then followed by a later session's lines is such a last
    line too: every session starts with its own event.

    Raises:
        InputError: a line in the middle is damaged, or any line breaks a rule; names the file,
            the line and the key.
    """
    history = History(metric=metric)
    if not run.exists(JOURNAL):
        return history
    lines = run.read(JOURNAL).split(b"\n")
    file = run.file(JOURNAL)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = _parsed(line)
        except (ValueError, RecursionError) as error:
            following = next((x for x in lines[number:] if x.strip()), b'{"event": "session"')
            if not following.startswith(b'{"event": "session"'):
                where = f"{file} line {number}"
                raise InputError("run", where, f"is damaged: {error!r}") from None
            history.torn_lines += 1
            continue
        try:
            event = check_event(event, history)
        except InputError as error:
            field = f"{file} line {number}: {error.field}"
            raise InputError(field, error.value, error.rule) from None
        history.add(event)
    return history


def _parsed(line: bytes) -> Any:
    """A line's value, by a reader that is four times as fast as Python's.

    What that one refuses, Python's reads or explains.
    """
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line)
