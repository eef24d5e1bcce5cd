"""SIGINT, SIGTERM and SIGHUP, answered otherwise for as long as a block lasts."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def in_main_thread() -> bool:
    """Whether signals reach this thread, and it may say how they are answered."""
    return threading.current_thread() is threading.main_thread()


def ends() -> tuple[signal.Signals, ...]:
    """The signals that ask this process to end. SIGHUP says that its terminal is gone; ``nohup``
    turns that off."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return tuple(s for s in wanted if s != signal.SIGHUP or signal.getsignal(s) != signal.SIG_IGN)


def leave_lost_terminal() -> None:
    """Let what this process prints go nowhere, if its terminal is gone: printing would raise
    OSError. A file is written further."""
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream)
            os.close(nothing)


@contextmanager
def spared(number: int) -> Iterator[None]:
    """Processes that the block starts never get this signal. For this process it waits for the end
    of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def answered_by(handler: Callable[[int, object], None], *numbers: int) -> Iterator[None]:
    """Hand these signals to ``handler`` while the block lasts. In another thread than the main one,
    which none reaches, they are answered as before."""
    if not in_main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def ends_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as SIGINT does: by an exception, which leaves nothing
    behind."""

    def interrupt(number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            leave_lost_terminal()
        raise KeyboardInterrupt

    with answered_by(interrupt, *(s for s in ends() if s != signal.SIGINT)):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait for the end of the block.

    For seconds inside of libraries that take an interrupt for a failure of theirs: there it would
    be lost, or come out as an error.
    """
    came: list[int] = []
    try:
        with answered_by(lambda number, _: came.append(number), *ends()):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)
