"""Claims about one GPU: how long an epoch takes, what trials that share it train together, that a
seed gives the same bits twice, and that a search keeps it busy.

    python -m benchmarks.speed.gpu  # on a machine with a CUDA GPU, some 8 minutes
    python -m benchmarks.speed.gpu --kernels triton  # all of it with our own kernels
    python -m benchmarks.speed.gpu --device cpu --data digits --images 1280 --together 2 --trials 2

The last one runs the same code without a GPU, which proves no claim.

- **An epoch** is of all 45,000 training images with their validation, in bf16. The first one of a
  run is not counted: kernels are chosen and the CUDA graph is captured there. For scale, airbench94
  (Jordan, 2024) trains an epoch of 50,000 images in 0.31 s on an A100, with a network of the same
  0.7 GFLOP an image.
- **Triton's kernels**: epochs with them and without, in turns, and the same bits twice.
- **Together**: processes train at once, each held to its part of the memory, as Ray gives trials
  parts of a GPU. They do so without NVIDIA's Multi-Process Service, then with it.
- **The same bits**: two processes train one seed. All metrics and weights are compared.
- **Busy**: a search of the command line. Of the time between its first and its last step, the share
  in which the GPU computed, as ``nvidia-smi`` samples it.

A part that cannot be measured says why, and the others go on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing as mp
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from multiprocessing.synchronize import Barrier
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.machine import SCRIPT, describe, write_result
from benchmarks.speed.gpu_busy import busy_share, sampling, steps_of
from vgg6.checkpoint import weights_bytes
from vgg6.common.machine import KERNELS, usable_cpus
from vgg6.config import TrialConfig
from vgg6.data import TrialData, load_source, split
from vgg6.hardware.device_memory import prepare_gpu
from vgg6.hardware.runtime import Runtime, check_kernels
from vgg6.hardware.speedup import speedup
from vgg6.training import TrainState, fit
from vgg6.tuning.cluster import mps
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history

EPOCH_S, AT_BATCH = 0.30, 128
GAIN, BUSY, TURNS = 2.5, 0.80, 2
SEARCH_EPOCHS = 5
PATIENCE_S, SEARCH_S = 90.0, 240.0  # for the processes of one measurement; for the search


@dataclass(frozen=True)
class Claim:
    """One line of the table. ``value``: None where ``reason`` says why it was not measured.
    ``most``: the value must be at most ``bar``, else at least."""

    name: str
    value: float | None
    bar: float
    most: bool = False
    reason: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return f"not measured: {self.reason}"
        holds = self.value <= self.bar if self.most else self.value >= self.bar
        return "holds" if holds else "FAILS"


def table(device: str, claims: Iterable[Claim]) -> str:
    """The claims as text, under the device's name."""
    lines = [f"{device:48}{'measured':>10}{'bar':>10}"]
    for claim in claims:
        value = "-" if claim.value is None else f"{claim.value:.3g}"
        bar = f"{'<=' if claim.most else '>='} {claim.bar:g}"
        lines.append(f"{claim.name:48}{value:>10}{bar:>10}  {claim.verdict}")
    return "\n".join(lines)


def measured(part: Callable[[], Any]) -> tuple[Any, str]:
    """What a part found, or None and why it found nothing: one that fails takes no other along."""
    try:
        return part(), ""
    except Exception as error:
        return None, " ".join(f"{type(error).__name__}: {error}".split())[:300]


def epochs(config: TrialConfig, data: TrialData, runtime: Runtime, count: int) -> dict[str, Any]:
    """Seconds of ``count`` epochs after the first, and the peak memory in GB."""
    seconds = [m.seconds for m in fit(TrainState(config, runtime), data, stop_after=count + 1)][1:]
    peak = torch.cuda.max_memory_allocated() / 1e9 if runtime.device == "cuda" else 0.0
    median = statistics.median(seconds)
    return {"batch_size": config.batch_size, "seconds": seconds, "median": median, "peak_gb": peak}


