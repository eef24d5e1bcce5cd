"""How busy a GPU is while a search runs: samples of ``nvidia-smi``, and their arithmetic."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

import torch

from vgg6.tuning.run.history import History

SAMPLE_MS = 200
COVERED = 0.9  # of the time that is asked for; with fewer samples nothing is said


@dataclass(frozen=True)
class Sample:
    """``time``: seconds since 1970; ``busy``: the share of the while before that the device had
    been computing."""

    time: float
    busy: float


def busy_share(samples: list[Sample], first: float, last: float) -> float:
    """The share of the time from ``first`` to ``last`` in which the device computed. Each sample
    stands for the time since the one before it.

    Raises:
        ValueError: the samples leave out more than a tenth of that time.
    """
    covered = busy = 0.0
    for before, sample in pairwise(samples):
        seconds = max(0.0, min(sample.time, last) - max(before.time, first))
        covered, busy = covered + seconds, busy + seconds * sample.busy
    if last <= first or covered < COVERED * (last - first):
        raise ValueError(f"{len(samples)} samples cover {covered:.1f} of {last - first:.1f} s")
    return busy / covered


def steps_of(history: History) -> tuple[float, float]:
    """When the first step of a search began and the last one ended, in seconds since 1970."""
    rows = [row for trial in history.trials.values() for row in trial.curve]
    return min(row.time - row.seconds for row in rows), max(row.time for row in rows)


@contextmanager
def sampling(device: str) -> Iterator[list[Sample]]:
    """A list that grows by samples of the device while the block lasts; without a GPU it stays
    empty."""
    samples: list[Sample] = []
    if device != "cuda":
        yield samples
        return
    asked = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"-lms={SAMPLE_MS}"]
    number = f"--id=GPU-{torch.cuda.get_device_properties(0).uuid}"

    def read(lines: Iterable[str]) -> None:
        for line in lines:
            with suppress(ValueError):  # a device that does not tell
                samples.append(Sample(time.time(), float(line) / 100))

    with subprocess.Popen(
        ["nvidia-smi", number, *asked], stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        threading.Thread(target=read, args=(watch.stdout,), daemon=True).start()
        try:
            yield samples
        finally:
            watch.kill()
