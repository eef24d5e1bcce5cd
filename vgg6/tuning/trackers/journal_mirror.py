"""Mirrors a search into a tracker: one process for each tracker, which follows the journal.

Ray's own callbacks talk to a tracker within the search, so that one that hangs holds all trials up.
Here the search never waits for a tracker: a process reads what the journal says, and is ended when
it takes too long.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg6.common.files import write_atomic
from vgg6.common.locks import take_lock
from vgg6.common.say import say
from vgg6.metric import ACCURACY, Metric, metric_named
from vgg6.tuning.run.folder import RunFolder, staging
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import TrialRecord

FINISH_S = 10.0  # how long the end of a search waits for a tracker, all in all
LOCAL_S = 60.0  # and where it only writes files: nothing hangs, but the machine may be busy
END_S = 1.0  # of it, for a process that was asked to end
POLL_S = 0.2
LATE_S = 3600.0  # how long a session's mirror waits for an earlier one that is still behind


@dataclass(frozen=True)
class Followed:
    """The search that a mirror follows: its journal, the local folder for its trackers' files, its
    name, and what it goes by."""

    journal: Path
    folder: Path
    name: str
    metric: Metric = ACCURACY


class MirrorProcess:
    """Starts a tracker's process for one session, and ends it. A null object without ``words``.
    If the process fails, that is said at once.

    Args:
        module: of this project, whose ``main`` reads its arguments with ``arguments_of``.
        tracker: its name, for a person. log: what the process says goes there.
        words: the tracker's own arguments; None where nothing is to be followed.
        limit: seconds that the end of the search waits for it.
        variables: of its environment, for what others must not read from its command line.
    """

    def __init__(
        self, module: str, tracker: str, log: Path, search: Followed, words: list[str] | None,
        limit: float, variables: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.tracker, self.log, self.limit = tracker, log, limit
        self._ending, self._ended, self._failed = threading.Lock(), False, False
        self.process: subprocess.Popen[bytes] | None = None
        if words is not None:
            own = [
                str(search.journal), "--dir", str(search.folder), "--name", search.name,
                "--parent", str(os.getpid()), "--metric", search.metric.name,
            ]  # fmt: skip
            self.process = start_module(module, [*own, *words], self.log, variables)
            threading.Thread(target=self._tell, args=(self.process,), daemon=True).start()

    def _tell(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._ending:
            if code and not self._ended:
                self._failed = True
                say(self._failure(code))

    def _failure(self, code: int) -> str:
        return f"{self.tracker} failed (exit {code}); see {self.log}"

    def finish(self, *, at_once: bool = False) -> str:
        """Wait for the process to catch up, ``limit`` seconds at most. Returns what went wrong and
        was not said before, or an empty text.

        Args:
            at_once: it cannot catch up: the journal has no end.
        """
        if self.process is None:
            return ""
        with self._ending:
            self._ended = True
        try:
            code = self.process.wait(END_S if at_once else self.limit - END_S)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
            limit = 2 * END_S if at_once else self.limit
            late = f"did not finish within {limit:g} s and was left behind"
            return f"{self.tracker} {late}; see {self.log}"
        return self._failure(code) if code and not self._failed else ""


def start_module(
    name: str, words: list[str], log: Path, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a module of this project as a process of its own, which writes into ``log``.

    It is in a session of its own: Ctrl-C is for the search, which then ends the process. It finds
    this project first, whatever the current folder holds, and its log takes all letters.
    """
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with open(log, "ab") as lines:
        return subprocess.Popen(
            [sys.executable, "-m", name, *words], stdin=subprocess.DEVNULL, stdout=lines,
            stderr=lines, start_new_session=True,
            env={
                **os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1",
                "PYTHONIOENCODING": "utf-8", **(variables or {}),
            },
        )  # fmt: skip


def end_quickly() -> None:
    """Let this process end without a last look for garbage, which takes a second."""
    atexit.register(gc.freeze)


def local_folder(run: RunFolder) -> Path:
    """Where the files of a search's trackers lie: in its folder, or for a remote one on this
    machine."""
    return Path(run.path) if run.local else staging(run)


def run_id(name: str, created: float, number: int) -> str:
    """A tracker's id that a resumed search finds again: the same trial is the same run."""
    return hashlib.sha256(f"{name}/{created}/{number}".encode()).hexdigest()[:16]


