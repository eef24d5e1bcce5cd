"""Fields of a configuration class that carry their help, their rule and how their text is read.

A field is written once. The class checks itself by it, and whoever offers its fields to a person
finds all that is to be said there::

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        epochs: int = described(30, "full length of a trial", Range(1, 10_000))

        def __post_init__(self) -> None:
            check_fields(self)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from vgg6.common.checks import (
    InputError,
    Range,
    check_choice,
    check_integer,
    check_number,
    read_integer,
    read_number,
)

T = TypeVar("T")
ANY_NUMBER = Range(float("-inf"), float("inf"))


@dataclass(frozen=True)
class About:
    """What is known of a field besides its type and its default.

    Attributes:
        help: what it is, in a few words.
        allowed: the interval of a number, or the valid names.
        group: the heading that it stands under.
        check: a rule beyond type and ``allowed``: takes the field's name and a value, and raises
            InputError.
        read: makes a value of text, where that is not done by type: takes the field's name and the
            text, and raises InputError.
        form: how a person writes a value, such as ``90s|30m|2h``; empty: by type.
        unset: what holds while it is None, in words.
    """

    help: str
    allowed: Range | tuple[str, ...] | None = None
    group: str = ""
    check: Callable[[str, Any], None] | None = None
    read: Callable[[str, str], Any] | None = None
    form: str = ""
    unset: str = ""


def described(
    default: T, help: str, allowed: Range | tuple[str, ...] | None = None, **more: Any
) -> T:
    """A dataclass field with this default; ``more``: what else ``About`` takes."""
    return field(  # type: ignore[return-value]
        default=default, metadata=metadata(help, allowed, **more)
    )


def metadata(help: str, allowed: Range | tuple[str, ...] | None = None, **more: Any) -> Any:
    """The same for a field without a default: ``field(metadata=metadata(...))``."""
    return {"about": About(help, allowed, **more)}


def about(one: Field[Any]) -> About:
    """What ``described`` was told of a field."""
    found: About = one.metadata["about"]
    return found


@cache
def types_of(cls: type) -> dict[str, frozenset[type]]:
    """The types that each field takes: ``{int, NoneType}`` for ``int | None``."""
    return {
        name: frozenset(get_args(hint) if isinstance(hint, UnionType) else (hint,))
        for name, hint in get_type_hints(cls).items()
    }


def type_of(cls: type, one: Field[Any]) -> type | None:
    """The one type of a field besides None; None where it takes several."""
    kinds = types_of(cls)[one.name] - {NoneType}
    return next(iter(kinds)) if len(kinds) == 1 else None


def check_fields(instance: Any) -> None:
    """Check each field of a dataclass instance by its type and its own rule.

    Raises:
        InputError: a value breaks its rule; names the field.
    """
    for one in fields(instance):
        check_field(type(instance), one, getattr(instance, one.name))


def check_field(cls: type, one: Field[Any], value: Any) -> None:
    """Raise InputError unless ``value`` is one that this field may hold."""
    if value is None and NoneType in types_of(cls)[one.name]:
        return
    rule, kind = about(one), type_of(cls, one)
    if isinstance(rule.allowed, tuple):
        check_choice(one.name, value, rule.allowed)
    elif kind is str and not isinstance(value, str):
        raise InputError(one.name, value, "is not text")
    elif kind is bool and not isinstance(value, bool):
        raise InputError(one.name, value, "is not true or false")
    elif kind is int:
        check_integer(one.name, value, rule.allowed or ANY_NUMBER)
    elif kind is float:
        check_number(one.name, value, rule.allowed or ANY_NUMBER)
    if rule.check:
        rule.check(one.name, value)


def read_field(cls: type, one: Field[Any], text: str) -> Any:
    """A field's value from text. Its range is checked by the class.

    Raises:
        InputError: the text is no such value.
    """
    rule, kind = about(one), type_of(cls, one)
    if rule.read:
        return rule.read(one.name, text)
    allowed = rule.allowed if isinstance(rule.allowed, Range) else ANY_NUMBER
    if kind is int:
        return read_integer(one.name, text, allowed)
    if kind is float:
        return read_number(one.name, text, allowed)
    return text
