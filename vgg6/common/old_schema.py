"""Checks of what somebody else's file holds: an error names the key, the value and the rule.

A check is a function of a key (as an error shows it) and a value, and raises InputError.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vgg6.common.checks import (
    InputError,
    Range,
    check_choice,
    check_integer,
    check_key,
    check_number,
)
from vgg6.config import TrialConfig

Check = Callable[[str, Any], object]
TOP = "top level"  # the key of a file's whole content
FINITE = Range(-3.5e38, 3.5e38)  # what a float32 can hold


@contextmanager
def located(prefix: str, drop: str = "") -> Iterator[None]:
    """Put ``prefix`` before the key of an InputError raised inside, less a leading ``drop``."""
    try:
        yield
    except InputError as error:
        raise InputError(prefix + error.field.removeprefix(drop), error.value, error.rule) from None


def text(key: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InputError(key, value, "is not text")
    if "\0" in value:  # no path can hold one, and some texts become paths
        raise InputError(key, value, "holds a null byte")


def flag(key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InputError(key, value, "is not true or false")


def integer(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""
    allowed = Range(low, high)
    return lambda key, value: check_integer(key, value, allowed)


def number(low: float = FINITE.low, high: float = FINITE.high) -> Check:
    """A finite number from ``low`` to ``high``."""
    allowed = Range(low, high)
    return lambda key, value: check_number(key, value, allowed)


def one_of(names: Collection[str]) -> Check:
    return lambda key, value: check_choice(key, value, names)


def optional(check: Check) -> Check:
    """``check``, or null."""
    return lambda key, value: None if value is None else check(key, value)


def each(check: Check, *, least: int = 0) -> Check:
    """A list of at least ``least`` values that each pass ``check``."""

    def listed(key: str, value: Any) -> None:
        if not isinstance(value, list) or len(value) < least:
            raise InputError(key, value, f"is not a list{f' of {least} or more' if least else ''}")
        for index, item in enumerate(value):
            check(f"{key}[{index}]", item)

    return listed


def mapping(
    required: Mapping[str, Check],
    others: Mapping[str, Check] | None = None,
    *,
    closed: bool = False,
) -> Check:
    """A mapping with all keys of ``required``; ``others`` are checked where they are there.

    ``closed``: no other key may be.
    """
    checks = {**required, **(others or {})}

    def mapped(key: str, value: Any) -> None:
        if not isinstance(value, dict):
            names = f" ({', '.join(checks)})" if checks else ""
            raise InputError(key, value, f"is not a mapping of names to values{names}")
        for name in value if closed else ():
            check_key(key, name, checks)
        for name in required:
            if name not in value:
                raise InputError(key, name, "is missing")
        for name, check in checks.items():
            if name in value:
                check(name if key == TOP else f"{key}.{name}", value[name])

    return mapped


def config(key: str, value: Any) -> None:
    """The mapping of a TrialConfig."""
    mapping({})(key, value)
    with located(f"{key}."):
        TrialConfig.from_mapping(value)