class Tracker:
    """A tracker's runs of one session, driven by the journal's events.

    What the tracker keeps for good is noted in ``told``, a file of the folder: for each trial, how
    many of its epochs and ends. The next session's mirror begins with the others.
    """

    keeps_once = False  # whether the tracker keeps once what it is told twice

    def __init__(self, search: Followed, told: str) -> None:
        self.name, self._file = search.name, search.folder / told
        self.lock = search.folder / f".{told}.lock"
        self.history = History(metric=search.metric)
        self._seen: Counter[int] = Counter()
        self._told: dict[int, int] = {}

    def log(self, record: TrialRecord, epoch: int, row: dict[str, Any]) -> None:
        """Tell the tracker of an epoch. ``row``: the event."""
        raise NotImplementedError

    def end(self, record: TrialRecord) -> None:
        """Tell it how a trial ended."""
        raise NotImplementedError

    def leave(self, complete: bool) -> None:
        """Leave the trials that have not ended, as the session does. Calls ``keep`` for each.

        Args:
            complete: the search is, so that they will not go on.
        """
        raise NotImplementedError

    def begin(self, earlier: list[dict[str, Any]]) -> None:
        """Take in what earlier sessions wrote, and tell the tracker what their mirrors did not come
        to. Where nothing is noted, that is all of it for a tracker that keeps it once. For another
        it is nothing: these sessions had no mirror, or it had noted nothing yet."""
        noted = _told(self._file)
        self._told = noted or {}
        tell = noted is not None or self.keeps_once
        for event in earlier:
            self.take(event, live=tell)
        if not tell:
            self._told = dict(self._seen)
            self._note()

    def take(self, event: dict[str, Any], live: bool = True) -> None:
        """Follow one event; where it is not ``live`` it only fills the history."""
        repeated = self.history.repeated_rows
        self.history.add(event)
        if event["event"] not in ("epoch", "end") or self.history.repeated_rows > repeated:
            return
        number = event["trial"]
        self._seen[number] += 1
        if not live or self._seen[number] <= self._told.get(number, 0):
            return
        record = self.history.trials[number]
        if event["event"] == "epoch":
            self.log(record, event["epoch"], event)
        else:
            self.end(record)
            self.keep(number)

    def keep(self, number: int) -> None:
        """Note that the tracker has all of a trial that was seen."""
        self._told[number] = self._seen[number]
        self._note()

    def _note(self) -> None:
        write_atomic(self._file, json.dumps(self._told).encode(), sync=False)


def arguments_of(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Followed]:
    """Read a mirror's command line: the tracker's own flags, and the search that is followed."""
    end_quickly()
    parser.add_argument("journal", type=Path)
    parser.add_argument("--dir", required=True, type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--metric", default=ACCURACY.name)
    parser.add_argument("--parent", required=True, type=int)  # it may be gone before this begins
    args = parser.parse_args()
    return args, Followed(args.journal, args.dir, args.name, metric_named(args.metric))


def follow(journal: Path, tracker: Tracker, parent: int) -> None:
    """Mirror the journal's newest session until it ends or its driver, ``parent``, dies.

    The mirror of a session that was killed may still be behind: it ends first.
    """
    _lock = take_lock(tracker.lock, LATE_S)  # held while this process lives
    with open(journal, "rb") as lines:
        earlier = lines.read().rsplit(b'{"event": "session",', 1)[0]
        tracker.begin(_events(earlier.split(b"\n")))
        lines.seek(len(earlier))
        rest = b""
        while True:
            # Asked before the journal is read: so what it wrote at last is read, too.
            killed = os.getppid() != parent
            rest += lines.read()
            *whole, rest = rest.split(b"\n")
            for event in _events(whole):
                tracker.take(event)
                if event["event"] == "session_end":
                    tracker.leave(event["outcome"] == "complete")
                    return
            if killed:  # without a word: keep what was said so far
                tracker.leave(complete=False)
                return
            if not whole:
                time.sleep(POLL_S)


def _told(file: Path) -> dict[int, int] | None:
    """What is noted of each trial; None where nothing is."""
    try:
        return {int(trial): int(count) for trial, count in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _events(lines: list[bytes]) -> list[dict[str, Any]]:
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue  # a line torn by a crash, or the empty one after the last
    return events
