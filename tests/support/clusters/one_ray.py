"""One Ray in this process for all tests that do not need their own: it starts at its first use, as
a search starts it, but for its workers: they are forked from a process that has imported torch."""

from __future__ import annotations

from contextlib import ExitStack

from support.clusters.forked_workers import forked_workers

from vgg6.tuning.cluster.connect import connected, quiet_environment

_running = ExitStack()


def start() -> None:
    import ray  # slow, and most tests need none

    if not ray.is_initialized():
        _running.close()
        quiet_environment()
        _running.enter_context(forked_workers())
        _running.enter_context(connected("local", verbose=False))


def end() -> None:
    _running.close()
