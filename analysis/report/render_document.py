"""Answers as parts of the report: as HTML and as Markdown, with every text escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from analysis.study.answer import Answer, Block, Command, Figure, Heading, Table, Text
from vgg6.common.markdown import fenced, plain

LAST_ANSWERS = ("study-4", "study-5")  # after the pictures of every trial
TableHtml = Callable[[Sequence[str], Sequence[Sequence[Any]], str], str]


def answers_as_html(
    answers: Sequence[Answer], figure: Callable[[str], str], table: TableHtml
) -> list[tuple[str, str, str]]:
    """Sections of the page: id, title and HTML.

    Args:
        figure, table: how the page shows these.
    """
    return [
        (
            answer.id,
            escape(answer.title),
            f"<p><b>{escape(answer.question)}</b></p>"
            + "".join(_html(block, figure, table) for block in answer.blocks),
        )
        for answer in answers
    ]


def _html(block: Block, figure: Callable[[str], str], table: TableHtml) -> str:
    match block:
        case Text(text, note):
            return f'<p class="note">{escape(text)}</p>' if note else f"<p>{escape(text)}</p>"
        case Heading(text):
            return f"<h3>{escape(text)}</h3>"
        case Figure(name):
            return figure(name)
        case Table(head, rows, numeric):
            return table(head, rows, numeric)
        case Command(words, command):
            return f"<h3>{escape(words)}</h3><pre><code>{escape(command)}</code></pre>"


def answers_as_markdown(
    answers: Sequence[Answer], pictures: Sequence[str], titles: Mapping[str, str]
) -> tuple[list[str], set[str]]:
    """Lines of Markdown, and which of the ``pictures`` (PNG files beside it) they show."""
    lines: list[str] = []
    for answer in answers:
        lines += [f"## {plain(answer.title)}", "", f"*{plain(answer.question)}*", ""]
        for block in answer.blocks:
            lines += _markdown(block, pictures, titles)
    blocks = [block for answer in answers for block in answer.blocks]
    return lines, {b.name for b in blocks if isinstance(b, Figure)}


def _markdown(block: Block, pictures: Sequence[str], titles: Mapping[str, str]) -> list[str]:
    match block:
        case Text(text, note):
            return [f"{'> ' if note else ''}{plain(text)}", ""]
        case Heading(text):
            return [f"### {plain(text)}", ""]
        case Figure(name):
            return [f"![{titles[name]}]({name}.png)", ""] if name in pictures else []
        case Table(head, rows, numeric):
            right = numeric.split()
            rule = "|".join("--:" if str(i) in right else "---" for i in range(len(head)))
            lines = [f"| {' | '.join(map(plain, head))} |", f"|{rule}|"]
            lines += [f"| {' | '.join(plain(str(cell)) for cell in row)} |" for row in rows]
            return [*lines, ""]
        case Command(words, command):
            return [f"{plain(words)}:", "", *fenced([command]), ""]
