"""Whether a process runs a search, or is about to: by locks in the run folder.

An object store has no locks: there nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from vgg6.common.checks import InputError
from vgg6.tuning.run.folder import SEARCH, RunFolder

LOCK, STARTING = ".lock", ".starting"


def is_running(run: RunFolder) -> bool:
    """Whether a driver holds the run folder's lock."""
    return _is_held(run, LOCK)


def is_starting(run: RunFolder) -> bool:
    """Whether somebody has begun a search there, and Ray is not up yet."""
    return not run.exists(SEARCH) and _is_held(run, STARTING)


@contextmanager
def announced(run: RunFolder) -> Iterator[None]:
    """Let others see that a search starts here, before Ray is up and its first file is written.

    Raises:
        InputError: another process starts a search of this name.
    """
    if not run.local:
        yield
        return
    folder = Path(run.path)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    run.create()
    lock = FileLock(run.file(STARTING))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError("name", run.name, "is being started by another process") from None
    try:
        yield
    finally:
        lock.release()
        Path(run.file(STARTING)).unlink(missing_ok=True)
        with suppress(OSError):  # the first that is not empty: it holds a search
            for path in made:
                path.rmdir()


def _is_held(run: RunFolder, name: str) -> bool:
    if not run.local or not run.exists(name):
        return False
    try:
        FileLock(run.file(name)).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False
