"""Threads are measured once the processes that Ray starts no longer keep the CPUs busy."""

from __future__ import annotations

import subprocess
import sys

from vgg6.tuning.cluster.connect import wait_for_workers

BUSY = """
import sys, time
print("busy", flush=True)
while time.process_time() < 1.5:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def test_processes_that_are_busy_are_waited_for() -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout and child.stdout.readline() == "busy\n"
    wait_for_workers()
    for child in children:
        child.kill()
        assert child.communicate()[0] == "done\n"
