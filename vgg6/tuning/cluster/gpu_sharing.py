"""How many runs train most together on one GPU: 1, 2, 3, 4, ... at once, each measured.

Runs on random images train together, each in a process of its own that is held to its share, as
trials are. ``python -m vgg6.tuning.cluster.gpu_sharing`` is one such run. The decisions need no
GPU.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from vgg6.common.machine import KERNELS, cpu_model
from vgg6.config import TrialConfig
from vgg6.data import LabelledImages, TrialData
from vgg6.evaluation import EVAL_BATCH
from vgg6.hardware.device_memory import prepare_gpu, ran_out
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.cluster import mps

SHARED = "runs at once"  # in the keys of all measurements
LADDER = (1, 2, 3, 4, 6, 8, 12, 16)
GAIN = 1.05  # for less than this more runs at once are not worth their memory
FULL = 0.9  # of the device's memory: so many runs that they take more are not used
EPOCH_IMAGES, SECONDS = 4096, 3.0  # of an epoch of the measurement; of each number of runs


@dataclass(frozen=True)
class SharedSpeed:
    """``runs`` at once on one device: images a second of all of them together, and GB of its memory
    in use, CUDA contexts included. Speed 0: they did not fit."""

    runs: int
    speed: float
    used_gb: float


@dataclass(frozen=True)
class SharedSpeeds:
    """All that was measured on one device, in ascending order of runs."""

    device: str
    total_gb: float
    measured: tuple[SharedSpeed, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SharedSpeeds:
        measured = tuple(SharedSpeed(**speed) for speed in values["measured"])
        return cls(values["device"], values["total_gb"], measured)


def next_to_measure(found: SharedSpeeds | None, most: int) -> int | None:
    """How many runs to measure next; None where more cannot win.

    Args:
        most: runs that can be at once for other reasons, such as CPUs.
    """
    if found is None:
        return 1
    measured = found.measured
    last = measured[-1]
    runs = next((n for n in LADDER if last.runs < n <= most), None)
    if runs is None or not last.speed or last.used_gb * runs / last.runs > FULL * found.total_gb:
        return None
    # One measurement may be unlucky; two in a row that gain nothing are the end of it.
    before = max((p.speed for p in measured[:-2]), default=0.0)
    gained = max(p.speed for p in measured[-2:]) >= GAIN * before
    return runs if gained else None


def best_runs(found: SharedSpeeds) -> int:
    """The runs that train most together and leave a tenth of the memory free; fewer where that
    hardly matters. One where not even one leaves it."""
    fit_in = [p for p in found.measured if p.speed and p.used_gb <= FULL * found.total_gb]
    top = max((p.speed for p in fit_in), default=0.0)
    return min((p.runs for p in fit_in if p.speed * GAIN >= top), default=1)


def share_of(runs: int) -> float:
    """The fraction of a GPU of which ``runs`` fit on one, in Ray's ten-thousandths."""
    return math.floor(10_000 / runs) / 10_000


def describe(found: SharedSpeeds) -> str:
    """What was measured, for people."""
    speeds = ", ".join(
        f"{p.speed:.0f} with {p.runs}" if p.speed else f"{p.runs} do not fit"
        for p in found.measured
    )
    first = found.measured[0]
    memory = f"; one takes {first.used_gb:.1f} of {found.total_gb:.0f} GB" if found.total_gb else ""
    return f"{found.device}: measured, images a second of all runs at once: {speeds}{memory}"


def measurement_key(runtime: Runtime, config: TrialConfig, images: int) -> str:
    """What a measurement on this process's device holds for."""
    served = "" if mps.why_not() else ", MPS"
    kernels = "" if runtime.kernels == KERNELS[0] else f", {runtime.kernels}"
    kind = f"{config.activation}, {config.optimizer}, batch {config.batch_size}, {images} images"
    return f"{key_start(device_name(runtime.device))}: {kind}{served}{kernels}"


def key_start(device: str) -> str:
    """How the keys of all measurements of this kind of device with this torch begin."""
    return f"{device}, torch {torch.__version__}, {SHARED}"


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else cpu_model()


