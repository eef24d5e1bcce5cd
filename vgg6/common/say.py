"""Messages for a person."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """Print ``message`` on standard error, at once."""
    print(message, file=sys.stderr, flush=True)
