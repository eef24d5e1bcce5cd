"""What this CPU is fastest with, measured in training steps: in a second, by the first processes.

Where the CPU multiplies bf16 natively, or nothing computes it fast, nothing has to be measured to
choose the precision. Elsewhere bf16 is emulated, which can be slower or faster than fp32. And
whether a machine trains more images with one trial on all of its CPUs or with a trial on each
differs between machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F

from vgg6.common.machine import cpu_model, usable_cpus
from vgg6.config import TrialConfig
from vgg6.hardware import measurements
from vgg6.hardware.measurements import forget, is_own, recall, remember
from vgg6.model import VGG6

BATCH = 32
MOST_CPUS = 16  # measured at once: beyond them Python's own lock would be what is measured
# A trial a CPU starts more trials at once: for less than this it is not given up.
MARGIN = 1.1
# A measurement is kept for other processes if it had this part of its CPUs. Two busy neighbours
# leave half; alone it is 0.75 to 0.95.
UNDISTURBED = 0.65
# The candidates are measured in turns, so that a neighbour who comes and goes meets them all. Two
# rounds are enough if each candidate's two fastest measurements agree to this part. One is enough
# where it agrees with an earlier process.
STEADY, ROUNDS = 0.85, 3
# So many processes measure before the choice is settled. A neighbour may meet one candidate in all
# rounds of one process, and trials never show what is wrong with a choice that was not made.
PROCESSES = 3
# Trials have other batches than what is measured, and validate: only more than this many times as
# fast or as slow says that the machine was busy then, or has changed since.
UNLIKE = 2.5


def precision_speeds() -> dict[str, float]:
    """Images a second that one run on all CPUs trains in ``bf16`` and in ``fp32``."""
    cpus = usable_cpus()
    return _remembered(f"precision, {cpus} CPUs", {p: (p, cpus, 1) for p in ("bf16", "fp32")})


def thread_speeds(
    precision: str, until_quiet: Callable[[], None] | None = None
) -> dict[str, float]:
    """Images a second of all trials together, by the threads of each (as text): powers of two up to
    the machine's CPUs, which are shared out among as many trials as fit.

    Args:
        until_quiet: called before anything is measured.
    """
    cpus = _cpus_measured()
    counts = [2**i for i in range(cpus.bit_length())]
    candidates = {str(n): (precision, n, cpus // n) for n in counts}
    return _remembered(_threads_key(precision), candidates, until_quiet)


def why_not_kept(precision: str) -> str:
    """Why other processes are not told what ``thread_speeds`` gives; empty where they are."""
    if measurements.is_kept(_full_key(_threads_key(precision))):
        return ""
    if reason := measurements.why_unwritable():
        return f"{measurements.cache_file()} cannot be written: {reason}"
    return "this machine was too busy to measure well"


def contradicted(precision: str, threads: int, speed: float) -> bool:
    """Whether a trial really trained ``speed`` images a second on so many threads, with others on
    the rest of the machine, and ``thread_speeds`` keeps a quite different number. Then all
    candidates are measured again."""
    key = _full_key(_threads_key(precision))
    found = _speeds_of(recall(key)).get(str(threads))
    if not found or 1 / UNLIKE <= speed * (_cpus_measured() // threads) / found <= UNLIKE:
        return False
    forget(key)
    return True


def _cpus_measured() -> int:
    return min(usable_cpus(), MOST_CPUS)


def _threads_key(precision: str) -> str:
    return f"threads, {_cpus_measured()} CPUs, {precision}"


def _full_key(key: str) -> str:
    return f"{cpu_model()}, torch {torch.__version__}: {key}, fastest"


def best_threads(speeds: dict[str, float]) -> int:
    """The threads of a trial that train most images together; fewer where it hardly matters."""
    top = max(speeds.values())
    return min(int(n) for n, speed in speeds.items() if speed * MARGIN >= top)


def describe(speeds: dict[str, float]) -> str:
    """What ``thread_speeds`` found, for people."""
    found = ", ".join(f"{speed:.0f} with {n}" for n, speed in speeds.items())
    return f"measured, images a second of all trials by threads of each: {found}"


def _speed(precision: str, threads: int, runs: int) -> float:
    """Images a second of ``runs`` runs at once on ``threads`` threads each: the second of two steps
    is timed."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(runs) as pool:
            steps = list(pool.map(lambda _: _steps(precision, threads), range(runs)))
    finally:
        torch.set_num_threads(before)
    return sum(BATCH / min(times[1:]) for times in steps)


def _steps(precision: str, threads: int) -> list[float]:
    """Seconds of two training steps on this many threads."""
    torch.set_num_threads(threads)
    config = TrialConfig(activation="gelu", batch_size=BATCH)
    model = VGG6(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,))
    times = []
    for _ in range(2):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        # A step of plain SGD. The first of PyTorch's optimizers imports a compiler, for a second.
        with torch.no_grad():
            for weights in model.parameters():
                assert weights.grad is not None
                weights.sub_(weights.grad, alpha=config.lr)
        model.zero_grad()
        times.append(time.perf_counter() - started)
    return times


def _remembered(
    key: str,
    candidates: dict[str, tuple[str, int, int]],
    until_quiet: Callable[[], None] | None = None,
) -> dict[str, float]:
    """The speed of each candidate for this CPU with this torch. A process measures once, until
    enough of them have.

    The fastest of all rounds counts, those of earlier processes included, as others only slow a
    candidate down. Measurements made on a busy machine, or that do not agree, serve this process
    only.

    Args:
        candidates: what ``_speed`` is given, by their names.
        until_quiet: as for ``thread_speeds``.
    """
    key = _full_key(key)
    record = recall(key)
    earlier = _speeds_of(record)
    if set(earlier) != set(candidates):
        record, earlier = None, {}
    processes = record["processes"] if record else 0
    if processes >= PROCESSES or is_own(key):
        return earlier
    if until_quiet:
        until_quiet()
    wall, cpu = time.perf_counter(), time.process_time()
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, candidate in candidates.items():
            found[name].append(_speed(*candidate))
        steady = all(
            _is_steady(speeds) or _is_steady([*speeds, earlier.get(name, 0.0)])
            for name, speeds in found.items()
        )
        if steady:
            break
    had = (time.process_time() - cpu) / (time.perf_counter() - wall)
    fastest = {name: max(*speeds, earlier.get(name, 0.0)) for name, speeds in found.items()}
    keep = steady and had >= UNDISTURBED * _cpus_measured()
    remember(key, {"processes": processes + keep, "speeds": fastest}, keep=keep)
    return fastest


def _speeds_of(record: Any) -> dict[str, float]:
    """What a record of ``_remembered`` holds; nothing where it is no such record."""
    try:
        speeds = {str(name): float(speed) for name, speed in record["speeds"].items()}
        whole = isinstance(record["processes"], int) and all(s > 0 for s in speeds.values())
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    return speeds if whole else {}


def _is_steady(speeds: list[float]) -> bool:
    first, *others = sorted(speeds, reverse=True)
    return bool(others) and others[0] >= STEADY * first
