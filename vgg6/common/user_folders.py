"""Folders of this user: the home, and the cache of images, measurements and staged files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vgg6.common.checks import InputError


def expanded(path: str) -> str:
    """A path with its ``~``, ``~user`` or ``$HOME`` replaced, where no shell has done it: in
    quotes, in the environment, behind an equals sign.

    Raises:
        InputError: as ``home``.
    """
    path = re.sub(r"^\$(?:HOME\b|\{HOME\})", "~", path)
    if Path(path).parts[:1] == ("~",):
        home()
    return os.path.expanduser(path)


def home() -> Path:
    """This user's home folder.

    Raises:
        InputError: there is none: a container's user of a random number may lack one.
    """
    found = os.path.expanduser("~")
    if found == "~":
        rule = "is not set, and the system knows no home of this user: set it to a folder"
        raise InputError("HOME", "", rule)
    return Path(found)


def user_cache() -> Path:
    """The folder for what this user need not make twice; it may not exist yet.

    Raises:
        InputError: as ``home``.
    """
    named = expanded(os.environ.get("XDG_CACHE_HOME", ""))
    return Path(named or home() / ".cache") / "tune_vgg6"
