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
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from vgg6.tuning.run.folder import RunFolder, staging
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import FAILED, METRICS, TrialRecord
from vgg6.tuning.settings import WANDB_MODES

FINISH_S = 10.0  # how long the end of a search waits for W&B, all in all
OFFLINE_S = 60.0  # and where it only writes files: nothing hangs, but the machine may be busy
END_S = 1.0  # of it, for a process that was asked to end
POLL_S = 0.2
INIT_TIMEOUT_S = 20


class WandbMirror:
    """Starts the mirror for one session and ends it. A null object when ``mode`` is disabled."""

    def __init__(self, mode: str, *, journal: Path, folder: Path, project: str, group: str) -> None:
        self.log, self.process = folder / "wandb.log", None
        self.limit = OFFLINE_S if mode == "offline" else FINISH_S
        if mode == "disabled":
            return
        command = [
            sys.executable, "-m", "vgg6.tuning.trackers.wandb_mirror", str(journal), "--mode", mode,
            "--dir", str(folder), "--project", project, "--group", group,
            "--parent", str(os.getpid()),
        ]  # fmt: skip
        root = str(Path(__file__).resolve().parents[3])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C is for the search, which then ends this process.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )  # fmt: skip

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
    """The W&B runs of one session, driven by journal events."""

    def __init__(self, mode: str, folder: Path, project: str, group: str) -> None:
        import wandb

        self.wandb, self.mode, self.folder = wandb, mode, folder
        self.project, self.group = project, group
        self.runs: dict[int, Any] = {}
        self.history = History()

    def take(self, event: dict[str, Any], live: bool) -> None:
        """Follow one event; those of earlier sessions (not ``live``) only fill the history."""
        repeated = self.history.repeated_rows
        self.history.add(event)
        if not live or "trial" not in event or self.history.repeated_rows > repeated:
            return
        number = event["trial"]
        record = self.history.trials[number]
        if event["event"] == "epoch":
            metrics = {k: event[k] for k in METRICS}
            self._run(record).log({"epoch": event["epoch"], **metrics}, step=event["epoch"])
        elif event["event"] == "end":
            run = self._run(record)
            run.summary["state"] = record.state
            if record.best_val_acc is not None:
                run.summary["best_val_acc"] = record.best_val_acc
            run.finish(exit_code=1 if record.state == FAILED else 0)
            self.runs.pop(number)

    def close(self) -> None:
        for number in list(self.runs):
            self.runs.pop(number).finish()

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
    """Mirror the journal's newest session until it ends or the search dies."""
    with open(journal, "rb") as lines:
        earlier = lines.read().rsplit(b'{"event": "session",', 1)[0]
        for event in _events(earlier.split(b"\n")):
            mirror.take(event, live=False)
        lines.seek(len(earlier))
        rest = b""
        while True:
            rest += lines.read()
            *whole, rest = rest.split(b"\n")
            for event in _events(whole):
                mirror.take(event, live=True)
                if event["event"] == "session_end":
                    mirror.close()
                    return
            if os.getppid() != parent:  # killed without a word: keep what was said so far
                mirror.close()
                return
            if not whole:
                time.sleep(POLL_S)


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
    parser.add_argument("--parent", required=True, type=int)  # it may be gone before this begins
    args = parser.parse_args()
    follow(args.journal, _Mirror(args.mode, args.dir, args.project, args.group), args.parent)


if __name__ == "__main__":
    main()
