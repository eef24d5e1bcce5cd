"""Checks of values that a user gave: an error says the field, the value and the rule."""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Collection
from dataclasses import dataclass


# A value from a file can be as long as the file, or nest without end: an error shows its start.
class _Shown(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        # Python writes out no integer of more than 4,300 digits; hexadecimal text can make one.
        bits = value.bit_length()
        return super().repr_int(value, level) if bits < 14_000 else f"an integer of {bits} bits"


_SHOWN = _Shown()
_SHOWN.maxlevel, _SHOWN.maxdict, _SHOWN.maxlist, _SHOWN.maxtuple = 3, 6, 10, 10
_SHOWN.maxstring = _SHOWN.maxlong = _SHOWN.maxother = 1000


class InputError(ValueError):
    """Something a user gave breaks a rule: says the field, the value and the rule.

    Args:
        field: what was set (``lr``, ``max_concurrent``, ``space.yaml: lr.low``). The command line
            shows it as the user spells it.
        value: what it was set to.
        rule: what it must be, worded to follow the value. Other fields stand in backticks.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"{field}: {shown(value)} {rule}")
        self.field, self.value, self.rule = field, value, rule


def shown(value: object) -> str:
    """A value as an error shows it: cut short where it is long."""
    return _SHOWN.repr(value)


def nearest(name: str, valid: Collection[str]) -> str:
    """``"; did you mean 'sigmoid'?"`` for the closest valid name, or an empty string."""
    matches = difflib.get_close_matches(str(name).lower(), list(valid), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def check_choice(key: str, value: object, valid: Collection[str]) -> None:
    """Raise InputError, offering the nearest valid name, unless ``value`` is one of ``valid``."""
    if not isinstance(value, str) or value not in valid:
        raise InputError(
            key, value, f"is not one of {', '.join(valid)}{nearest(str(value), valid)}"
        )


def check_key(key: str, name: object, valid: Collection[str]) -> None:
    """Raise InputError, offering the nearest valid name, for a key that does not exist."""
    if name not in valid:
        hint = nearest(str(name), valid)
        raise InputError(key, name, f"is not a known key (known: {', '.join(valid)}){hint}")


@dataclass(frozen=True)
class Range:
    """The interval that a numeric hyperparameter must lie in; ``low_open``: low itself is out."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{left}{self.low:.10g}, {self.high:.10g}{right}"

    @property
    def words(self) -> str:
        """``1 to 4,096``, ``from 0, below 1``, ``above 0, at most 10``."""
        low, high = f"{self.low:,.10g}", f"{self.high:,.10g}"
        if not (self.low_open or self.high_open):
            return f"{low} to {high}"
        start = f"{'above' if self.low_open else 'from'} {low}"
        return f"{start}, {'below' if self.high_open else 'at most'} {high}"


def check_number(key: str, value: object, allowed: Range) -> float:
    """Return ``value`` as a float, or raise InputError when it is no number in ``allowed``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(key, value, f"is not a number in {allowed}")
    if value not in allowed:
        raise InputError(key, value, f"is not in {allowed}")
    return float(value) + 0.0  # -0.0 equals 0.0 and must have its fingerprint too


def check_integer(key: str, value: object, allowed: Range) -> int:
    """Return ``value``, or raise InputError when it is no whole number in ``allowed``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(key, value, f"is not a whole number in {allowed}")
    if value not in allowed:
        raise InputError(key, value, f"is not in {allowed}")
    return value


def read_integer(key: str, text: str, allowed: Range) -> int:
    """A whole number from text. An error says ``allowed``, which is not checked here."""
    try:
        return int(text)
    except ValueError:
        raise InputError(key, text, f"is not a whole number in {allowed}") from None


def read_number(key: str, text: str, allowed: Range) -> float:
    """A number from text. An error says ``allowed``, which is not checked here."""
    try:
        return float(text)
    except ValueError:
        raise InputError(key, text, f"is not a number in {allowed}") from None
