"""The shared trainable: fit() as a Ray Tune trial, reporting and checkpointing every epoch."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyarrow import fs as pafs
from ray import tune

from vgg6.checkpoint import DamagedCheckpoint, load_state, read_facts, save_state
from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.runtime import Runtime
from vgg6.training import NonFiniteLoss, TrainState, fit
from vgg6.tuning.run_folder import RunFolder, trial_folder

# Key of the report of a run whose loss diverged; its value is the reason.
INFEASIBLE = "infeasible"


def train_trial(
    assignment: dict[str, Any],
    *,
    data: TrialData,
    device: str,
    precision: str,
    threads: int,
    gpu_fraction: float,
    run_uri: str,
    sessions: list[str],
) -> None:
    """Train one assignment of the searcher: a trial's ``number`` and its ``config``.

    ``data`` arrives through Ray's object store: one copy a node, mapped by all of its trials.
    A diverged run ends with a report that says so, not with an exception: Ray would retry it.
    """
    runtime = Runtime(device=device, precision=precision, threads=threads)
    if device == "cuda":
        _prepare_gpu(gpu_fraction)
    state, missed = resume_or_start(assignment, runtime, RunFolder(run_uri), sessions)
    worker = {"node": socket.gethostname(), "pid": os.getpid()}
    if missed:
        # The process that saved this epoch may have died before its report was journaled. One that
        # was journaled is not written again.
        tune.report({**missed, **worker})
    try:
        for metrics in fit(state, data):
            with tempfile.TemporaryDirectory() as folder:
                save_state(state, Path(folder), metrics.to_dict())
                tune.report(
                    {**metrics.to_dict(), **worker},
                    checkpoint=tune.Checkpoint.from_directory(folder),
                )
    except NonFiniteLoss as error:
        best = state.best.val_acc
        tune.report({"epoch": error.epoch, "best_val_acc": best, INFEASIBLE: str(error)})


def resume_or_start(
    assignment: dict[str, Any], runtime: Runtime, run: RunFolder, sessions: list[str]
) -> tuple[TrainState, dict[str, Any]]:
    """The newest whole checkpoint of this trial, from whatever session; else a fresh start.

    Beside the state the metrics of its last epoch, empty for a fresh start.

    Not Ray's ``get_checkpoint``: that one knows only this session, and only the newest file.

    A damaged checkpoint is named on standard error and the one before it is used.
    """
    config = TrialConfig.from_mapping(assignment["config"])
    for path in newest_first(run, sessions, assignment["number"]):
        try:
            with tune.Checkpoint(path, run.fs).as_directory() as folder:
                state = load_state(Path(folder), runtime)
                metrics = read_facts(Path(folder))["metrics"]
        except (DamagedCheckpoint, OSError) as error:
            print(f"checkpoint {path} is damaged ({error}); using the one before", file=sys.stderr)
            continue
        if state.config == config:
            return state, metrics
    return TrainState(config, runtime), {}


def newest_first(run: RunFolder, sessions: list[str], number: int) -> list[str]:
    """Paths of all checkpoints of a trial, from the last session's last to the first's first."""
    found: list[str] = []
    for session in reversed(sessions):
        folder = run.file(f"{session}/{trial_folder(number)}")
        entries = run.fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        found += sorted((i.path for i in entries if "/checkpoint_" in i.path), reverse=True)
    return found


def _prepare_gpu(fraction: float) -> None:
    """Keep this trial to its share of the memory, and drop what the last one on this actor left."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, fraction))
