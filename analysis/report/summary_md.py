"""The report's main figures and numbers for a repository: ``summary.md`` and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.figures.figure_files import BrowserFailed, draw_files, find_browser
from analysis.report.contents import ReportContents
from analysis.report.figure_titles import figure_titles
from analysis.report.page import TEMPLATES
from analysis.study.answer_parts import Figure
from analysis.winner.looks_at_test_set import looks_in_words
from analysis.winner.pareto import KINDS
from vgg6.common.files import write_atomic
from vgg6.common.templates import render


def write_summary(contents: ReportContents, folder: Path) -> str:
    """Write ``summary.md`` and, where a Chrome or Chromium draws them, every figure as a PNG file
    beside it. Returns why there are none; empty where there are."""
    folder.mkdir(parents=True, exist_ok=True)
    why = _draw(contents, folder)
    pictures = [] if why else list(contents.figures)
    write_atomic(folder / "summary.md", render_summary(contents, pictures).encode())
    return why


def _draw(contents: ReportContents, folder: Path) -> str:
    if not find_browser():
        return "they need Chrome or Chromium (or BROWSER_PATH)"
    files = {name: folder / f"{name}.png" for name in contents.figures}
    titles = figure_titles(contents)
    try:
        draw_files(
            {files[name]: figure for name, figure in contents.figures.items()},
            {file: titles[name] for name, file in files.items()},
        )
    except BrowserFailed as error:
        return str(error)
    return ""


def render_summary(contents: ReportContents, pictures: Sequence[str]) -> str:
    """The text of ``summary.md``. ``pictures``: the figures that are PNG files beside it."""
    answers = contents.study.answers if contents.study else []
    with_answers = {b.name for a in answers for b in a.blocks if isinstance(b, Figure)}
    return render(
        TEMPLATES, "summary.md", contents=contents, answers=answers, pictures=pictures,
        last_pictures=[name for name in pictures if name not in with_answers],
        confirmed=contents.confirmed, figure_titles=figure_titles(contents), kinds=KINDS,
        looks_in_words=looks_in_words, metric=contents.search.metric,
    )  # fmt: skip
