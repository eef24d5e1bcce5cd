"""A driver with its tracker's mirror, real processes both, which are killed where a test wants."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from support.paths import ROOT

from vgg6.tuning.run.folder import JOURNAL, RunFolder

# One session of a driver: it writes a part of a journal, and is killed where the part ends without
# the session's end. ``begun``: whether the tracker has begun with the first of its epochs.
# ``mirror_too``: the mirror is killed with the driver, so many seconds after that.
DRIVER = """
import os, signal, sys, time
from pathlib import Path
from vgg6.tuning.trackers.journal_mirror import Followed
{imports}

folder, begin, rest, mirror_too = Path(sys.argv[1]), *sys.argv[2:5]
journal = folder / "journal.jsonl"
with journal.open("a") as file:
    file.write(begin)
search = Followed(journal, folder, "g")
mirror = {mirror}
while "epoch" in begin and not {begun}:
    time.sleep(0.01)
if mirror_too:
    time.sleep({wait})
    os.kill(mirror.process.pid, signal.SIGKILL)
with journal.open("a") as file:
    file.write(rest)
if "session_end" not in rest:
    print(mirror.process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(mirror.finish() or 0)
"""


# What stands in a journal as a session begins, and what it writes then.
Session = tuple[list[str], list[str]]


def two_sessions(made: RunFolder) -> tuple[Session, Session]:
    """The first trial of a search of four epochs: a session that is killed after its third, and
    one that goes on to its end."""
    session, *lines, end = made.read(JOURNAL).decode().splitlines(keepends=True)
    trial, *epochs, ended = [line for line in lines if json.loads(line)["trial"] == 0]
    again, end = (line.replace("session_1", "session_2") for line in (session, end))
    killed = [session, trial, epochs[0]], epochs[1:3]
    return killed, ([again, epochs[3]], [ended, end])


def drive(
    driver: str, folder: Path, begin: list[str], rest: list[str], mirror_too: bool = False
) -> int:
    """Run a session until nothing of it is left. Returns the driver's exit status."""
    words = ["".join(begin), "".join(rest), "yes" if mirror_too else ""]
    ended = subprocess.run(
        [sys.executable, "-c", driver, str(folder), *words], cwd=ROOT, timeout=120,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    mirror = Path("/proc", ended.stdout.strip() or "none", "cmdline")
    give_up = time.monotonic() + 60
    while mirror.exists() and mirror.read_bytes() and time.monotonic() < give_up:
        time.sleep(0.1)
    return ended.returncode
