"""What every command gives back: an exit status, and its result on standard output."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import sys
from collections.abc import Callable
from typing import Any

DONE = 0  # all that was asked
FAILED = 1  # anything else: a search is incomplete, a package was not reproduced
BAD_INPUT = 2
# The nearest of ASCII, for a terminal or a file that takes no other.
ASCII = dict(zip("▁▂▃▄▅▆▇█≥≤≈→…", "12345678><~>.", strict=True))
INTERRUPTED = 130  # as a shell has it: 128 + SIGINT


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def print_any_character() -> None:
    """Let standard output and error take every character. One that their encoding lacks is printed
    as its nearest of ASCII: a sparkline's bar as a digit, others as a question mark."""
    codecs.register_error("nearest", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nearest")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(ASCII.get(character, "?") for character in lost), error.end


def print_result(found: Any, as_json: bool, render: Callable[[Any], str]) -> None:
    """Print a command's result: as one JSON document, or as ``render`` words it for people."""
    print(json.dumps(found, indent=1, default=lambda x: x.to_dict()) if as_json else render(found))
