"""Whether a process runs a search, or is about to: by locks in the run folder.

An object store has no locks, nor has some network storage: there nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, Timeout

from vgg6.common.checks import InputError
from vgg6.common.locks import is_locked, take_lock
from vgg6.common.say import say
from vgg6.tuning.run.driver_beat import beating, last_host, runs_elsewhere
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
    taken = InputError("name", run.name, "is being started by another process")
    lock = _lock(run, STARTING, taken)
    try:
        yield
    finally:
        if lock:
            lock.release()
        Path(run.file(STARTING)).unlink(missing_ok=True)
        with suppress(OSError):  # the first that is not empty: it holds a search
            for path in made:
                path.rmdir()


@contextmanager
def only_driver(run: RunFolder) -> Iterator[None]:
    """Hold the run folder's lock. Where the storage has none, it is up to the user, who is told.

    Raises:
        InputError: another process holds it, or shows from another machine that it runs.
    """
    if not run.local:
        yield
        return
    host = last_host(run)
    rule = f"is being run by another process{f' on {host}' if host else ''}"
    taken = InputError("run", run.path, rule)
    lock = _lock(run, LOCK, taken)
    if lock is None:
        say(f"{run.path} is on storage without locks: run this search from one place at a time")
    try:
        if runs_elsewhere(run):
            raise taken
        with beating(run):
            yield
    finally:
        if lock:
            lock.release()


def _lock(run: RunFolder, name: str, taken: InputError) -> BaseFileLock | None:
    """A lock of the run folder, held; None where the storage has none. Raises ``taken`` where
    another process holds it."""
    try:
        return take_lock(run.file(name))
    except Timeout:
        raise taken from None


def _is_held(run: RunFolder, name: str) -> bool:
    return run.local and is_locked(run.file(name))
