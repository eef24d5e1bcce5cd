"""The parser of the command line: any spelling of a flag, and errors as the user typed them."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from vgg6.common.checks import InputError, check_choice, nearest, shown
from vgg6.common.files import check_characters
from vgg6.common.user_folders import expanded

PATH = re.compile("DIR|FILE|RUN|DATA")  # in the name that the help gives a value


class Unreadable(ValueError):
    """The words break the grammar of the command line."""


class Parser(argparse.ArgumentParser):
    """Reads ``--batch_size`` as ``--batch-size`` and offers the nearest flag or command."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The command and its flags; ``typed`` holds the words as they were given.

        Raises:
            InputError: a word is not known, or a flag lacks its value.
        """
        words = list(sys.argv[1:] if args is None else args)
        for word in words:
            check_characters("command line", word)
        dashed = [_dashed(word) for word in words]
        if dashed and not dashed[0].startswith("-"):
            check_choice("command", dashed[0], self.subcommands())
        try:
            found, unknown = self.parse_known_args(dashed, namespace)
        except Unreadable as error:
            rule = f"cannot be read: {error}"
            raise InputError("command line", shlex.join(words), rule) from None
        if unknown:
            flags = self.flags_of(found.command) if unknown[0].startswith("-") else []
            raise InputError("argument", unknown[0], f"is not known{nearest(unknown[0], flags)}")
        found.typed = words
        self._expand_paths(found)
        return found

    def _expand_paths(self, found: Any) -> None:
        """Replace ``~`` and ``$HOME`` in what the help calls a folder, a file, data or a run."""
        for action in self.subcommands()[found.command]._actions:
            value = getattr(found, action.dest, None)
            if not PATH.search(str(action.metavar)) or not value:
                continue
            many = [expanded(v) for v in value] if isinstance(value, list) else expanded(value)
            setattr(found, action.dest, many)

    def subcommands(self) -> dict[str, argparse.ArgumentParser]:
        """The parser of each command."""
        action = next(a for a in self._actions if isinstance(a, argparse._SubParsersAction))
        return dict(action.choices)

    def flags_of(self, command: str) -> list[str]:
        """All flags of one command."""
        return [f for a in self.subcommands()[command]._actions for f in a.option_strings]

    def spelled(self, error: InputError, words: Sequence[str]) -> str:
        """An error as this command's user knows its fields: ``--batch_size``, if so typed."""
        names = self._names(words)
        typed = {_dashed(w.partition("=")[0]): w.partition("=")[0] for w in words}

        def name(field: str) -> str:
            return typed.get(names[field], names[field]) if field in names else field

        first, space, rest = error.field.partition(" ")
        rule = re.sub(r"`(\w+)`", lambda m: name(m[1]) if m[1] in names else m[0], error.rule)
        return f"{name(first)}{space}{rest}: {shown(error.value)} {rule}"

    def _names(self, words: Sequence[str]) -> dict[str, str]:
        """The fields of the command in ``words``, as its help spells them."""
        command = self.subcommands().get(words[0]) if words else None
        return {
            a.dest: a.option_strings[-1] if a.option_strings else str(a.metavar or a.dest)
            for a in (command._actions if command else ())
        }

    def error(self, message: str) -> NoReturn:
        raise Unreadable(message)


def _dashed(word: str) -> str:
    """``--batch_size=64`` as ``--batch-size=64``; values and paths stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value
