"""Trials that need more device memory than their share of a GPU has, on logical GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from vgg6.run_record import EpochMetrics
from vgg6.tuning.session.trainable import train_trial


def short_of_memory(
    needs: dict[int, float], log: Path, hold: Path | None = None
) -> Callable[..., None]:
    """The shared trainable where trials need more device memory than a share of a GPU has.

    Args:
        needs: the share that a trial needs, by its number; with less its training raises PyTorch's
            own error after its second epoch.
        log: gets a line an attempt, of the trial and its share.
        hold: an attempt with a larger share waits for this file, for a minute at most.
    """

    def train(assignment: dict[str, Any], **shared: Any) -> None:
        from vgg6.tuning.session import trainable

        gpus, fit = assignment.get("gpus", shared["gpu_fraction"]), trainable.fit
        with open(log, "a") as lines:
            lines.write(f"{assignment['number']} {gpus:g}\n")

        def limited(*arguments: Any) -> Iterator[EpochMetrics]:
            for metrics in fit(*arguments):
                if metrics.epoch > 2 and gpus < needs.get(assignment["number"], 0):
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
                yield metrics

        give_up = time.monotonic() + 60
        while hold and "gpus" in assignment and not hold.exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        trainable.fit = limited  # type: ignore[assignment]
        try:
            train_trial(assignment, **shared)
        finally:
            trainable.fit = fit

    return train


def attempts(log: Path) -> dict[int, list[float]]:
    """The share of every attempt of every trial."""
    found: dict[int, list[float]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        number, gpus = line.split()
        found.setdefault(int(number), []).append(float(gpus))
    return found
