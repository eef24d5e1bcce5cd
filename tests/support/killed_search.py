"""A search in a process of its own that kills itself where its test wants it to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.paths import ROOT

from vgg6.tuning.run.folder import RunFolder


def killed_search(program: str, arguments: Sequence[str], folder: Path, name: str) -> RunFolder:
    """Run a Python program with the arguments of ``search`` until it is killed by SIGKILL.

    Returns:
        What it left below ``folder``, as the run of that name.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    stopped = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, env=environment, timeout=180
    )
    assert stopped.returncode == -signal.SIGKILL
    return RunFolder(str(folder / "runs" / name))
