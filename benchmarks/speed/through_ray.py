"""Claims: what a search adds to its trials' training is small.

    python -m benchmarks.speed.through_ray              # all parts, about a quarter of an hour
    python -m benchmarks.speed.through_ray trial wandb  # some of them

- ``trial``: a trial inside a search trains at least 95 % as fast as the same run outside Ray. A run
  in this process and a search of one trial take turns. An epoch in the search lasts from one line
  of its journal to the next, so that checkpoint, report and decision are in it.
- ``overhead``: at most 10 % of a search's wall time is not training. The time counts from the
  command to the end of the session, for 32 trials under ASHA whose epochs take about 5 s.
- ``wandb``: W&B offline adds at most 10 % to the wall time of a search of 8 short trials. Searches
  with and without it take turns.
- ``checkpoint``: saving a trial's state takes under 1 % of a 5 s epoch.
- ``disk``: a search of 64 trials keeps under 200 MB.

CIFAR-10 is found as by ``tune_vgg6.py search`` (``$CIFAR10_DIR``, else ``data/``).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray

from benchmarks.machine import SCRIPT, describe, write_result
from search_spaces import Parameter, Space
from vgg6.common.machine import usable_cpus
from vgg6.config import TrialConfig
from vgg6.data import TrialData, data_facts, load_source, split
from vgg6.hardware.cpu_speed import MOST_CPUS, thread_speeds
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.cluster import connect as cluster
from vgg6.tuning.cluster.allotment import Allotment
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import Epoch
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session import create_run, run_session
from vgg6.tuning.session.trial_checkpoints import keep_state
from vgg6.tuning.settings import Settings

EPOCH_S, ROUNDS = 5.0, 5


def images_for(seconds: float, threads: int) -> int:
    """Training images that make an epoch last so long, by this machine's measured speed."""
    speeds = thread_speeds(Runtime.resolve("cpu").precision)
    each = speeds[str(threads)] * threads / min(usable_cpus(), MOST_CPUS)
    return max(100, round(each * seconds / 100) * 100)


