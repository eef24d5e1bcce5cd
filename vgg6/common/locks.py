"""Locks on files that end with the process that holds them. Nobody waits for one in silence."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from vgg6.common.say import say

# What storage without locks answers, as some network file systems are.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
SAY_AFTER_S, SAY_AGAIN_S = 3.0, 60.0


def take_lock(path: Path | str, wait: float = 0.0) -> BaseFileLock | None:
    """A lock, held. None where the storage has no locks. A file that stands for a lock would be no
    help there: it outlives whoever was killed.

    Raises:
        Timeout: another process has held it for ``wait`` seconds.
        OSError: the file cannot be written.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return lock


def is_locked(path: Path | str) -> bool:
    """Whether another process holds this lock, seen by who may only read the file. Storage without
    locks has none held."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def one_at_a_time(path: Path, what: str) -> Iterator[None]:
    """Wait for the lock, and say for ``what``. Storage without locks lets all in at once.

    Raises:
        OSError: the file cannot be written.
    """
    wait = SAY_AFTER_S
    while True:
        try:
            lock = take_lock(path, wait)
            break
        except Timeout:
            say(f"waiting for another process: {what} ({path} is locked)")
            wait = SAY_AGAIN_S
    try:
        yield
    finally:
        if lock:
            lock.release()
