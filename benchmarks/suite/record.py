"""Records full learning curves of our own problems with the project's own trainer.

    python -m benchmarks.suite.record --minutes 60          # goes on where it was left

Rows go into ``curves/PROBLEM.parquet`` beside this file, one for each (run, epoch). A file is
written whole after every run. A run whose loss is not finite ends there, as ``diverged``.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import pandas as pd
import torch

from benchmarks.machine import describe, write_file
from benchmarks.suite.problems import (
    BEST_POINTS,
    PROBLEMS,
    SEEDS,
    Job,
    Problem,
    images_of,
    jobs,
)
from vgg6.common.seeds import derive_seed
from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.model import VGG6
from vgg6.network import Network
from vgg6.training import NonFiniteLoss, TrainState, fit

FOLDER = Path(__file__).parent / "curves"
KEPT = ("epoch", "val_acc", "val_loss", "train_acc", "train_loss")


def record(problem: Problem, job: Job, data: TrialData, runtime: Runtime) -> pd.DataFrame:
    """Train one run; a row an epoch. One that diverged at once has a row of epoch 0."""
    torch.manual_seed(derive_seed(job.config.seed, 0, "weights"))
    weights = VGG6(job.config, widths=problem.widths).state_dict()
    network = Network(job.config, weights, data.mean, data.std, runtime)
    state = TrainState(job.config, runtime, network)
    rows, ended = [], "completed"
    try:
        for metrics in fit(state, data):
            found = metrics.to_dict()
            rows.append({key: found[key] for key in KEPT})
    except NonFiniteLoss:
        ended = "diverged"
    facts = {"point": job.index, "config": json.dumps(job.config.to_dict()), "ended": ended}
    return pd.DataFrame([facts | row for row in rows or [{"epoch": 0}]])


def curves_of(problem: Problem) -> pd.DataFrame:
    """What is recorded of a problem; empty where nothing is.

    Fields that configurations have got since have their defaults.
    """
    path = FOLDER / f"{problem.name}.parquet"
    if not path.exists():
        return pd.DataFrame(columns=["config", "point"])
    table = pd.read_parquet(path)
    whole = {
        text: json.dumps(TrialConfig.from_mapping(json.loads(text)).to_dict())
        for text in table["config"].unique()
    }
    return table.assign(config=table["config"].map(whole))


def best_points(problem: Problem, table: pd.DataFrame) -> list[int]:
    """The points that scored highest with the first seed, once all of them are recorded."""
    if table["point"].nunique() < problem.points:
        return []
    first = table[table["config"].map(lambda text: json.loads(text)["seed"] == SEEDS[0])]
    scores = first.groupby("point")["val_acc"].max().sort_values(ascending=False)
    return [int(point) for point in scores.index[:BEST_POINTS]]


def next_job(problem: Problem, table: pd.DataFrame) -> Job | None:
    """The first run that is not recorded yet; None when all are."""
    known = set(table["config"])
    best = best_points(problem, table) if len(table) else []
    return next((job for job in jobs(problem, best)
                 if json.dumps(job.config.to_dict()) not in known), None)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="no run is begun after these")
    names = [problem.name for problem in PROBLEMS]
    parser.add_argument("--problems", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    machine = describe(minutes=arguments.minutes)
    by = f"{machine['cpu']}, {'+'.join(machine['instructions'])}, torch {machine['torch']}"
    until = time.monotonic() + 60 * arguments.minutes
    runtime = Runtime.resolve("cpu", "fp32", 1)
    torch.set_num_threads(1)
    for problem in (p for p in PROBLEMS if p.name in arguments.problems):
        table, data = curves_of(problem), images_of(problem)
        while job := next_job(problem, table):
            if time.monotonic() > until:
                return
            began = time.perf_counter()
            rows = record(problem, job, data, runtime).assign(machine=by, data=data.fingerprint)
            table = pd.concat([table, rows], ignore_index=True) if len(table) else rows
            content = io.BytesIO()
            floats = {name: "float32" for name in KEPT[1:] if name in table}
            table.astype(floats).to_parquet(content, compression="zstd", index=False)
            write_file(FOLDER / f"{problem.name}.parquet", content.getvalue())
            best = rows["val_acc"].max() if "val_acc" in rows else float("nan")
            print(f"{problem.name:12} {job.index:3} {job.config.seed} {rows['ended'].iloc[0]:9}"
                  f" best {best:.4f} {time.perf_counter() - began:6.1f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
