"""A search in Weights & Biases: one W&B run a trial, in a group named as the search.

python -m vgg6.tuning.trackers.wandb_mirror JOURNAL --mode offline --project P
    --dir DIR --name NAME --parent PID
"""

from __future__ import annotations

import argparse
import netrc
import os
import sys
from typing import Any
from urllib.parse import urlparse

from vgg6.tuning.run.trials import FAILED, METRICS, TrialRecord
from vgg6.tuning.settings import WANDB_MODES
from vgg6.tuning.trackers.journal_mirror import (
    FINISH_S,
    LOCAL_S,
    Followed,
    MirrorProcess,
    Tracker,
    arguments_of,
    follow,
    run_id,
)

INIT_TIMEOUT_S = 20
TOLD = "wandb.told.json"
LOG = "wandb.log"


class WandbMirror(MirrorProcess):
    """The process that mirrors one session. ``mode``: of W&B; ``disabled`` starts none."""

    def __init__(self, mode: str, search: Followed, project: str) -> None:
        words = None if mode == "disabled" else ["--mode", mode, "--project", project]
        limit = LOCAL_S if mode == "offline" else FINISH_S
        super().__init__(__name__, "W&B", search.folder / LOG, search, words, limit)


def default_mode() -> str:
    """``$WANDB_MODE`` where it is set; else ``online`` with a key in the environment or in .netrc,
    and ``offline`` without."""
    if os.environ.get("WANDB_MODE") in WANDB_MODES:
        return os.environ["WANDB_MODE"]
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    try:
        return "online" if netrc.netrc().authenticators(host) else "offline"
    except (OSError, netrc.NetrcParseError):
        return "offline"


class _Wandb(Tracker):
    """W&B writes much of a run only when it is finished, so that is when it is noted."""

    def __init__(self, search: Followed, mode: str, project: str) -> None:
        import wandb

        super().__init__(search, TOLD)
        self.wandb, self.mode, self.project = wandb, mode, project
        self.folder = str(search.folder)
        self.runs: dict[int, Any] = {}

    def log(self, record: TrialRecord, epoch: int, row: dict[str, Any]) -> None:
        metrics = record.metric.named(row, METRICS)
        self._run(record).log({"epoch": epoch, **metrics}, step=epoch)

    def end(self, record: TrialRecord) -> None:
        run = self._run(record)
        run.summary["state"] = record.state
        if record.score is not None:
            run.summary["best_val_acc"] = record.best_val_acc
            run.summary[record.metric.best_column] = record.score
        self.runs.pop(record.number).finish(exit_code=1 if record.state == FAILED else 0)

    def leave(self, complete: bool) -> None:
        for number in list(self.runs):
            self.runs.pop(number).finish()
            self.keep(number)

    def _run(self, record: TrialRecord) -> Any:
        if record.number not in self.runs:
            run = self.runs[record.number] = self._start(record, self.mode)
            if record.lengthened:
                run.config.update({"epochs": record.config.epochs}, allow_val_change=True)
        return self.runs[record.number]

    def _start(self, record: TrialRecord, mode: str) -> Any:
        wandb = self.wandb
        try:
            return wandb.init(
                project=self.project,
                group=self.name,
                name=record.config.label,
                id=run_id(self.name, self.history.trials[0].created, record.number),
                config={**record.config.to_dict(), "trial": record.number},
                dir=self.folder,
                mode=mode,
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(
                    console="off", silent=True, init_timeout=INIT_TIMEOUT_S, x_disable_stats=True
                ),
            )
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            print(f"W&B is out of reach, going on offline: {error}", file=sys.stderr, flush=True)
            self.mode = "offline"
            return self._start(record, "offline")


def main() -> None:
    parser = argparse.ArgumentParser(description="mirror a search's journal into W&B")
    for flag in ("--mode", "--project"):
        parser.add_argument(flag, required=True)
    args, search = arguments_of(parser)
    follow(search.journal, _Wandb(search, args.mode, args.project), args.parent)


if __name__ == "__main__":
    main()
