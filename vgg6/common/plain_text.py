"""Tables and wrapped text as plain characters, for whoever prints them."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console


class PlainText(Console):
    """Collects what is printed on it. There are no colours in it, and it goes nowhere by itself,
    whatever a notebook or a variable such as ``FORCE_COLOR`` makes Rich do elsewhere.

    Args:
        width: longer lines are wrapped.
    """

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(
            file=StringIO(), width=width, highlight=False, color_system=None,
            force_terminal=False, force_jupyter=False, **options,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """All that was printed."""
        return self.file.getvalue()  # type: ignore[attr-defined, no-any-return]
