"""The claim that training is faster in large batches, and never slower, where a process keeps the
memory that it frees, with the same bits.

    python -m benchmarks.speed.kept_memory  # a quarter of an hour

Each training is a process of its own and trains in a thread of one CPU, as a trial does. The two
kinds take turns: A B A B. The first epoch counts too, since many trials have few. Images of 64
pixels are digits.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import Any

from benchmarks.machine import describe, write_result
from vgg6.config import TrialConfig
from vgg6.data import Reading, load_source, split
from vgg6.hardware import runtime
from vgg6.hardware.speedup import speedup
from vgg6.training import TrainState, fit

# Data, pixels of an edge, images in a batch, images of an epoch.
PARTS = (
    ("cifar10", 32, 64, 1024), ("cifar10", 32, 128, 1024), ("cifar10", 32, 256, 1024),
    ("digits", 64, 64, 512), ("digits", 64, 128, 512),
)  # fmt: skip
ACTIVATIONS = ("relu", "gelu")
EPOCHS, ROUNDS = 3, 3
KEPT, GIVEN_BACK = "kept", "given back"


def train(data: str, side: int, batch: int, images: int, activation: str) -> None:
    """Train, and print seconds, pages that the kernel gave, the largest memory in MB, and the loss
    to the last bit."""
    source = load_source(data, Reading(image_size=side))
    parts = split(source, limit_train=images)
    config = TrialConfig(activation=activation, batch_size=batch, epochs=EPOCHS)
    state = TrainState(config, runtime.Runtime.resolve("cpu", threads=1), task=parts.task)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    rows = list(fit(state, parts))
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "seconds": sum(row.seconds for row in rows), "pages": used.ru_minflt - before,
        "mb": used.ru_maxrss / 1024, "loss": rows[-1].val_loss.hex(),
    }  # fmt: skip
    print(json.dumps(found))


def in_a_process(how: str, data: str, *part: Any) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.speed.kept_memory", "--one", how, data]
    done = subprocess.run([*words, *map(str, part)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compared(data: str, side: int, batch: int, images: int, activation: str) -> dict[str, Any]:
    """One part, in turns: how many times as fast, and as large, as where memory is given back."""
    runs: dict[str, list[dict[str, Any]]] = {KEPT: [], GIVEN_BACK: []}
    for _ in range(ROUNDS):
        for how, found in runs.items():
            found.append(in_a_process(how, data, side, batch, images, activation))

    seconds, mb = (
        {how: [run[name] for run in found] for how, found in runs.items()}
        for name in ("seconds", "mb")
    )
    return {
        "side": side, "batch_size": batch, "activation": activation,
        "times_as_fast": asdict(speedup(seconds, slow=GIVEN_BACK, fast=KEPT)),
        "times_as_large": asdict(speedup(mb, slow=KEPT, fast=GIVEN_BACK)),
        "same_bits": len({run["loss"] for found in runs.values() for run in found}) == 1,
        "runs": runs,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        how, data, side, batch, images, activation = arguments.one
        if how == GIVEN_BACK:
            runtime.keep_freed_memory = lambda: False  # type: ignore[assignment]
        asked = (data, int(side), int(batch), int(images), activation)
        thread = threading.Thread(target=train, args=asked)
        thread.start()
        thread.join()
        return
    facts, rows = describe(), []
    print("side  batch  activation  times as fast        times as large  the same bits")
    for part in PARTS:
        for activation in ACTIVATIONS:
            row = compared(*part, activation)
            rows.append(row)
            fast, large = row["times_as_fast"], row["times_as_large"]
            print(
                f"{row['side']:4}  {row['batch_size']:5}  {activation:10}"
                f"  {fast['ratio']:.2f} ({fast['low']:.2f} to {fast['high']:.2f})"
                f"  {large['ratio']:14.2f}  {'yes' if row['same_bits'] else 'NO'}",
                flush=True,
            )
            write_result("kept_memory", {"machine": facts, "rows": rows})


if __name__ == "__main__":
    main()
