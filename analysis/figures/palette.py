"""One colour, marker and order for each activation, optimizer and state, in every figure.

The colours are seen on light and on dark pages: their contrast to both is at least 3 to 1. Under
the common colour blindnesses they still differ, and the markers tell the same again.
"""

from __future__ import annotations

from collections.abc import Iterable

from vgg6.config import CHOICES

BLUE, ORANGE, GREEN, RED = "#0072B2", "#DE6D07", "#0D9F70", "#DD1741"
MUTED = "#808A96"  # what stands behind: seeds, reference lines, error bars
COLOURS = (BLUE, ORANGE, GREEN, RED, "#6671F8", "#B47DA4", "#47786F", "#CC60DB")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")
STATES = {"completed": GREEN, "pruned": ORANGE, "infeasible": RED,
          "failed": "#CC60DB", "stopped": MUTED, "running": "#6671F8",
          "paused": "#B47DA4"}  # fmt: skip
# From low to high, for lines: every colour between them is seen on both pages.
LINE_SCALE = ((0.0, "#2F78C4"), (0.5, "#8C7F8E"), (1.0, "#DE6D07"))
# For cells that hold text: it is dark on each of them.
CELL_SCALE = ((0.0, "#6E93BE"), (0.5, "#B9B7A0"), (1.0, "#F3C13A"))
CELL_INK = "#111417"


def ordered(kind: str, values: Iterable[str]) -> list[str]:
    """The values of a hyperparameter, such as ``optimizer``, in the order that all figures have."""
    known = CHOICES.get(kind, ())
    return sorted(set(values), key=lambda v: (known.index(v) if v in known else len(known), v))


def colour_of(kind: str, value: str) -> str:
    """The colour that stands for a value of a hyperparameter."""
    return COLOURS[_place(kind, value) % len(COLOURS)]


def symbol_of(kind: str, value: str) -> str:
    """The marker that stands for a value of a hyperparameter."""
    return SYMBOLS[_place(kind, value) % len(SYMBOLS)]


def _place(kind: str, value: str) -> int:
    known = CHOICES.get(kind, ())
    return known.index(value) if value in known else len(known)
