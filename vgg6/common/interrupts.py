"""SIGINT and SIGTERM, answered otherwise for as long as a block lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def answered_by(handler: Callable[[int, object], None], *numbers: int) -> Iterator[None]:
    """Hand these signals to ``handler`` while the block lasts. Only in the main thread."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end this process as SIGINT does: by an exception, which leaves nothing behind."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with answered_by(interrupt, signal.SIGTERM):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait for the end of the block.

    For seconds inside of libraries that take an interrupt for a failure of theirs: there it would
    be lost, or come out as an error. In another thread than the main one no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    try:
        with answered_by(lambda number, _: came.append(number), signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)