def measure_shared_speeds(
    runtime: Runtime,
    config: TrialConfig,
    images: int,
    most: int,
    *,
    epoch_images: int = EPOCH_IMAGES,
    seconds: float = SECONDS,
) -> SharedSpeeds:
    """Train 1, 2, 3, ... runs at once on the first device that this process sees.

    Args:
        config: of each run. images: training images that each holds on the device.
        most: never more runs than this.
    """
    asked = {
        "runtime": runtime.to_dict(), "config": config.to_dict(), "images": images,
        "epoch_images": epoch_images, "seconds": seconds,
    }  # fmt: skip
    found: SharedSpeeds | None = None
    while (runs := next_to_measure(found, most)) is not None:
        answers = _together(asked | {"share": share_of(runs)}, runs)
        speed = sum(a["speed"] for a in answers) if all("speed" in a for a in answers) else 0.0
        together = SharedSpeed(runs, speed, max(a["used_gb"] for a in answers))
        before = found.measured if found else ()
        found = SharedSpeeds(answers[0]["device"], answers[0]["total_gb"], (*before, together))
    assert found is not None
    return found


def _together(asked: dict[str, Any], runs: int) -> list[dict[str, Any]]:
    """The answers of ``runs`` processes that trained at the same time.

    Raises:
        RuntimeError: one of them ended without an answer; with the last thing that it said.
    """
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment = os.environ | path | mps.variables()
    with ExitStack() as stack:
        messages = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(runs)]
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "vgg6.tuning.cluster.gpu_sharing"],
                    env=environment,
                    text=True,
                    bufsize=1,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                )
            )
            for said in messages
        ]
        for process in processes:
            stack.callback(process.kill)

        def tell(text: str) -> None:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(text + "\n")

        def hear() -> Iterator[dict[str, Any]]:
            for process, said in zip(processes, messages, strict=True):
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    process.wait()
                    said.seek(0)
                    last = (said.read().strip().splitlines() or ["no word"])[-1]
                    raise RuntimeError(f"a measuring run ended ({process.returncode}): {last}")
                yield json.loads(line)

        tell(json.dumps(asked))
        ready = list(hear())
        if not all(answer.get("ready") for answer in ready):
            return [answer for answer in ready if not answer.get("ready")]
        tell("go")
        return list(hear())


def _run() -> None:
    """One run: told what to train, it says that it is ready, waits, trains, says how fast. It ends
    when all have been heard: until then their memory is in use together."""
    asked = json.loads(sys.stdin.readline())
    runtime, config = Runtime(**asked["runtime"]), TrialConfig.from_mapping(asked["config"])
    try:
        if runtime.device == "cuda":
            prepare_gpu(asked["share"])
        train = fit(TrainState(config, runtime), _data(asked["epoch_images"]))
        rest = max(0, asked["images"] - asked["epoch_images"])
        held = torch.empty(rest, 32, 32, 3, dtype=torch.uint8, device=runtime.device)
        next(train)  # kernels are chosen, the CUDA graph is captured
        print(json.dumps({"ready": True}), flush=True)
        sys.stdin.readline()
        started, epochs = time.perf_counter(), 0
        while time.perf_counter() - started < asked["seconds"]:
            next(train)
            epochs += 1
        speed = epochs * asked["epoch_images"] / (time.perf_counter() - started)
        del held
        answer = {"speed": speed}
    except RuntimeError as error:
        if not ran_out(error):
            raise
        answer = {}
    free, total = torch.cuda.mem_get_info() if runtime.device == "cuda" else (0, 0)
    name = device_name(runtime.device)
    answer |= {"used_gb": (total - free) / 1e9, "total_gb": total / 1e9, "device": name}
    print(json.dumps(answer), flush=True)
    sys.stdin.read()


def _data(images: int) -> TrialData:
    """Random images to train on, and as many to validate with as one batch of that takes."""
    draw = np.random.default_rng(0)

    def part(count: int) -> LabelledImages:
        pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        return LabelledImages(pixels, draw.integers(0, 10, count))

    half = (0.5, 0.5, 0.5)
    return TrialData("random", part(images), part(EVAL_BATCH), half, half, True, "random")


if __name__ == "__main__":
    _run()
