"""Typed records of what files hold, whoever wrote them: pydantic checks, and InputError explains.

A record is a subclass of ``Record``; its leaves are the annotated types below, which say their rule
as every other check of this program does. An error gives the path of the field
(``runtime.threads``), the value and the rule.

    class Machine(Record):
        cpus: Annotated[int, whole(1, 1024)]
        kind: Text = ""

    read_record(Machine, {"cpus": 0}, "machine.json: ")  # InputError: machine.json: cpus: 0 ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationError

from vgg6.common.checks import (
    InputError,
    Range,
    check_choice,
    check_integer,
    check_key,
    check_number,
)

TOP = "top level"  # the field of a file's whole content
FINITE = Range(-3.5e38, 3.5e38)  # what a float32 can hold
R = TypeVar("R", bound="Record")


class Record(BaseModel):
    """A frozen mapping of known fields. Fields that it does not know are dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return self.model_dump(mode="json")


class ClosedRecord(Record):
    """A record that refuses fields it does not know, and offers the nearest known one."""

    model_config = ConfigDict(extra="forbid")


class SparseRecord(Record):
    """A record that is written with the fields that it was made with, and no others."""

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


def leaf(check: Callable[[str, Any], Any]) -> Any:
    """The annotation of a value that ``check(field, value)`` passes, changes or refuses.

    A check that returns None leaves the value as it is.
    """

    def validated(value: Any) -> Any:
        found = check("", value)
        return value if found is None else found

    return PlainValidator(validated)


def _check_text(field: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InputError(field, value, "is not text")
    if "\0" in value:  # no path can hold one, and some texts become paths
        raise InputError(field, value, "holds a null byte")


def _check_flag(field: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InputError(field, value, "is not true or false")


def whole(low: int, high: int) -> Any:
    """The annotation of a whole number from ``low`` to ``high``."""
    return leaf(lambda field, value: check_integer(field, value, Range(low, high)))


def real(low: float = FINITE.low, high: float = FINITE.high) -> Any:
    """The annotation of a finite number from ``low`` to ``high``."""
    return leaf(lambda field, value: check_number(field, value, Range(low, high)))


def one_of(*names: str) -> Any:
    """The annotation of one of ``names``; an error offers the nearest."""
    return leaf(lambda field, value: check_choice(field, value, names))


def at_least(count: int) -> Any:
    """The annotation of a list that must not be shorter than ``count``."""

    def check(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) < count:
            raise InputError("", value, f"is not a list of {count} or more")
        return value

    return BeforeValidator(check)


Text = Annotated[str, leaf(_check_text)]
Flag = Annotated[bool, leaf(_check_flag)]
Count = Annotated[int, whole(0, 10**9)]
Seed = Annotated[int, whole(0, 2**32 - 1)]
Share = Annotated[float, real(0, 1)]
Real = Annotated[float, real()]


def read_record(kind: type[R], value: Any, where: str = "") -> R:
    """Make a record of what was read from a file.

    Args:
        where: put before the field of an error, such as ``"runs/a/search.json: "``.

    Raises:
        InputError: the first value that breaks a rule, with the path of its field.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _explained(kind, error, where) from None


def _explained(kind: type[Record], error: ValidationError, where: str) -> InputError:
    """The first problem that pydantic found, as field, value and rule."""
    found, *others = error.errors(include_url=False)
    if found["type"] == "missing":  # a misspelt name says more than the one that it leaves missing
        extra = [e for e in others if e["type"] == "extra_forbidden"]
        found = next((e for e in extra if e["loc"][:-1] == found["loc"][:-1]), found)
    path, value, problem = found["loc"], found["input"], found["type"]
    cause = found.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return InputError(where + field_of(path, cause.field), cause.value, cause.rule)
    if problem == "missing":
        return InputError(where + field_of(path[:-1]), path[-1], "is missing")
    if problem == "extra_forbidden":
        known = _fields_at(kind, path[:-1])
        try:
            check_key(where + field_of(path[:-1]), path[-1], known)
        except InputError as refusal:
            return refusal
    rules = {
        "list_type": "is not a list",
        "tuple_type": "is not a list",
        "dict_type": "is not a mapping of names to values",
        "model_type": "is not a mapping of names to values",
        "dataclass_type": "is not a mapping of names to values",
    }
    rule = rules.get(problem, f"is refused: {found['msg']}")
    return InputError(where + field_of(path), value, rule)


def field_of(path: Sequence[str | int], below: str = "") -> str:
    """A path as an error shows it: ``candidates[0].runs[2].seed``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    if below not in ("", TOP):
        text += below if below.startswith("[") or not text else f".{below}"
    return text or TOP


def _fields_at(kind: type[Record], path: Sequence[str | int]) -> list[str]:
    """The known fields of the record at ``path``."""
    for step in path:
        if isinstance(step, str) and step in kind.model_fields:
            inner = kind.model_fields[step].annotation
            candidates = [inner, *getattr(inner, "__args__", ())]
            kind = next(
                (c for c in candidates if isinstance(c, type) and issubclass(c, Record)), kind
            )
    return list(kind.model_fields)


@contextmanager
def located(prefix: str, drop: str = "") -> Iterator[None]:
    """Put ``prefix`` before the field of an InputError raised inside, less a leading ``drop``."""
    try:
        yield
    except InputError as error:
        raise InputError(prefix + error.field.removeprefix(drop), error.value, error.rule) from None
