"""Claims about one GPU: the seconds of an epoch, and what trials that share it train together.

    python -m benchmarks.gpu                      # on a machine with a CUDA GPU, a few minutes
    python -m benchmarks.gpu --device cpu --images 1280 --sharing 1,2       # the same code without

Epochs are of all 45,000 training images with their validation, in bf16, at the batch sizes of the
spaces. The first epoch of a run is not counted: kernels are chosen and the CUDA graph is captured
there. For scale, airbench94 (Jordan, 2024) trains an epoch of 50,000 images in 0.31 s on an A100,
with a network of the same 0.7 GFLOP an image.

Then 1, 2, 4 and 8 processes train at once. Each is held to its fraction of the memory, as Ray gives
trials fractions of a GPU. Prints the images a second of all of them together, and whether NVIDIA's
Multi-Process Service was running. Without it their kernels take turns.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import statistics
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from benchmarks.machine import describe, write_result
from vgg6.common.machine import mps_is_running, usable_cpus
from vgg6.config import TrialConfig
from vgg6.data import TrialData, load_source, split
from vgg6.hardware.device_memory import prepare_gpu
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit

AIRBENCH_S = 0.31


def epochs(
    config: TrialConfig, data: TrialData, runtime: Runtime, count: int
) -> tuple[list[float], float]:
    """Seconds of ``count`` epochs after the first, and the peak memory in GB."""
    seconds = [m.seconds for m in fit(TrainState(config, runtime), data, stop_after=count + 1)]
    peak = torch.cuda.max_memory_allocated() / 1e9 if runtime.device == "cuda" else 0.0
    return seconds[1:], peak


def worker(
    arguments: argparse.Namespace, fraction: float, threads: int, start: Barrier, out: Any
) -> None:
    """One of the trials that share the device: says how many images a second it trained."""
    runtime = Runtime.resolve(arguments.device, threads=threads)
    if runtime.device == "cuda":
        prepare_gpu(fraction)
    data = split(load_source(arguments.data), limit_train=arguments.images)
    state = TrainState(TrialConfig(activation="gelu", epochs=1 + arguments.epochs), runtime)
    began = 0.0
    for metrics in fit(state, data):
        if metrics.epoch == 1:
            start.wait()
            began = time.perf_counter()
    out.put(arguments.epochs * len(data.train) / (time.perf_counter() - began))


def speed_together(arguments: argparse.Namespace, trials: int) -> float:
    """Images a second of ``trials`` processes together."""
    context = mp.get_context("spawn")
    start, out = context.Barrier(trials), context.Queue()
    threads = max(1, usable_cpus() // trials)
    asked = (arguments, 1 / trials, threads, start, out)
    workers = [context.Process(target=worker, args=asked) for _ in range(trials)]
    for process in workers:
        process.start()
    speeds = [out.get() for _ in workers]
    for process in workers:
        process.join()
    return sum(speeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-sizes", default="64,128,256")
    parser.add_argument("--sharing", default="1,2,4,8")
    parser.add_argument("--data", default="cifar10")
    arguments = parser.parse_args()

    runtime = Runtime.resolve(arguments.device)
    data = split(load_source(arguments.data), limit_train=arguments.images)
    on_gpu = runtime.device == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    facts = describe(device=device, precision=runtime.precision, images=len(data.train))
    facts["mps"] = on_gpu and mps_is_running()
    print("\nbatch   s an epoch (min to max)   GB   times airbench94's on an A100", flush=True)
    rows: list[dict[str, Any]] = []
    for size in map(int, arguments.batch_sizes.split(",")):
        config = TrialConfig(activation="gelu", batch_size=size, epochs=1 + arguments.epochs)
        seconds, peak = epochs(config, data, runtime, arguments.epochs)
        middle = statistics.median(seconds)
        rows.append({"batch_size": size, "seconds": seconds, "median": middle, "peak_gb": peak})
        print(
            f"{size:5d}{middle:12.3f} ({min(seconds):.3f} to {max(seconds):.3f}){peak:8.2f}"
            f"{middle / AIRBENCH_S:12.1f}",
            flush=True,
        )
    print(
        f"\ntrials at once   images a second together   (MPS running: {facts['mps']})", flush=True
    )
    shared = {}
    for trials in map(int, arguments.sharing.split(",")):
        shared[trials] = speed_together(arguments, trials)
        print(f"{trials:14d}{shared[trials]:20.0f}", flush=True)
    write_result(
        "gpu",
        {"machine": facts, "epochs": rows, "sharing": shared},
        "mps" if facts["mps"] else "",
    )


if __name__ == "__main__":
    main()
