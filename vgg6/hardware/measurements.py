"""What was measured on this machine, kept in a file for the next process."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from vgg6.common.files import user_cache, write_atomic


def cache_file() -> Path:
    """Where measurements are kept; remove it to measure again."""
    return user_cache() / "speeds.json"


def recall(key: str) -> Any:
    """What ``remember`` was given for this key, here or in an earlier process; else None."""
    return _known(cache_file()).get(key)


def remember(key: str, found: Any, *, keep: bool = True) -> None:
    """Keep a measurement, which is plain JSON.

    Args:
        keep: for other processes, too.
    """
    known = _known(cache_file())
    known[key] = found
    if keep:
        _keep(known)


def forget(key: str) -> None:
    """Let this be measured again, here and by other processes."""
    known = _known(cache_file())
    if known.pop(key, None) is not None:
        _keep(known)


def is_kept(key: str) -> bool:
    """Whether the file holds a measurement for this key."""
    return key in _read(cache_file())


def remembered(part: str) -> dict[str, Any]:
    """All measurements whose keys contain this, by their keys."""
    return {key: found for key, found in _known(cache_file()).items() if part in key}


def _keep(known: dict[str, Any]) -> None:
    with suppress(OSError):  # it is only a cache: without it the next process measures again
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(cache_file(), json.dumps(known, indent=1).encode(), sync=False)


@lru_cache
def _known(file: Path) -> dict[str, Any]:
    return _read(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
