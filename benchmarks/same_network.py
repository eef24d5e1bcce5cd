"""Claim: a short training in this machine's fast arithmetic ends where one in fp32 does.

    python -m benchmarks.same_network                  # 5 seeds, about ten minutes on two cores

Each seed is trained twice on the same real images, in bf16 and in fp32, all else equal. The tests
show that fp32 is the plain PyTorch network. Prints the best validation accuracy of each, and the
mean of their differences. Beside it stand its standard error and the spread between seeds in fp32.
The claim holds where the mean difference is within two standard errors of zero, or smaller than a
tenth of the spread that another seed makes.
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.machine import describe, write_result
from vgg6.common.machine import usable_cpus
from vgg6.config import TrialConfig
from vgg6.data import TrialData, load_source, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit


def accuracy(precision: str, seed: int, data: TrialData, epochs: int) -> float:
    """Best validation accuracy of one training."""
    runtime = Runtime(device="cpu", precision=precision, threads=usable_cpus())
    config = TrialConfig(
        activation="gelu", optimizer="adam", lr=1e-3, batch_size=64, epochs=epochs, seed=seed
    )
    state = TrainState(config, runtime)
    for _ in fit(state, data):
        pass
    return state.best.val_acc


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    source = load_source("cifar10")
    data = split(source, limit_train=arguments.images)
    facts = describe(images=len(data.train), epochs=arguments.epochs)
    print("\nseed    bf16    fp32   difference", flush=True)
    pairs = []
    for seed in range(arguments.seeds):
        fast, exact = (accuracy(p, seed, data, arguments.epochs) for p in ("bf16", "fp32"))
        pairs.append((fast, exact))
        print(f"{seed:4d}{fast:8.4f}{exact:8.4f}{fast - exact:+12.4f}", flush=True)
    differences = [fast - exact for fast, exact in pairs]
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5
    spread = statistics.stdev(exact for _, exact in pairs)
    holds = abs(mean) <= max(2 * error, spread / 10)
    print(
        f"mean difference {mean:+.4f}, its standard error {error:.4f}; another seed in fp32 makes"
        f" {spread:.4f}: the claim {'holds' if holds else 'does NOT hold'}"
    )
    write_result(
        "same_network",
        {"machine": facts, "pairs": pairs, "mean": mean, "error": error, "spread": spread},
    )


if __name__ == "__main__":
    main()
