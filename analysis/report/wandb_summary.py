"""One W&B run that sums a search up: its winner, its table and the report's figures.

A process of its own makes it when a search or a confirmation ends, while the winner is packed.
The search waits for it as long as for the mirror of its trials. What is still to be sent then, the
process sends alone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.trackers.journal_mirror import FINISH_S, start_module
from vgg6.tuning.trackers.wandb_mirror import LOG


class WandbSummary:
    """Starts the process that sums a search up, and waits for it.

    A null object where ``mode`` is disabled.
    """

    def __init__(
        self, run: RunFolder, mode: str, *, folder: Path, project: str, group: str
    ) -> None:
        self.mode = mode
        self.log = folder / LOG
        self.process: subprocess.Popen[bytes] | None = None
        if mode != "disabled":
            self.process = start_module(
                "analysis.report.send_wandb_summary",
                [run.uri, "--mode", mode, "--dir", str(folder), "--project", project,
                 "--group", group],
                self.log,
            )  # fmt: skip

    def finish(self, waited: float = 0.0) -> str:
        """Wait 10 s at most, less the seconds that were ``waited`` for W&B before.

        Returns what went wrong or still goes on, or ``""``.
        """
        if self.process is None:
            return ""
        try:
            code = self.process.wait(max(0.0, FINISH_S - waited))
        except subprocess.TimeoutExpired:
            does = "sent to W&B" if self.mode == "online" else "written for W&B, on this machine"
            return f"the summary is still being {does}; see {self.log}"
        return f"W&B's summary failed (exit {code}); see {self.log}" if code else ""
