"""Standard input, output and error, as a command needs them whatever it was started with."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any

# The nearest of ASCII, for a terminal or a file that takes no other.
ASCII = dict(zip("▁▂▃▄▅▆▇█≥≤≈→…", "12345678><~>.", strict=True))
STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}  # by their file descriptors: 0, 1, 2


def prepare_streams() -> None:
    """Let nothing fail for the streams that this process was started with.

    A closed one is opened on the null device, for else the next file would take its place, and what
    libraries write to it. Every character can be printed: one that the encoding lacks becomes its
    nearest of ASCII, a sparkline's bar a digit, others a question mark. Messages to nobody are
    dropped: a search goes on when whoever read its standard error is gone, or its disk is full. So
    are results on a terminal that is gone.
    """
    _open_closed_ones()
    if os.environ.get("COLUMNS") == "0":  # unknown, to all but Rich: it would draw nothing
        del os.environ["COLUMNS"]
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _unfailing(2, sys.stderr.encoding)
    original = sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper)
    if original and sys.stdout.isatty():
        sys.stdout = _unfailing(1, sys.stdout.encoding)
    codecs.register_error("nearest", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nearest")


def _unfailing(number: int, encoding: str) -> io.TextIOWrapper:
    file = io.BufferedWriter(_Unfailing(number, "wb", closefd=False))
    return io.TextIOWrapper(file, encoding, line_buffering=True)


class _Unfailing(io.FileIO):
    """A file that takes what cannot be written for written."""

    def write(self, content: Any) -> int:
        with suppress(OSError):
            return super().write(content) or 0
        return memoryview(content).nbytes


def _open_closed_ones() -> None:
    for number, (name, mode) in enumerate(STREAMS.items()):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, and those below are taken.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            file = io.FileIO(number, mode, closefd=False)
            wrapped = io.BufferedWriter(file) if mode == "w" else io.BufferedReader(file)
            setattr(sys, name, io.TextIOWrapper(wrapped, "utf-8"))


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(ASCII.get(character, "?") for character in lost), error.end
