"""What W&B has of a search whose driver or whose mirror was killed: every epoch, each once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.made_runs import made_run
from support.paths import ROOT
from support.wandb_files import read_runs

from vgg6.tuning.run.folder import JOURNAL
from vgg6.tuning.trackers.wandb_mirror import TOLD

# One session of a driver: it writes a part of a journal, and is killed where the part ends without
# the session's end. ``mirror``: killed with it, once W&B has the first of its epochs.
DRIVER = """
import os, signal, sys, time
from pathlib import Path
from vgg6.tuning.trackers.wandb_mirror import WandbMirror

folder, begin, rest, mirror_too = Path(sys.argv[1]), *sys.argv[2:5]
journal = folder / "journal.jsonl"
with journal.open("a") as file:
    file.write(begin)
mirror = WandbMirror("offline", journal=journal, folder=folder, project="p", group="g")
while not list(folder.glob("wandb/offline-run-*")) and "epoch" in begin:
    time.sleep(0.01)  # it has begun with W&B's run of the first epoch, which takes a second
if mirror_too:
    time.sleep(2)  # it has told W&B of that epoch, which writes it later
    os.kill(mirror.process.pid, signal.SIGKILL)
with journal.open("a") as file:
    file.write(rest)
if "session_end" not in rest:
    print(mirror.process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(mirror.finish() or 0)
"""


def drive(folder: Path, begin: list[str], rest: list[str], mirror_too: bool = False) -> int:
    """Run a session until nothing of it is left. Returns the driver's exit status."""
    words = ["".join(begin), "".join(rest), "yes" if mirror_too else ""]
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), *words], cwd=ROOT, timeout=120,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    mirror = Path("/proc", ended.stdout.strip() or "none", "cmdline")
    give_up = time.monotonic() + 60
    while mirror.exists() and mirror.read_bytes() and time.monotonic() < give_up:
        time.sleep(0.1)
    return ended.returncode


@pytest.mark.slow
@pytest.mark.parametrize("mirror_too", [False, True])
def test_each_epoch_reaches_wandb_though_the_driver_is_killed_just_after_it(
    tmp_path: Path, mirror_too: bool
) -> None:
    run = made_run(tmp_path, trials=2, epochs=4)
    lines = run.read(JOURNAL).decode().splitlines(keepends=True)
    first = [line for line in lines if json.loads(line).get("trial") == 0]
    session, end = lines[0], lines[-1]
    folder = tmp_path / "searched"
    folder.mkdir()
    trial, *epochs, ended = first
    killed = drive(folder, [session, trial, epochs[0]], epochs[1:3], mirror_too)
    assert killed == -signal.SIGKILL
    again = session.replace("session_1", "session_2")
    assert drive(folder, [again, epochs[3]], [ended, end.replace("session_1", "session_2")]) == 0
    found = read_runs(folder)
    assert len({one.id for one in found} - {""}) == 1, (
        "a trial is one W&B run, in whatever sessions"
    )
    logged = [row["epoch"] for one in found for row in one.history]
    assert sorted(logged) == [1, 2, 3, 4]
    assert found[-1].summary["state"] == "completed"
    assert json.loads((folder / TOLD).read_text()) == {"0": 5}, "four epochs and an end"
