"""Stand-ins for Slurm's ``srun`` and ``scontrol``: scripts that come first in PATH. A node is a
name, or the namespace of that name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.paths import ROOT

SCRIPT = str(ROOT / "cluster" / "slurm.sh")
# Runs the command on each node, hands SIGTERM on to it, and ends when it has ended everywhere.
SRUN = """\
echo "srun $*" >>{calls}
while [ "${{1#--}}" != "$1" ]; do
    [ "$1" = --nodelist ] && nodes=$2
    case $1 in --*=* | --no-kill) shift ;; *) shift 2 ;; esac
done
trap 'ending=1; kill -TERM "${{tasks[@]}}" 2>/dev/null' TERM
for node in ${{nodes//,/ }}; do
    SLURMD_NODENAME=$node {within} "$@" & tasks+=($!)
done
[ -z "$ending" ] || kill -TERM "${{tasks[@]}}"
for task in "${{tasks[@]}}"; do
    while kill -0 $task 2>/dev/null; do wait $task; done
done
"""
SCONTROL = """\
[ "$1" = show ] && exec tr , '\\n' <<<"$3"
echo "scontrol $*" >>{calls}
exit {requeued}
"""


@dataclass
class Slurm:
    """A Slurm that grants ``nodes``, with its stand-ins in ``folder``.

    ``requeued``: the exit status of ``scontrol requeue``.
    """

    folder: Path
    nodes: Sequence[str]
    namespaces: bool = False
    requeued: int = 0
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        self.calls = self.folder / "calls"
        self.calls.touch()
        within = "ip netns exec $node env" if self.namespaces else "env"
        self.program("srun", SRUN.format(calls=self.calls, within=within))
        self.program("scontrol", SCONTROL.format(calls=self.calls, requeued=self.requeued))

    def program(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(f"#!/usr/bin/env bash\n{text}")
        path.chmod(0o755)
        return path

    def sbatch(self, *arguments: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
        """The job, as Slurm starts it on the first of its nodes."""
        first = self.nodes[0]
        granted = {
            "PATH": f"{self.folder}:{self.environment['PATH']}", "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NODELIST": ",".join(self.nodes), "SLURMD_NODENAME": first,
            "SLURM_CPUS_ON_NODE": "1",
        }  # fmt: skip
        within = ("ip", "netns", "exec", first) if self.namespaces else ()
        return subprocess.Popen(
            [*within, "bash", SCRIPT, *arguments],
            cwd=cwd, env=self.environment | granted | variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def called(self, program: str) -> list[str]:
        lines = self.calls.read_text().splitlines()
        return [line for line in lines if line.startswith(f"{program} ")]
