"""Find a space by its name, or read one from a user's YAML file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from search_spaces import default, sizes, study, study_grid, study_sigmoide, wide
from search_spaces.parameter import PARAMETER_NAMES, Parameter, check_name
from search_spaces.space import Space
from vgg6.common.checks import InputError, check_key, nearest
from vgg6.common.schema import located
from vgg6.config import parse_value

SPACES = {
    module.SPACE.name: module.SPACE
    for module in (default, wide, sizes, study, study_sigmoide, study_grid)
}
SPACE_NAMES = tuple(SPACES)

TOP_KEYS = ("name", "description", "parameters", "fixed", "points")
ENTRY_KEYS = ("choices", "low", "high", "log", "step", "when")
SIZE_LIMIT = 64 * 1024  # bytes; a bad file must be refused within two seconds
DEPTH_LIMIT = 8  # a valid file is five deep; without a limit a bomb of brackets would hang


def load_space(name_or_path: str) -> Space:
    """Return a shipped space by its name, or read one from a ``.yaml`` or ``.yml`` file.

    Raises:
        InputError: there is no such space or file, or the file breaks a rule; in the latter case
            the key says where, like ``mine.yaml: parameters.lr[0].low``.
    """
    if name_or_path in SPACES:
        return SPACES[name_or_path]
    if not name_or_path.lower().endswith((".yaml", ".yml")):
        known = f"is not one of {', '.join(SPACE_NAMES)}, nor a path ending in .yaml or .yml"
        raise InputError("space", name_or_path, known + nearest(name_or_path, SPACE_NAMES))
    try:
        with Path(name_or_path).open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError("space", name_or_path, f"cannot be read: {error.strerror}") from None
    if len(data) > SIZE_LIMIT:
        raise InputError("space", name_or_path, f"is larger than {SIZE_LIMIT} bytes")
    with located(f"{name_or_path}: "):
        return _space(_parse(data), Path(name_or_path).stem)


def _parse(data: bytes) -> Any:
    """Read one YAML document as mappings, lists and *text*.

    YAML 1.1 would read ``no`` as false and ``1e-3`` as text, and its tags can name Python objects.
    The field that a value is for says better what it is, so nothing is converted here.
    """
    events = _events(data)
    next(events)  # the start of the stream
    if isinstance(next(events), yaml.StreamEndEvent):
        raise InputError("top level", "", "is empty: a space needs `parameters`")
    document = _node(events, next(events), depth=0)
    next(events)  # the end of the document
    if not isinstance(next(events), yaml.StreamEndEvent):
        raise InputError("top level", "---", "starts a second document: a file holds one space")
    return document


def _events(data: bytes) -> Iterator[Any]:
    try:
        yield from yaml.parse(data, Loader=yaml.BaseLoader)
    # ValueError: PyYAML lets those of int() and chr() through, for an escape such as "\U00110000".
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line if mark else 0
        text = "".join(data.decode("utf-8", "replace").splitlines()[line : line + 1]).strip()
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        where = f"line {line + 1}" if mark else "text"
        raise InputError(where, text[:80], f"is not valid YAML: {reason}") from None


def _node(events: Iterator[Any], event: Any, depth: int) -> Any:
    """Build the value that starts with ``event``; refuse what could repeat or hide content."""
    where = f"line {event.start_mark.line + 1}"
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise InputError(where, event.anchor, "is an anchor or alias: write the value out")
    if event.tag is not None:
        raise InputError(where, event.tag, "is a tag: plain values only")
    if depth > DEPTH_LIMIT:
        raise InputError(where, depth, f"levels of nesting are more than {DEPTH_LIMIT}")
    if isinstance(event, yaml.ScalarEvent):
        return event.value
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_node(events, event, depth + 1))
        return items
    mapping: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _node(events, event, depth + 1)
        where = f"line {event.start_mark.line + 1}"
        if not isinstance(key, str):
            raise InputError(where, key, "is no name, and stands as the key of a mapping")
        if key in mapping:
            raise InputError(where, key, "stands twice in one mapping")
        mapping[key] = _node(events, next(events), depth + 1)
    return mapping


def _space(document: Any, stem: str) -> Space:
    _check_mapping("top level", document, TOP_KEYS)
    name = document.get("name", stem)
    parameters = tuple(_parameters(document.get("parameters", {})))
    fixed = _values("fixed", document.get("fixed", {}))
    points = document.get("points", [])
    _check_list("points", points)
    points = tuple(_values(f"points[{i}]", point) for i, point in enumerate(points))
    with located("", drop=f"space {name!r}: "):
        description = document.get("description", "")
        return Space(
            name=name, description=description, parameters=parameters, fixed=fixed, points=points
        )


def _parameters(document: Any) -> Iterator[Parameter]:
    _check_mapping("parameters", document)
    for name, entry in document.items():
        check_name("parameters", name)
        where = f"parameters.{name}"
        if not isinstance(entry, list):
            yield _parameter(where, name, entry)
            continue
        _check_list(where, entry)
        if not entry:
            raise InputError(where, entry, "is an empty list: one entry a condition")
        for index, item in enumerate(entry):
            yield _parameter(f"{where}[{index}]", name, item)


def _parameter(where: str, name: str, entry: Any) -> Parameter:
    _check_mapping(where, entry, ENTRY_KEYS)
    values: dict[str, Any] = {}
    if "choices" in entry:
        values["choices"] = _value_list(f"{where}.choices", name, entry["choices"])
    for bound in ("low", "high"):
        if bound in entry:
            values[bound] = _value(f"{where}.{bound}", name, entry[bound])
    if "step" in entry:
        # A step is a distance between batch sizes, so it is read as one.
        values["step"] = _value(f"{where}.step", "batch_size", entry["step"])
    if "log" in entry:
        if str(entry["log"]).lower() not in ("true", "false"):
            raise InputError(f"{where}.log", entry["log"], "is not true or false")
        values["log"] = entry["log"].lower() == "true"
    if "when" in entry:
        _check_mapping(f"{where}.when", entry["when"])
        values["when"] = {}
        for parent, allowed in entry["when"].items():
            check_name(f"{where}.when", parent)
            listed = [allowed] if isinstance(allowed, str) else allowed
            values["when"][parent] = _value_list(f"{where}.when.{parent}", parent, listed)
    with located(where, drop=f"parameters.{name}"):
        return Parameter(name=name, **values)


def _values(where: str, document: Any) -> dict[str, Any]:
    _check_mapping(where, document, (*PARAMETER_NAMES, "epochs", "seed"))
    return {name: _value(f"{where}.{name}", name, text) for name, text in document.items()}


def _value_list(where: str, name: str, items: Any) -> tuple[Any, ...]:
    _check_list(where, items)
    return tuple(_value(f"{where}[{index}]", name, text) for index, text in enumerate(items))


def _value(where: str, name: str, text: Any) -> Any:
    """Read one value of the field ``name``; its range is checked by whoever takes it."""
    if not isinstance(text, str):
        raise InputError(where, text, "is not a single value")
    with located(where, drop=name):
        return parse_value(name, text)


def _check_mapping(where: str, value: Any, keys: Collection[str] = ()) -> None:
    if not isinstance(value, dict):
        expected = ", ".join(keys or PARAMETER_NAMES)
        raise InputError(where, value, f"is not a mapping of names to values ({expected})")
    for key in value if keys else ():
        check_key(where, key, keys)


def _check_list(where: str, value: Any) -> None:
    if not isinstance(value, list):
        raise InputError(where, value, "is not a list, such as [a, b]")
