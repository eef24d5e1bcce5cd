"""Fields that carry their rule: the class refuses by it, and text is read by it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest

from vgg6.common.checks import InputError, Range
from vgg6.common.fields import check_fields, described, metadata, read_field


def check_even(key: str, value: float | str) -> None:
    if value != "any" and (isinstance(value, str) or value % 2):
        raise InputError(key, value, "is not even")


@dataclass(frozen=True, kw_only=True)
class Example:
    name: str = field(metadata=metadata("name"))
    kind: str = described("a", "kind", ("a", "b"))
    count: int = described(3, "count", Range(1, 10))
    most: int | None = described(None, "most", Range(1, 10))
    ratio: float = described(0.5, "ratio", Range(0, 1))
    loud: bool = described(False, "loud")
    even: float | str | None = described(None, "even", check=check_even)

    def __post_init__(self) -> None:
        check_fields(self)


FIELDS = {one.name: one for one in fields(Example)}


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("name", 3, "is not text"), ("name", None, "is not text"),
        ("kind", "c", "is not one of a, b"), ("kind", None, "is not one of a, b"),
        ("count", 0, "is not in [1, 10]"), ("count", 2.0, "is not a whole number in [1, 10]"),
        ("count", None, "is not a whole number"), ("count", True, "is not a whole number"),
        ("most", 11, "is not in [1, 10]"), ("most", "4", "is not a whole number"),
        ("ratio", 1.5, "is not in [0, 1]"), ("ratio", float("nan"), "is not in [0, 1]"),
        ("ratio", "0.5", "is not a number in [0, 1]"),
        ("loud", 1, "is not true or false"), ("loud", None, "is not true or false"),
        ("even", 3, "is not even"), ("even", "all", "is not even"),
    ],
)  # fmt: skip
def test_a_value_that_breaks_its_fields_rule_is_refused_by_name(
    name: str, value: Any, rule: str
) -> None:
    good = Example(name="x", most=4, even="any")
    with pytest.raises(InputError) as caught:
        replace(good, **{name: value})
    assert (caught.value.field, caught.value.value) == (name, value) or value != value
    assert rule in str(caught.value)


def test_none_is_taken_where_the_type_has_it() -> None:
    assert Example(name="x").most is None
    assert replace(Example(name="x", most=4), most=None) == Example(name="x")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("name", "3", "3"), ("kind", "zzz", "zzz"), ("count", "99", 99), ("most", "4", 4),
     ("ratio", "1e-3", 1e-3)],
)  # fmt: skip
def test_text_is_read_by_type_and_left_to_the_class_to_check(
    name: str, text: str, value: Any
) -> None:
    got = read_field(Example, FIELDS[name], text)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [("count", "2.5", "is not a whole number in [1, 10]"), ("ratio", "x", "is not a number in")],
)
def test_text_that_is_no_such_value_is_refused_with_what_is_allowed(
    name: str, text: str, rule: str
) -> None:
    with pytest.raises(InputError, match="is not a") as caught:
        read_field(Example, FIELDS[name], text)
    assert caught.value.field == name and rule in str(caught.value)
