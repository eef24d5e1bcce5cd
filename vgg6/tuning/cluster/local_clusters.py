"""Which Ray clusters run on this machine, and which of them a search may join."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "TUNE_VGG6_PRIVATE_RAY"
GCS_FLAG = "--gcs-address="


@dataclass(frozen=True)
class LocalCluster:
    """A cluster of this user with a node here. ``private``: a program started it for itself, and it
    ends with that program."""

    address: str
    private: bool


def local_clusters() -> list[LocalCluster]:
    """The clusters, found by their nodes' processes (Ray's raylets). Asks the processes and not
    Ray's note of its last cluster: a crash leaves that behind."""
    found: dict[str, bool] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is somebody else's
            words = process.cmdline()
            if not words or Path(words[0]).name != "raylet" or process.uids().real != os.getuid():
                continue
            flags = [w for w in words if w.startswith(GCS_FLAG)]
            if flags:
                address = flags[0].removeprefix(GCS_FLAG)
                found[address] = found.get(address, False) or _is_private(process)
    return [LocalCluster(address, private) for address, private in sorted(found.items())]


@contextmanager
def private_ray() -> Iterator[None]:
    """Mark the Ray that this process starts as its own: a search beside it shall not join it."""
    os.environ[MARK] = "1"
    try:
        yield
    finally:
        del os.environ[MARK]


def _is_private(raylet: psutil.Process) -> bool:
    """Whether a node was started by ``ray.init`` of a program, and not by ``ray start``."""
    if MARK in raylet.environ():
        return True
    parent = raylet.parent()
    if parent is None or parent.pid == 1 or not parent.name().startswith("python"):
        return False  # `ray start` has ended since; in a container, the first process may be Python
    words = parent.cmdline()
    return not any(Path(w).name == "ray" and "start" in words[i:] for i, w in enumerate(words))
