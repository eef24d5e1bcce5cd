"""A program in the place of ``nvidia-cuda-mps-control``, where there is no GPU: it notes how it is
called, and leaves a process behind as the real one does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

TOOL = "nvidia-cuda-mps-control"
PID = f"{TOOL}.pid"
# Its daemon holds standard output open, as a daemon may.
SCRIPT = """#!/bin/sh
if [ "$1" = -d ]; then asked=-d; else read -r asked; fi
at="$CUDA_MPS_PIPE_DIRECTORY"
echo "$asked|$at|$CUDA_MPS_LOG_DIRECTORY|${CUDA_VISIBLE_DEVICES-none}" >> CALLS
case "$asked" in
-d) DAEMON ;;
get_server_list) echo "SERVERS" ;;
quit) kill "$(cat "$at/PID")" && rm "$at/PID" ;;
esac
"""
DAEMON = """
    touch "$at/control"
    setsid sh -c 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 600' "$at/PID" &
"""


@dataclass(frozen=True)
class Call:
    """What it was asked, and the variables that it had."""

    asked: str
    pipe: str
    log: str
    visible: str


class FakeService:
    """The program, in a folder that is to be on PATH.

    Args:
        daemon: what ``-d`` does, in a shell.
        servers: what it answers to ``get_server_list``.
    """

    def __init__(self, folder: Path, daemon: str = DAEMON, servers: str = "4242") -> None:
        self.folder, self._calls = folder / "bin", folder / "calls"
        self.folder.mkdir()
        script = SCRIPT.replace("DAEMON", daemon).replace("SERVERS", servers)
        script = script.replace("PID", PID).replace("CALLS", str(self._calls))
        (self.folder / TOOL).write_text(script)
        (self.folder / TOOL).chmod(0o755)

    @property
    def path(self) -> str:
        """A value of PATH that finds it."""
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    @property
    def calls(self) -> list[Call]:
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [Call(*line.split("|")) for line in lines]

    def daemon(self) -> psutil.Process:
        """The process that it has left behind."""
        return psutil.Process(int((Path(self.calls[0].pipe) / PID).read_text()))
