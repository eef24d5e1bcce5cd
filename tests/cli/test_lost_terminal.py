"""A process whose terminal goes away, as when an SSH session drops."""

from __future__ import annotations

import os
import pty
import signal
import sys
from pathlib import Path

import psutil
import pytest
from support.paths import ROOT

# A command that waits, and notes how it ended.
PROGRAM = """
import signal, sys, time
from pathlib import Path
from cli.streams import prepare_streams
from vgg6.common.interrupts import ends_as_ctrl_c
from vgg6.common.say import say

prepare_streams()
noted = Path(sys.argv[1])
try:
    with ends_as_ctrl_c():
        print("waits", flush=True)
        for _ in range(int(sys.argv[2])):
            time.sleep(0.1)
            say("a line")
    noted.write_text("went on")
except KeyboardInterrupt:
    say("incomplete")
    print("saved", flush=True)
    noted.write_text("ended as by Ctrl-C")
"""


def loses_its_terminal(noted: Path, tenths: int, ignored: bool) -> int:
    """The exit status of the program after its terminal has gone."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        # What nohup does; the tests themselves may run under it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(noted), str(tenths)])
    read = b""
    while b"waits" not in read:
        read += os.read(terminal, 1000)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_process_without_its_terminal_ends_as_by_ctrl_c(tmp_path: Path) -> None:
    assert loses_its_terminal(tmp_path / "noted", 600, ignored=False) == 0
    assert (tmp_path / "noted").read_text() == "ended as by Ctrl-C"


def test_under_nohup_it_goes_on_and_prints_into_nothing(tmp_path: Path) -> None:
    assert loses_its_terminal(tmp_path / "noted", 5, ignored=True) == 0
    assert (tmp_path / "noted").read_text() == "went on"


@pytest.mark.usefixtures("ray_here")
def test_the_ray_of_a_search_does_not_end_with_the_terminal_before_the_search_is_saved() -> None:
    of_ray = [p for p in psutil.Process().children() if p.name() in ("raylet", "gcs_server")]
    assert len(of_ray) == 2
    for process in of_ray:
        status = Path(f"/proc/{process.pid}/status").read_text()
        blocked = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
        assert int(blocked, 16) & 1 << (signal.SIGHUP - 1), process.name()
