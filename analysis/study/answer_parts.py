"""What an answer to a question of the study is made of: texts, tables, figures and commands.

The report shows it as HTML and as Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text. ``note``: it says what is missing, or what to be careful of."""

    kind: ClassVar = "text"
    text: str
    note: bool = False


@dataclass(frozen=True)
class Heading:
    kind: ClassVar = "heading"
    text: str


@dataclass(frozen=True)
class Figure:
    """A figure of the report, by its name."""

    kind: ClassVar = "figure"
    name: str


@dataclass(frozen=True)
class Table:
    """``numeric``: which columns are numbers, by their places, as ``"1 3"``."""

    kind: ClassVar = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numeric: str = ""


@dataclass(frozen=True)
class Command:
    """A command line, and the words for what it does."""

    kind: ClassVar = "command"
    words: str
    command: str


Block = Text | Heading | Figure | Table | Command


@dataclass
class Answer:
    """One question with what answers it. ``title``: as the page's navigation shows it."""

    id: str
    title: str
    question: str
    blocks: list[Block] = field(default_factory=list)
