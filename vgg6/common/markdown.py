"""Texts of a run inside Markdown: shown as they are, and never taken for Markdown or HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence


def plain(text: str) -> str:
    """A text as one line of nothing but text."""
    return "".join(f"\\{c}" if c in "\\`*[]<>|#" else c for c in " ".join(text.split()))


def fenced(lines: Sequence[str]) -> list[str]:
    """Lines as a block of code, whose fence is longer than any in them."""
    longest = max((len(ticks) for x in lines for ticks in re.findall("`+", x)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *lines, fence]
