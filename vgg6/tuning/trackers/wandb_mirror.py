"""Mirrors a search into Weights & Biases: one process that follows the journal.

Ray's own callback starts two actors a trial. Here the search never waits for W&B: this process
reads what the journal says, and is ended when it takes too long.

    python -m vgg6.tuning.trackers.wandb_mirror JOURNAL --mode offline --dir DIR --project P
        --group NAME
"""

from __future__ import annotations

import argparse
import hashlib
import json
import netrc
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from vgg6.common.files import write_atomic
from vgg6.metric import ACCURACY, Metric, metric_named
from vgg6.tuning.run.folder import RunFolder, staging
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import FAILED, METRICS, TrialRecord
from vgg6.tuning.settings import WANDB_MODES

FINISH_S = 10.0  # how long the end of a search waits for W&B, all in all
OFFLINE_S = 60.0  # and where it only writes files: nothing hangs, but the machine may be busy
END_S = 1.0  # of it, for a process that was asked to end
POLL_S = 0.2
INIT_TIMEOUT_S = 20
TOLD = "wandb.told.json"


class WandbMirror:
    """Starts the mirror for one session and ends it. A null object when ``mode`` is disabled."""

    def __init__(
        self,
        mode: str,
        *,
        journal: Path,
        folder: Path,
        project: str,
        group: str,
        metric: Metric = ACCURACY,
    ) -> None:
        self.log = folder / "wandb.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.limit = OFFLINE_S if mode == "offline" else FINISH_S
        if mode == "disabled":
            return
        words = [
            str(journal), "--mode", mode, "--dir", str(folder), "--project", project,
            "--group", group, "--parent", str(os.getpid()), "--metric", metric.name,
        ]  # fmt: skip
        self.process = start_module("vgg6.tuning.trackers.wandb_mirror", words, self.log)

    def finish(self) -> str:
        """Wait for the mirror to catch up, ``limit`` seconds at most. Returns what went wrong, or
        an empty text."""
        if self.process is None:
            return ""
        try:
            code = self.process.wait(self.limit - END_S)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
            return f"W&B did not finish within {self.limit:g} s and was left behind; see {self.log}"
        return f"W&B failed (exit {code}); see {self.log}" if code else ""


