"""Where one training step's time goes, by operation. No claim: it shows what is left to gain.

python benchmarks/step_profile.py                  # ReLU and GELU, half a minute
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import describe, write_result
from vgg6.config import TrialConfig
from vgg6.data.sources import load_source, split
from vgg6.gradients import Gradients
from vgg6.hardware.machine import usable_cpus
from vgg6.hardware.runtime import Runtime, resident
from vgg6.training import TrainState

BATCH, STEPS, SHOWN = 128, 4, 12


def operations(activation: str, runtime: Runtime, data: str) -> dict[str, float]:
    """Milliseconds of a step that each operation takes by itself, the longest first."""
    parts = resident(split(load_source(data), limit_train=BATCH), "cpu")
    state = TrainState(TrialConfig(activation=activation, batch_size=BATCH), runtime)
    gradients = Gradients(state.model, parts.normalize, runtime, 0.0)

    def steps() -> None:
        for _ in range(STEPS):
            gradients(parts.train_images, parts.train_labels)
            state.optimizer.step()

    steps()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        steps()
    times = {row.key: row.self_cpu_time_total / 1e3 / STEPS for row in found.key_averages()}
    return dict(sorted(times.items(), key=lambda item: -item[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--activations", default="relu,gelu")
    parser.add_argument("--data", default="cifar10")
    arguments = parser.parse_args()
    runtime = Runtime.resolve("cpu", threads=min(2, usable_cpus()))
    facts = describe(precision=runtime.precision, threads=runtime.threads, batch=BATCH)
    rows = {}
    for activation in arguments.activations.split(","):
        times = rows[activation] = operations(activation, runtime, arguments.data)
        whole = sum(times.values())
        print(f"\n{activation}: {whole:.0f} ms a step", flush=True)
        for name, ms in list(times.items())[:SHOWN]:
            print(f"  {name:44}{ms:8.1f} ms{ms / whole:7.1%}", flush=True)
    write_result("step_profile", {"machine": facts, "ms": rows})


if __name__ == "__main__":
    main()
