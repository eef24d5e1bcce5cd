"""How much faster one network is than another: timed in turns in one run, given as a ratio.

A machine's speed drifts and other work comes and goes, so a time alone says little; what drifts
hits neighbours alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


def time_in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round: A B C A B C, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return {name: seconds[1:] for name, seconds in times.items()}


@dataclass(frozen=True)
class Speedup:
    """How many times as fast: the median of the rounds' ratios, and their quartiles."""

    ratio: float
    low: float
    high: float


def speedup(times: Mapping[str, list[float]], slow: str, fast: str) -> Speedup:
    """How many times as fast as ``slow`` the call ``fast`` is."""
    ratios = sorted(a / b for a, b in zip(times[slow], times[fast], strict=True))
    quarter = len(ratios) // 4
    return Speedup(
        ratio=statistics.median(ratios),
        low=ratios[quarter],
        high=ratios[-1 - quarter],
    )
