"""What was measured on this machine, kept in a file for the next process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from vgg6.common.files import write_atomic
from vgg6.common.user_folders import user_cache


@dataclass
class _Known:
    """Measurements by their keys. ``own``: keys of what this process measured; ``unwritable``: why
    the file could not be written, if it could not."""

    found: dict[str, Any]
    own: set[str] = field(default_factory=set)
    unwritable: str = ""


def cache_file() -> Path:
    """Where measurements are kept; remove it to measure again."""
    return user_cache() / "speeds.json"


def recall(key: str) -> Any:
    """What ``remember`` was given for this key, here or in an earlier process; else None."""
    return _known(cache_file()).found.get(key)


def remember(key: str, found: Any, *, keep: bool = True) -> None:
    """Keep a measurement, which is plain JSON.

    Args:
        keep: for other processes, too.
    """
    known = _known(cache_file())
    known.found[key] = found
    known.own.add(key)
    if keep:
        _write(_read(cache_file()) | {key: found})


def forget(key: str) -> None:
    """Let this be measured again, here and by other processes."""
    known = _known(cache_file())
    known.found.pop(key, None)
    known.own.discard(key)
    kept = _read(cache_file())
    if kept.pop(key, None) is not None:
        _write(kept)


def is_own(key: str) -> bool:
    """Whether this process has made the measurement that it has for this key."""
    return key in _known(cache_file()).own


def is_kept(key: str) -> bool:
    """Whether the file holds a measurement for this key."""
    return key in _read(cache_file())


def why_unwritable() -> str:
    """What kept this process from writing the file; empty where nothing did."""
    return _known(cache_file()).unwritable


def remembered(part: str) -> dict[str, Any]:
    """All measurements whose keys contain this, by their keys."""
    return {key: found for key, found in _known(cache_file()).found.items() if part in key}


def _write(kept: dict[str, Any]) -> None:
    known = _known(cache_file())
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(cache_file(), json.dumps(kept, indent=1).encode(), sync=False)
        known.unwritable = ""
    except OSError as error:  # it is only a cache: without it the next process measures again
        known.unwritable = error.strerror or str(error)


@lru_cache
def _known(file: Path) -> _Known:
    return _Known(_read(file))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
