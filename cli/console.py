"""What every command gives back: an exit status, and its result on standard output."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

DONE = 0  # all that was asked
FAILED = 1  # anything else: a search is incomplete, a package was not reproduced
BAD_INPUT = 2
INTERRUPTED = 130  # as a shell has it: 128 + SIGINT


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def print_result(found: Any, as_json: bool, render: Callable[[Any], str]) -> None:
    """Print a command's result: as one JSON document, or as ``render`` words it for people."""
    print(json.dumps(found, indent=1, default=lambda x: x.to_dict()) if as_json else render(found))
