"""A bad value: the command line that meets it, what is changed before, what the message says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEARCH = ["search", "--data", "digits", "--wandb", "disabled"]


@dataclass(frozen=True)
class Case:
    """``arguments`` and ``says`` may hold ``{at}``, the folder that ``change`` was given."""

    name: str
    arguments: list[str]
    says: list[str]
    change: Callable[[Path], object] = lambda at: None
    environment: dict[str, str] = field(default_factory=dict)


def written(name: str, content: str | bytes) -> Callable[[Path], object]:
    content = content.encode() if isinstance(content, str) else content
    return lambda at: (at / name).write_bytes(content)


def keyed(file: str, keys: str, value: Any) -> Callable[[Path], object]:
    """Set one key (``a/0/b``), or remove it where ``value`` is KeyError, in a JSON file."""

    def change(at: Path) -> None:
        content = json.loads((at / file).read_text())
        *path, last = [int(k) if k.isdigit() else k for k in keys.split("/")]
        inner = content
        for key in path:
            inner = inner[key]
        if value is KeyError:
            del inner[last]
        else:
            inner[last] = value
        (at / file).write_text(json.dumps(content))

    return change
