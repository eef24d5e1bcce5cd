"""Locks on storage that has none, and on a file that somebody else holds."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from errno import ENOLCK, ENOSYS
from pathlib import Path

import pytest
from filelock import FileLock
from support.paths import ROOT

from vgg6.common import locks
from vgg6.common.locks import one_at_a_time

LIBRARY = """
#include <errno.h>
int flock(int file, int operation) { errno = ERROR; return -1; }
"""
PROGRAM = """
import sys
from pathlib import Path
from vgg6.data import load_source
from vgg6.data.reading import Reading
from vgg6.tuning.run.driver_lock import announced, is_running, is_starting, only_driver
from vgg6.tuning.run.folder import RunFolder
import numpy as np

run = RunFolder(sys.argv[1] + "/run")
with announced(run):
    assert not is_starting(run)
    run.write_json("search.json", {})
    with only_driver(run):
        assert not is_running(run)
pictures = Path(sys.argv[1]) / "pictures.npz"
shades = np.arange(60, dtype=np.uint8).repeat(32 * 32 * 3).reshape(60, 32, 32, 3)
np.savez(pictures, images=shades, labels=np.arange(60) % 3)
for _ in range(2):
    source = load_source(str(pictures), Reading())
    assert len(source.train.labels) + len(source.test.labels) == 60
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("error", [ENOLCK, ENOSYS])
def test_a_search_goes_on_where_storage_has_no_locks_and_says_so(
    tmp_path: Path, error: int
) -> None:
    (tmp_path / "no_locks.c").write_text(LIBRARY.replace("ERROR", str(error)))
    library, program = tmp_path / "no_locks.so", tmp_path / "program.py"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "no_locks.c")], check=True
    )
    program.write_text(PROGRAM)
    # What a lock that is a mere file leaves behind when its process is killed.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("1\nanother host\n")
    environment = {"LD_PRELOAD": str(library), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ended = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "is on storage without locks" in ended.stderr


def test_whoever_waits_for_a_lock_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SAY_AFTER_S", 0.1)
    file = tmp_path / "lock"
    held = FileLock(file, thread_local=False)
    held.acquire()
    threading.Timer(1.0, held.release).start()
    with one_at_a_time(file, "it decodes these images"):
        assert not held.is_locked
    assert capsys.readouterr().err.startswith(
        f"waiting for another process: it decodes these images ({file} is locked)"
    )


# What a network storage does that is mounted with locks of one machine alone.
OF_ONE_MACHINE = "int flock(int file, int operation) { return 0; }\n"
DRIVES = """
import sys, time
from pathlib import Path
from vgg6.common.checks import InputError
from vgg6.tuning.run import driver_beat
from vgg6.tuning.run.driver_lock import only_driver
from vgg6.tuning.run.folder import RunFolder

driver_beat.BEAT_S, driver_beat.WATCH_S = 0.2, 1.0
try:
    with only_driver(RunFolder(sys.argv[1])):
        print("drives", flush=True)
        sys.stdin.read()
except InputError as error:
    print(f"refused: {error}")
"""
OTHER_MACHINE = "hostname other && mount --bind $BOOT /proc/sys/kernel/random/boot_id && exec "


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs namespaces")
def test_a_driver_on_another_machine_is_seen_where_locks_are_of_one_machine(tmp_path: Path) -> None:
    (tmp_path / "locks.c").write_text(OF_ONE_MACHINE)
    library, program = tmp_path / "locks.so", tmp_path / "program.py"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "locks.c")], check=True
    )
    program.write_text(DRIVES)
    (boot := tmp_path / "boot").write_text("another\n")
    (run := tmp_path / "run").mkdir()
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    drives = [sys.executable, str(program), str(run)]
    there = ["unshare", "-m", "--uts", "sh", "-c", OTHER_MACHINE + shlex.join(drives)]
    other = subprocess.Popen(
        there, env=environment | {"BOOT": str(boot)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

    def drive() -> tuple[str, str]:
        here = subprocess.run(drives, env=environment, capture_output=True, text=True, input="")
        return here.stdout, here.stderr

    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "drives\n", other.communicate()
        out, said = drive()
        assert out.startswith("refused: ") and "is being run by another process on other" in out
        assert "was run on other and did not end there" in said
        other.kill()
        other.wait()
        assert drive()[0] == "drives\n", (
            "a sign that stands still is one of a driver that was killed"
        )
        assert drive() == ("drives\n", ""), "a driver that has ended leaves none"
    finally:
        other.kill()
        other.communicate()