def train_beside(
    arguments: argparse.Namespace, fraction: float, threads: int, start: Barrier, out: Any
) -> None:
    """One of the processes that share the device: how many images a second it trained, and the
    fingerprint of what came of it."""
    runtime = Runtime.resolve(arguments.device, threads=threads, kernels=arguments.kernels)
    if runtime.device == "cuda":
        prepare_gpu(fraction)
    data = split(load_source(arguments.data), limit_train=arguments.images)
    config = TrialConfig(activation="gelu", batch_size=AT_BATCH, epochs=1 + arguments.epochs)
    state, curve, began = TrainState(config, runtime), [], 0.0
    for metrics in fit(state, data):
        curve.append(metrics.to_dict())
        if metrics.epoch == 1:
            start.wait(PATIENCE_S)
            began = time.perf_counter()
    speed = arguments.epochs * len(data.train) / (time.perf_counter() - began)
    out.put((speed, fingerprint(curve, weights_bytes(state.model.state_dict(), config))))


def fingerprint(curve: list[dict[str, Any]], weights: bytes) -> str:
    """Of all bits that a training must give again: its metrics but for the time, its weights."""
    kept = [{k: v for k, v in row.items() if k != "seconds"} for row in curve]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode() + weights).hexdigest()


def together(
    arguments: argparse.Namespace, runs: int, variables: dict[str, str] | None = None
) -> list[tuple[float, str]]:
    """What ``train_beside`` found in ``runs`` processes at once, which have these variables too."""
    context = mp.get_context("spawn")
    start, out = context.Barrier(runs), context.Queue()
    asked = (arguments, 1 / runs, max(1, usable_cpus() // runs), start, out)
    workers = [context.Process(target=train_beside, args=asked) for _ in range(runs)]
    with patch.dict(os.environ, variables or {}):
        for process in workers:
            process.start()
    try:
        return [out.get(timeout=PATIENCE_S) for _ in workers]
    finally:
        for process in workers:
            process.join(5)
            process.kill()


def speeds(arguments: argparse.Namespace, counts: list[int], served: bool) -> dict[int, float]:
    """Images a second of so many processes together, with the Multi-Process Service or without.

    Raises:
        RuntimeError: the service cannot be used here.
    """
    with tempfile.TemporaryDirectory() as nobody, mps.service_for(served):
        if served and (reason := mps.why_not()):
            raise RuntimeError(reason)
        # Without: one that runs already is not found in an empty folder.
        variables = mps.variables() if served else {"CUDA_MPS_PIPE_DIRECTORY": nobody}
        return {n: sum(s for s, _ in together(arguments, n, variables)) for n in counts}


def kernels_in_turns(
    arguments: argparse.Namespace, data: TrialData, runtime: Runtime
) -> dict[str, Any]:
    """Seconds of an epoch with PyTorch's kernels and with ours, in turns: A B A B; how many times
    as fast ours are, and whether they give the same bits twice.

    Raises:
        InputError: ours cannot be had here.
    """
    check_kernels("triton", runtime.device)
    config = TrialConfig(activation="gelu", batch_size=AT_BATCH, epochs=1 + arguments.epochs)
    seconds: dict[str, list[float]] = {name: [] for name in KERNELS}
    for _ in range(TURNS):
        for name, times in seconds.items():
            one = epochs(config, data, replace(runtime, kernels=name), arguments.epochs)
            times.append(one["median"])
    ours = argparse.Namespace(**vars(arguments) | {"kernels": "triton"})
    return {
        "seconds": seconds,
        "median": statistics.median(seconds["triton"]),
        "times_as_fast": asdict(speedup(seconds, "torch", "triton")),
        "same": same_bits(ours),
    }


def same_bits(arguments: argparse.Namespace) -> float:
    """1 where two trainings of one seed, one after the other, give the same bits; else 0."""
    first, second = (together(arguments, 1)[0][1] for _ in range(2))
    return float(first == second)


def search(arguments: argparse.Namespace) -> dict[str, Any]:
    """A search that shares the device: how long its steps took, and how busy they kept it.

    Raises:
        RuntimeError: it fails, or takes too long.
    """
    share = 1 / arguments.together if arguments.device == "cuda" else 0
    with tempfile.TemporaryDirectory() as folder, sampling(arguments.device) as samples:
        words = [
            "search", "--name", "s", "--storage", folder, "--address", "local", "--device",
            arguments.device, "--data", arguments.data, "--limit-train", str(arguments.images),
            "--trials", str(arguments.trials), "--epochs", str(SEARCH_EPOCHS),
            "--scheduler", "none", "--wandb", "disabled", "--gpus-per-trial", f"{share:g}",
            "--cpus-per-trial", "1", "--kernels", arguments.kernels,
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, SCRIPT, *words], timeout=SEARCH_S, text=True, capture_output=True
        )
        said = done.stderr.strip().splitlines()
        if done.returncode:
            raise RuntimeError(f"the search ended with {done.returncode}: {said[-1:]}")
        history = read_history(RunFolder(f"{folder}/s"))
        first, last = steps_of(history)
        found = {
            "seconds": last - first, "epochs": len(history.arrivals), "samples": len(samples),
            "service": [line for line in said if "Multi-Process Service" in line],
        }  # fmt: skip
        if arguments.device == "cuda":
            found["busy"] = busy_share(samples, first, last)
        return found


def claims_of(found: dict[str, Any], together: int) -> list[Claim]:
    """The claims, from the result file's contents. A part that failed is its reason, a text."""

    def claim(
        name: str, bar: float, value: Callable[[], float], part: str, most: bool = False
    ) -> Claim:
        held = found.get(part, "it was not asked for")
        if isinstance(held, str):
            return Claim(name, None, bar, most, held)
        try:
            return Claim(name, value(), bar, most)
        except (KeyError, StopIteration, TypeError):
            return Claim(name, None, bar, most, "this needs a GPU, or was not asked for")

    def gain(part: str) -> Callable[[], float]:
        return lambda: found[part][str(together)] / found["alone"]["1"]

    at = f"{together} at once, times one alone"
    return [
        claim(
            f"s an epoch in batches of {AT_BATCH}", EPOCH_S,
            lambda: next(r["median"] for r in found["epochs"] if r["batch_size"] == AT_BATCH),
            "epochs", most=True,
        ),
        claim(f"{at}, without the service", GAIN, gain("alone"), "alone"),
        claim(f"{at}, with the service", GAIN, gain("served"), "served"),
        claim("two runs of a seed equal to the last bit", 1, lambda: found["bits"]["same"], "bits"),
        claim(
            f"s an epoch in batches of {AT_BATCH}, Triton", EPOCH_S,
            lambda: found["kernels"]["median"], "kernels", most=True,
        ),
        claim(
            "two runs equal to the last bit, Triton", 1, lambda: found["kernels"]["same"], "kernels"
        ),
        claim("busy share of a search", BUSY, lambda: found["search"]["busy"], "search"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-sizes", default="64,128,256")
    parser.add_argument("--together", type=int, default=8)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--kernels", default=KERNELS[0], choices=KERNELS)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("skipped: torch sees no CUDA GPU here, and every claim is of one")
        return

    runtime = Runtime.resolve(arguments.device, kernels=arguments.kernels)
    data = split(load_source(arguments.data), limit_train=arguments.images)
    device = torch.cuda.get_device_name() if runtime.device == "cuda" else "cpu"
    facts = describe(device=device, precision=runtime.precision, images=len(data.train))
    facts["kernels"] = runtime.kernels
    counts = sorted({1, arguments.together})

    def all_epochs() -> list[dict[str, Any]]:
        sizes = map(int, arguments.batch_sizes.split(","))
        asked = [TrialConfig(activation="gelu", batch_size=n, epochs=1 + arguments.epochs)
                 for n in sizes]  # fmt: skip
        return [epochs(config, data, runtime, arguments.epochs) for config in asked]

    parts: dict[str, Callable[[], Any]] = {
        "epochs": all_epochs,
        "alone": lambda: speeds(arguments, counts, served=False),
        "served": lambda: speeds(arguments, counts, served=True),
        "bits": lambda: {"same": same_bits(arguments)},
        "kernels": lambda: kernels_in_turns(arguments, data, runtime),
        "search": lambda: search(arguments),
    }
    found: dict[str, Any] = {"machine": facts}
    for name, part in parts.items():
        began = time.monotonic()
        value, reason = measured(part)
        found[name] = reason or json.loads(json.dumps(value))
        print(f"{name} ({time.monotonic() - began:.0f} s): {found[name]}", flush=True)
        claims = claims_of(found, arguments.together) if runtime.device == "cuda" else []
        write_result("gpu", found | {"claims": [asdict(c) for c in claims]})
    print(f"\n{table(device, claims) if claims else 'no claim: these figures are of a CPU'}")


if __name__ == "__main__":
    main()
