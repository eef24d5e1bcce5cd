"""Records full learning curves of two search spaces with the project's own trainer, to replay.

    python -m benchmarks.replay.record --minutes 60                    # goes on where it was left
    python -m benchmarks.replay.record --minutes 60 --width quarter    # an eighth of the time a run

Each run is a trial of a search of ``--epochs 15 --limit-train 16000`` on CIFAR-10: 240,000 images,
one report after each epoch. Rows go into ``study_grid.parquet`` and ``default.parquet`` in the
folder ``full`` or ``quarter`` beside this file, one for each (run, epoch). The file is written
whole after every run. ``--width quarter`` trains VGG6 with a quarter of its channels and hidden
units, for machines on which the full network's runs take days. ``ended`` says how a run ended:

- ``completed``: all its epochs were trained.
- ``diverged``: the loss was not finite in the epoch after its last row.
- ``dead``: after two epochs in a row the network answered every image of a probe of 512 with
  exactly the same numbers, in fp32. No unit that reaches the output depends on the image any more,
  and no gradient can bring one back. What is left of such a curve is its last row.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

import pandas as pd
import torch

from benchmarks.machine import describe
from benchmarks.replay.curve_files import FOLDER, read_curves, write_curves
from benchmarks.replay.plan import LIMIT_TRAIN, SEEDS, SHARES, Job, jobs, widths
from vgg6.common.seeds import derive_seed
from vgg6.config import TrialConfig
from vgg6.data import TrialData, load_source, split
from vgg6.hardware.runtime import Runtime, resident
from vgg6.model import VGG6
from vgg6.network import Network
from vgg6.training import NonFiniteLoss, TrainState, fit

SPACES = ("study_grid", "default")
PROBE, DEAD_AFTER = 512, 2
LEARNS = 0.25  # a validation accuracy; chance is 0.1
_data: TrialData


def begin(threads: int) -> None:
    """A worker's data, read once."""
    global _data
    _data = split(load_source("cifar10"), limit_train=LIMIT_TRAIN)
    torch.set_num_threads(threads)


def record(job: Job, width: str, threads: int) -> list[dict[str, Any]]:
    """Train one run; its rows."""
    runtime = Runtime.resolve("cpu", "bf16", threads)
    state = TrainState(job.config, runtime, fresh(job.config, width, runtime))
    rows: list[dict[str, Any]] = []
    ended, constant = "completed", 0
    try:
        for metrics in fit(state, _data):
            row = metrics.to_dict()
            rows.append(row)
            constant = constant + 1 if answers_alike(state) else 0
            if constant == DEAD_AFTER:
                ended = "dead"
                break
    except NonFiniteLoss:
        ended = "diverged"
    facts = {
        "space": job.space, "point": job.index, "seed": job.config.seed,
        "config": json.dumps(job.config.to_dict()), "ended": ended, "data": _data.fingerprint,
    }  # fmt: skip
    # A run that diverged in its first epoch has one row, of epoch 0, to be known by.
    return [facts | row for row in rows or [{"epoch": 0}]]


def fresh(config: TrialConfig, width: str, runtime: Runtime) -> Network:
    """An untrained network of this width, initialised as a trial's own is."""
    torch.manual_seed(derive_seed(config.seed, 0, "weights"))
    weights = VGG6(config, widths=widths(width)).state_dict()
    return Network(config, weights, _data.mean, _data.std, runtime)


def worth(job: Job, recorded: pd.DataFrame) -> bool:
    """Other seeds are for the noise floor of points that learn: one at chance has none."""
    first = recorded[(recorded["point"] == job.index) & (recorded["seed"] == SEEDS[0])]
    return job.config.seed == SEEDS[0] or first["best_val_acc"].max() > LEARNS


@torch.inference_mode()
def answers_alike(state: TrainState) -> bool:
    """Whether the network gives every image of the probe the same logits, bit for bit."""
    parts = resident(_data, state.runtime.device)
    state.model.eval()
    logits = state.model(parts.normalize(parts.val_images[:PROBE]))
    return bool((logits == logits[0]).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="no run is begun after these")
    parser.add_argument("--workers", type=int, default=2, help="runs at once, of one thread each")
    parser.add_argument("--width", choices=SHARES, default="full", help="of the network")
    parser.add_argument("--space", choices=SPACES, nargs="+", default=SPACES, help="of these only")
    arguments = parser.parse_args()
    width = arguments.width
    machine = describe(minutes=arguments.minutes, workers=arguments.workers, width=width)
    recorded = {name: read_curves(name, width) for name in SPACES}
    known = {key for table in recorded.values() for key in table["config"]}
    planned = [job for job in jobs() if job.space in arguments.space]
    queue = [job for job in planned if json.dumps(job.config.to_dict()) not in known]
    print(f"{len(known)} runs recorded, {len(queue)} left; files in {FOLDER / width}", flush=True)
    by = f"{machine['cpu']}, {'+'.join(machine['instructions'])}, torch {machine['torch']}"
    until = time.monotonic() + 60 * arguments.minutes
    with ProcessPoolExecutor(
        arguments.workers, multiprocessing.get_context("spawn"), begin, (1,)
    ) as pool:
        running: dict[Future[list[dict[str, Any]]], Job] = {}
        while True:
            while len(running) < arguments.workers and time.monotonic() < until:
                job = next((job for job in queue if worth(job, recorded["default"])), None)
                if job is None:
                    break
                queue.remove(job)
                running[pool.submit(record, job, width, 1)] = job
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                rows = pd.DataFrame(future.result()).assign(machine=by)
                recorded[job.space] = pd.concat([recorded[job.space], rows], ignore_index=True)
                write_curves(job.space, width, recorded[job.space])
                last = rows.iloc[-1]
                print(
                    f"{job.space:10} {job.index:3} seed {job.config.seed} {job.config.label:34}"
                    f" {last['ended']:9} epoch {last['epoch']:2} best"
                    f" {last.get('best_val_acc', float('nan')):.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
