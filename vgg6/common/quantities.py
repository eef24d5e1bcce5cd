"""Counts, sizes and times with their units, read from text and written as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from vgg6.common.checks import InputError

COUNTS = {"": 1, "k": 10**3, "M": 10**6}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "KiB": 2**10, "MiB": 2**20}
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
DURATIONS = {"": 1, "s": 1, "m": 60, "h": 3600}
_FORM = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*([A-Za-z]*)\s*", re.ASCII)


def read_quantity(field: str, text: str, units: Mapping[str, float], examples: str) -> float:
    """A number with one of ``units``, in the unit of 1. Units may be typed in any case where no
    two of them differ by their case alone.

    Args:
        examples: such as ``300k or 1.5M``, for the error.

    Raises:
        InputError: the text is no such quantity.
    """
    found = _FORM.fullmatch(text)
    names = {unit.lower(): unit for unit in units}
    unit = found and names.get(found[3].lower())
    if found is None or unit is None:
        raise InputError(field, text, f"is not a quantity such as {examples}")
    value = float(found[1] + (found[2] or "")) * units[unit]
    if not math.isfinite(value):
        raise InputError(field, text, f"is not a quantity such as {examples}")
    return value


def read_count(field: str, text: str) -> int:
    """``300000``, ``300k`` or ``1.5M`` as a whole number."""
    return round(read_quantity(field, text, COUNTS, "300000, 300k or 1.5M"))


def read_bytes(field: str, text: str) -> int:
    """``500kB``, ``1.5MB`` or ``512KiB`` as a number of bytes."""
    return round(read_quantity(field, text, BYTES, "500kB, 1.5MB or 512KiB"))


def read_latency(field: str, text: str) -> float:
    """``2ms`` or ``800us`` in seconds."""
    return read_quantity(field, text, SECONDS, "2ms, 800us or 0.5s")


def read_duration(field: str, text: str) -> float:
    """``90``, ``90s``, ``30m`` or ``2h`` in seconds."""
    return read_quantity(field, text, DURATIONS, "90s, 30m or 2h")


def bytes_text(size: float) -> str:
    """``61.9 kB``, ``2.69 MB``: three digits."""
    unit = next((u for u in ("MB", "kB") if size >= BYTES[u]), "B")
    return f"{_three(size / BYTES[unit])} {unit}"


def latency_text(seconds: float) -> str:
    """``1.85 ms``, ``412 us``: three digits."""
    unit = next((u for u in ("s", "ms") if seconds >= SECONDS[u]), "us")
    return f"{_three(seconds / SECONDS[unit])} {unit}"


def _three(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
