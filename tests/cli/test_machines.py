"""Machines unlike its makers': no home, a user of a random number, long paths."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from support.paths import ROOT

READ_ALL = "+dac_read_search"
STRANGER = ["setpriv", "--reuid=54321", f"--inh-caps={READ_ALL}", f"--ambient-caps={READ_ALL}"]


def as_a_stranger(*words: str, **home: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user whom the system does not know, and who may read this checkout and its
    Python wherever they lie."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOME", "XDG"))}
    return subprocess.run(
        [*STRANGER, sys.executable, "-B", str(ROOT / "tune_vgg6.py"), *words], cwd="/tmp",
        env=environment | home, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root and `setpriv`"
)
@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/no/such/folder"}])
def test_a_user_without_a_home_is_told_so_before_anything_starts(home: dict[str, str]) -> None:
    ended = as_a_stranger("search", "--data", "digits", "--dry-run", **home)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    assert ended.stderr.startswith("error: HOME: ")
    told = as_a_stranger("doctor", "--storage", "/tmp", **home)
    assert "Traceback" not in told.stderr and "fail folders   HOME: " in told.stdout
