"""Flags made from the fields of a configuration class, and their values read back.

A flag is written once, as its field: name, type, default, help and rule. Only flags that are no
field of a class are written in the module of their command.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from typing import Any

from analysis.packages.package_files import DEMO
from vgg6.common.checks import Range, check_integer, check_number, read_integer, read_number
from vgg6.common.fields import about, check_field, read_field, type_of
from vgg6.onnx_export.onnx_versions import FIRST_RUNTIME, LOWEST, OPSETS
from vgg6.tuning.settings import Settings

# What a session on an old search may change.
SESSION_FIELDS = ("address", "mps", "wandb", "verbose")
_FORMS: dict[Any, str] = {int: "N", float: "X", str: "NAME"}


def add_fields(
    parser: argparse.ArgumentParser,
    cls: type,
    names: Collection[str] = (),
    *,
    group: str = "",
    defaults: bool = True,
    ranges: bool = False,
) -> None:
    """A flag for each field of ``cls``, or for those named, under the headings of the fields.

    Values stay text, and None where nothing was typed: see ``read_fields``.

    Args:
        group: one heading for all of them.
        defaults: whether the help shows them; ranges: whether it shows those of numbers.
    """
    for field in _chosen(cls, names):
        heading = heading_of(parser, group or about(field).group)
        flag, text = f"--{field.name.replace('_', '-')}", _help(field, defaults, ranges)
        if type_of(cls, field) is bool:
            heading.add_argument(flag, action="store_true", default=None, help=text)
        else:
            heading.add_argument(flag, metavar=_form(cls, field), help=text)


def heading_of(parser: argparse.ArgumentParser, title: str) -> Any:
    """The group of flags with this title, made where there is none yet; "": the command itself."""
    if not title:
        return parser
    found = [group for group in parser._action_groups if group.title == title]
    return found[0] if found else parser.add_argument_group(title)


def read_fields(args: argparse.Namespace, cls: type, names: Collection[str] = ()) -> dict[str, Any]:
    """The values of the flags of ``add_fields`` that were typed.

    Raises:
        InputError: a text is no value of its field. The class checks the rest.
    """
    typed = {field: getattr(args, field.name) for field in _chosen(cls, names)}
    return {
        field.name: read_field(cls, field, given) if isinstance(given, str) else given
        for field, given in typed.items()
        if given is not None
    }


def fill_fields(args: argparse.Namespace, cls: type, names: Collection[str]) -> dict[str, Any]:
    """The values of all these fields, each checked; those that were not typed at their default."""
    typed = read_fields(args, cls, names)
    filled = {field: typed.get(field.name, field.default) for field in _chosen(cls, names)}
    for field, value in filled.items():
        check_field(cls, field, value)
    return {field.name: value for field, value in filled.items()}


def _chosen(cls: type, names: Collection[str]) -> list[Field[Any]]:
    return [field for field in fields(cls) if not names or field.name in names]


def _form(cls: type, field: Field[Any]) -> str:
    kind = type_of(cls, field)
    return about(field).form or _FORMS.get(kind, "VALUE")


def _help(field: Field[Any], defaults: bool, ranges: bool) -> str:
    """What the field is, its valid names or range, and its default, where they are to be shown."""
    rule, text = about(field), about(field).help
    if isinstance(rule.allowed, tuple):
        text += f": {', '.join(rule.allowed)}"
    elif ranges and rule.allowed is not None:
        text += f": {rule.allowed.words}"
    default, value = rule.unset, field.default
    if value is not MISSING and value is not None and not isinstance(value, bool):
        default = f"{value:g}" if isinstance(value, float) else str(value)
    return text + (f" (default: {default})" if default and defaults else "")


def read_whole(key: str, text: str, allowed: Range) -> int:
    """The value of a flag that is no field: a whole number in ``allowed``."""
    return check_integer(key, read_integer(key, text, allowed), allowed)


def read_real(key: str, text: str, allowed: Range) -> float:
    """The value of a flag that is no field: a number in ``allowed``."""
    return check_number(key, read_number(key, text, allowed), allowed)


def add_opset_flag(parser: Any) -> None:
    """``--opset``, of whatever is written as ONNX."""
    oldest = ", ".join(f"{n}: {version}" for n, version in FIRST_RUNTIME.items())
    parser.add_argument(
        "--opset",
        metavar="N",
        help=f"ONNX opset of model.onnx, {OPSETS.words} (default: {LOWEST}, which opens in most"
        f" runtimes). The oldest onnxruntime for each: {oldest}",
    )


def read_opset(args: argparse.Namespace) -> int:
    """The value of ``--opset``."""
    return LOWEST if args.opset is None else read_whole("opset", args.opset, OPSETS)


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """RUN, and where its name is looked up."""
    parser.add_argument(
        "run", metavar="RUN", help="a search: its name, its folder or its storage URI"
    )
    add_storage_flag(parser, "where names are looked up")


def add_force_flag(parser: Any) -> None:
    """``--force``, for a command that writes a package."""
    parser.add_argument("--force", action="store_true", help="replace the package that is in DIR")


def add_demo_flag(parser: Any) -> None:
    """``--demo``, for a command that writes a package."""
    text = f"write {DEMO} too: a page that says in a browser which class a picture is of"
    parser.add_argument("--demo", action="store_true", help=text)


def add_storage_flag(parser: argparse.ArgumentParser, text: str) -> None:
    default = Settings.storage
    parser.add_argument(
        "--storage", default=default, metavar="DIR|URI", help=f"{text} (default: {default})"
    )


def add_session_flags(parser: argparse.ArgumentParser) -> None:
    """Where a session that goes on with a search runs, and what it shows."""
    title = "this session (default: as the search began)"
    add_fields(parser, Settings, SESSION_FIELDS, group=title, defaults=False)