def search(folder: str, *arguments: str) -> subprocess.Popen[bytes]:
    """The real command, in a process of its own."""
    command = [sys.executable, SCRIPT, "search", "--storage", folder]
    fixed = ["--name", "s", "--address", "local", *arguments]
    return subprocess.Popen([*command, *fixed], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def history_of(folder: str) -> History:
    return read_history(RunFolder(f"{folder}/s"))


def rows_of(history: History) -> list[Epoch]:
    return [row for trial in history.trials.values() for row in trial.rows.values()]


def paired_finding(
    claim: str, pairs: list[tuple[float, float]], ratios: list[float], bar: float, holds: bool
) -> dict[str, Any]:
    """A finding from two sides that took turns."""
    return {
        "claim": claim,
        "value": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
        "bar": bar,
        "holds": holds,
        "samples": pairs,
    }


def wait_for_success(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def trial() -> dict[str, Any]:
    """Seconds of an epoch outside Ray and inside a search, on all CPUs."""
    cpus = usable_cpus()
    runtime = Runtime.resolve("cpu", threads=cpus)
    data = split(load_source("cifar10"), limit_train=images_for(EPOCH_S, cpus))
    cluster.quiet_environment()
    cluster.connect("local", verbose=False)
    pairs = []
    for index in range(ROUNDS):
        config = TrialConfig(activation="relu", epochs=3, seed=index)
        started, outside = time.perf_counter(), []
        for _ in fit(TrainState(config, runtime), data):
            outside.append(time.perf_counter() - started)
            started = time.perf_counter()
        inside = _searched(config, data, runtime)
        pairs.append((statistics.mean(outside[1:]), statistics.mean(inside)))
    ray.shutdown()
    ratios = [outside / inside for outside, inside in pairs]
    claim = "speed of a trial in a search, of the same run outside"
    return paired_finding(claim, pairs, ratios, 0.95, statistics.median(ratios) >= 0.95)


def _searched(config: TrialConfig, data: TrialData, runtime: Runtime) -> list[float]:
    """Seconds of the epochs after the first of one trial in a search of its own."""
    point = {"activation": "relu", "seed": config.seed}
    only = Parameter(name="activation", choices=("relu",))
    space = Space(name="one", parameters=(only,), points=(point,), points_only=True)
    settings = Settings(name="s", trials=1, epochs=config.epochs, searcher="grid")
    allotment = Allotment(float(runtime.threads), 0.0, runtime.threads, 1, "one")
    plan = Plan(settings, space, 1, data, runtime, allotment, "disabled")
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(f"{folder}/s")
        facts = data_facts(
            "cifar10", load_source("cifar10"), data, split_seed=42, limit_train=len(data.train)
        )
        create_run(run, plan, data_facts=facts, command="")
        run_session(run, plan)
        times = [row.time for row in rows_of(history_of(folder))]
    return [later - earlier for earlier, later in pairwise(times)]


def overhead() -> dict[str, Any]:
    """The share of a search's wall time in which its trials do not train."""
    images = images_for(EPOCH_S, 1)
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        wait_for_success(
            search(
                folder, "--data", "cifar10", "--limit-train", str(images), "--trials", "32",
                "--epochs", "4", "--cpus-per-trial", "1", "--wandb", "offline",
            )
        )  # fmt: skip
        whole = time.time() - began
        history = history_of(folder)
    session = history.sessions[-1]
    rows = rows_of(history)
    wall = session.time - began
    training = sum(row.seconds for row in rows) / usable_cpus()
    first = min(row.time - row.seconds for row in rows) - began
    last = session.time - max(row.time for row in rows)
    return {
        "claim": "share of a search's wall time that is not training",
        "value": 1 - training / wall,
        "bar": 0.10,
        "holds": 1 - training / wall <= 0.10,
        "wall_s": wall,
        "epoch_s": statistics.median(row.seconds for row in rows),
        "epochs": len(rows),
        "before_first_epoch_s": first,
        "after_last_epoch_s": last,
        "between_s": wall - training - first - last,
        "packing_the_winner_s": whole - wall,
    }


def wandb() -> dict[str, Any]:
    """Wall time of a search with W&B offline, in times of the same one without."""
    pairs = []
    for _ in range(ROUNDS):
        walls = []
        for mode in ("disabled", "offline"):
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                wait_for_success(
                    search(
                        folder, "--data", "cifar10", "--limit-train", "500", "--trials", "8",
                        "--epochs", "2", "--scheduler", "none", "--searcher", "random",
                        "--wandb", mode,
                    )
                )  # fmt: skip
                walls.append(time.perf_counter() - began)
        pairs.append((walls[0], walls[1]))
    ratios = [offline / disabled for disabled, offline in pairs]
    claim = "wall time of 8 short trials with W&B offline, in times of without"
    return paired_finding(claim, pairs, ratios, 1.10, statistics.median(ratios) <= 1.10)


def checkpoint() -> dict[str, Any]:
    """Seconds to save a trial's state, as a part of a 5 s epoch: the larger of SGD's and Adam's."""
    runtime = Runtime.resolve("cpu", threads=1)
    data = split(load_source("digits"), limit_train=100)
    medians = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, optimizer in enumerate(("sgd", "adam")):
            config = TrialConfig(optimizer=optimizer, lr=1e-3, epochs=12)
            state, times = TrainState(config, runtime), []
            for metrics in fit(state, data):
                started = time.perf_counter()
                keep_state(RunFolder(folder), number, state, metrics.to_dict())
                times.append(time.perf_counter() - started)
            medians[optimizer] = statistics.median(times[2:])
    worst = max(medians.values()) / EPOCH_S
    return {
        "claim": "saving a state, of an epoch of 5 s",
        "value": worst,
        "bar": 0.01,
        "holds": worst <= 0.01,
        "seconds": medians,
    }


def disk() -> dict[str, Any]:
    """Megabytes that a run folder holds while a search of 64 trials runs, and after it."""
    with tempfile.TemporaryDirectory() as folder:
        process = search(
            folder, "--data", "digits", "--limit-train", "100", "--trials", "64", "--epochs", "4",
            "--wandb", "offline",
        )  # fmt: skip
        most = 0.0
        while process.poll() is None:
            most = max(most, _megabytes(folder))
            time.sleep(0.25)
        wait_for_success(process)
        kept = _megabytes(folder)
    return {
        "claim": "MB kept by a search of 64 trials",
        "value": kept,
        "most_while_running": most,
        "bar": 200,
        "holds": kept <= 200,
    }


def _megabytes(folder: str) -> float:
    total = 0
    for file in Path(folder).rglob("*"):
        with suppress(FileNotFoundError):  # removed between the listing and now
            total += file.stat().st_size if file.is_file() else 0
    return total / 1e6


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "trial": trial, "overhead": overhead, "wandb": wandb,
    "checkpoint": checkpoint, "disk": disk,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all")
    arguments = parser.parse_args()
    facts = describe()
    for name in PARTS if "all" in arguments.parts else arguments.parts:
        found = PARTS[name]()
        spread = " ({:.3f} to {:.3f})".format(*found["spread"]) if "spread" in found else ""
        verdict = "holds" if found["holds"] else "does NOT hold"
        print(f"{name:11}{found['value']:8.3f}{spread}  bar {found['bar']:g}: {verdict}")
        for key, value in found.items():
            if isinstance(value, (float, int)) and key not in ("value", "bar", "holds"):
                print(f"{'':11}{key} {value:.3g}")
        sys.stdout.flush()
        write_result("through_ray", {"machine": facts, **found}, name)


if __name__ == "__main__":
    main()
