"""Records of what files hold: each rule that is broken is said with its field, value and rule."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from vgg6.common.checks import InputError
from vgg6.common.schema import (
    ClosedRecord,
    Count,
    Record,
    Text,
    at_least,
    one_of,
    read_record,
    whole,
)


class Arithmetic(ClosedRecord):
    precision: Annotated[str, one_of("bf16", "fp32")]
    threads: Annotated[int, whole(1, 1024)]


class Whole(Record):
    name: Text
    trials: Annotated[int, whole(0, 10**6)]
    runtime: Arithmetic
    runs: Annotated[list[Arithmetic], at_least(1)]
    limit: Count | None = None


GOOD = {
    "name": "a", "trials": 3, "runtime": {"precision": "bf16", "threads": 2},
    "runs": [{"precision": "fp32", "threads": 1}], "of a later version": 1,
}  # fmt: skip


def test_a_good_file_is_a_typed_record_and_gives_its_values_back() -> None:
    found = read_record(Whole, GOOD)
    assert found.runtime.threads == 2 and found.runs[0].precision == "fp32"
    known = {k: v for k, v in GOOD.items() if k != "of a later version"}
    assert found.to_dict() == known | {"limit": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 2.5}, "trials: 2.5 is not a whole number in [0, 1000000]"),
        ({"trials": True}, "trials: True is not a whole number in [0, 1000000]"),
        ({"trials": -1}, "trials: -1 is not in [0, 1000000]"),
        ({"name": None}, "name: None is not text"),
        ({"name": "a\0"}, "name: 'a\\x00' holds a null byte"),
        ({"runtime": None}, "runtime: None is not a mapping of names to values"),
        ({"runtime": {"precision": "bf16"}}, "runtime: 'threads' is missing"),
        (
            {"runtime": {"precision": "bf61", "threads": 2}},
            "runtime.precision: 'bf61' is not one of bf16, fp32; did you mean 'bf16'?",
        ),
        (
            {"runtime": {"precision": "bf16", "threads": 2, "thraeds": 1}},
            "runtime: 'thraeds' is not a known key (known: precision, threads);"
            " did you mean 'threads'?",
        ),
        ({"runs": []}, "runs: [] is not a list of 1 or more"),
        ({"runs": 7}, "runs: 7 is not a list of 1 or more"),
        ({"runs": [3]}, "runs[0]: 3 is not a mapping of names to values"),
        ({"limit": "x"}, "limit: 'x' is not a whole number in [0, 1000000000]"),
    ],
)
def test_a_broken_rule_is_said_with_the_path_of_its_field(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as refusal:
        read_record(Whole, GOOD | change, "a.json: ")
    assert str(refusal.value) == f"a.json: {message}"


def test_what_is_no_mapping_at_all_is_refused_as_a_whole() -> None:
    for content in (None, [1], "text", 3):
        with pytest.raises(InputError, match="top level: .* is not a mapping"):
            read_record(Whole, content)
    with pytest.raises(InputError, match="top level: 'name' is missing"):
        read_record(Whole, {k: v for k, v in GOOD.items() if k != "name"})
