"""What a command prints: its result, and what is to be known of its images."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from typing import Any

from vgg6.common.say import say
from vgg6.data import Source, TrialData
from vgg6.data.remarks import remarks


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def print_result(found: Any, as_json: bool, render: Callable[[Any], str]) -> None:
    """Print a command's result: as one JSON document, or as ``render`` words it for people."""
    print(json.dumps(found, indent=1, default=lambda x: x.to_dict()) if as_json else render(found))


def say_what_is_odd(source: Source, data: TrialData, flip: str | None) -> None:
    """How the images lie on disk in one line, and a line for whatever is odd about them.

    Args:
        flip: what the user asked for of mirroring, if anything.
    """
    for line in remarks(source, data, flip):
        say(re.sub(r"`(\w+)`", lambda m: "--" + m[1].replace("_", "-"), line))