def start_module(name: str, words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a module of this project as a process of its own, which writes into ``log``.

    It is in a session of its own: Ctrl-C is for the search, which then ends the process.
    """
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with open(log, "ab") as lines:
        return subprocess.Popen(
            [sys.executable, "-m", name, *words], stdin=subprocess.DEVNULL, stdout=lines,
            stderr=lines, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip


def local_folder(run: RunFolder) -> Path:
    """Where a search's W&B files lie: in its folder, or for a remote one on this machine."""
    return Path(run.path) if run.local else staging(run)


def default_mode() -> str:
    """``$WANDB_MODE`` where it is set; else ``online`` with a key in the environment or in .netrc,
    and ``offline`` without."""
    if os.environ.get("WANDB_MODE") in WANDB_MODES:
        return os.environ["WANDB_MODE"]
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    try:
        return "online" if netrc.netrc().authenticators(host) else "offline"
    except (OSError, netrc.NetrcParseError):
        return "offline"


def run_id(group: str, created: float, number: int) -> str:
    """A W&B run id that a resumed search finds again: the same trial is the same run."""
    return hashlib.sha256(f"{group}/{created}/{number}".encode()).hexdigest()[:16]


class _Mirror:
    """The W&B runs of one session, driven by journal events.

    W&B writes much of a run only when it is finished, so what it was told is noted then: for each
    trial, how many of its epochs and ends. The next session's mirror begins with the others.
    """

    def __init__(
        self, mode: str, folder: Path, project: str, group: str, metric: Metric = ACCURACY
    ) -> None:
        import wandb

        self.wandb, self.mode, self.folder = wandb, mode, folder
        self.project, self.group = project, group
        self.runs: dict[int, Any] = {}
        self.history = History(metric=metric)
        self.seen: Counter[int] = Counter()
        self.told: dict[int, int] | None = _told(folder / TOLD)

    def begin(self, earlier: list[dict[str, Any]]) -> None:
        """Take in what earlier sessions wrote, and tell W&B what their mirrors did not come to.
        Sessions of which nothing is noted had no mirror, or noted nothing yet."""
        noted = self.told is not None
        for event in earlier:
            self.take(event, live=noted)
        if self.told is None:
            self.told = dict(self.seen)
            self._note()

    def take(self, event: dict[str, Any], live: bool = True) -> None:
        """Follow one event; where it is not ``live`` it only fills the history."""
        repeated = self.history.repeated_rows
        self.history.add(event)
        if event["event"] not in ("epoch", "end") or self.history.repeated_rows > repeated:
            return
        number = event["trial"]
        self.seen[number] += 1
        if not live or self.seen[number] <= (self.told or {}).get(number, 0):
            return
        record = self.history.trials[number]
        if event["event"] == "epoch":
            metrics = self.history.metric.named(event, METRICS)
            self._run(record).log({"epoch": event["epoch"], **metrics}, step=event["epoch"])
        else:
            run = self._run(record)
            run.summary["state"] = record.state
            if record.score is not None:
                run.summary["best_val_acc"] = record.best_val_acc
                run.summary[record.metric.best_column] = record.score
            self._finish(number, exit_code=1 if record.state == FAILED else 0)

    def close(self) -> None:
        for number in list(self.runs):
            self._finish(number)

    def _finish(self, number: int, exit_code: int | None = None) -> None:
        self.runs.pop(number).finish(exit_code=exit_code)
        assert self.told is not None
        self.told[number] = self.seen[number]
        self._note()

    def _note(self) -> None:
        write_atomic(self.folder / TOLD, json.dumps(self.told).encode(), sync=False)

    def _run(self, record: TrialRecord) -> Any:
        if record.number not in self.runs:
            run = self.runs[record.number] = self._start(record, self.mode)
            if record.lengthened:
                run.config.update({"epochs": record.config.epochs}, allow_val_change=True)
        return self.runs[record.number]

    def _start(self, record: TrialRecord, mode: str) -> Any:
        wandb = self.wandb
        created = self.history.trials[0].created
        try:
            return wandb.init(
                project=self.project,
                group=self.group,
                name=record.config.label,
                id=run_id(self.group, created, record.number),
                config={**record.config.to_dict(), "trial": record.number},
                dir=str(self.folder),
                mode=mode,
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(
                    console="off", silent=True, init_timeout=INIT_TIMEOUT_S, x_disable_stats=True
                ),
            )
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            print(f"W&B is out of reach, going on offline: {error}", file=sys.stderr, flush=True)
            self.mode = "offline"
            return self._start(record, "offline")


def follow(journal: Path, mirror: _Mirror, parent: int) -> None:
    """Mirror the journal's newest session until it ends or its driver, ``parent``, dies."""
    with open(journal, "rb") as lines:
        earlier = lines.read().rsplit(b'{"event": "session",', 1)[0]
        mirror.begin(_events(earlier.split(b"\n")))
        lines.seek(len(earlier))
        rest = b""
        while True:
            # Asked before the journal is read: so what it wrote at last is read, too.
            killed = os.getppid() != parent
            rest += lines.read()
            *whole, rest = rest.split(b"\n")
            for event in _events(whole):
                mirror.take(event)
                if event["event"] == "session_end":
                    mirror.close()
                    return
            if killed:  # without a word: keep what was said so far
                mirror.close()
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


def main() -> None:
    parser = argparse.ArgumentParser(description="mirror a search's journal into W&B")
    parser.add_argument("journal", type=Path)
    for flag in ("--mode", "--project", "--group"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--dir", required=True, type=Path)
    parser.add_argument("--metric", default=ACCURACY.name)
    parser.add_argument("--parent", required=True, type=int)  # it may be gone before this begins
    args = parser.parse_args()
    metric = metric_named(args.metric)
    mirror = _Mirror(args.mode, args.dir, args.project, args.group, metric)
    follow(args.journal, mirror, args.parent)


if __name__ == "__main__":
    main()
