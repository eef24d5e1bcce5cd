"""One W&B run that sums a search up: its winner, its table and the report's figures.

A process of its own makes it when a search or a confirmation ends. The search waits for it as long
as for the mirror of its trials. What is still to be sent then, the process sends alone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.trackers.wandb_mirror import FINISH_S, start_module


def start_summary(
    run: RunFolder, mode: str, *, folder: Path, project: str, group: str, waited: float = 0.0
) -> str:
    """Sum a search up in W&B; nothing where ``mode`` is disabled.

    Waits 10 s at most, less the seconds that were ``waited`` for W&B before. Returns what went
    wrong or still goes on, or ``""``.
    """
    if mode == "disabled":
        return ""
    log = folder / "wandb.log"
    process = start_module(
        "analysis.report.send_wandb_summary",
        [run.uri, "--mode", mode, "--dir", str(folder), "--project", project, "--group", group],
        log,
    )
    try:
        code = process.wait(max(0.0, FINISH_S - waited))
    except subprocess.TimeoutExpired:
        does = "sent to W&B" if mode == "online" else "written for W&B, on this machine"
        return f"the summary is still being {does}; see {log}"
    return f"W&B's summary failed (exit {code}); see {log}" if code else ""
