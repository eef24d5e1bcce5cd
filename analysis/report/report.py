"""A search's report: one HTML file that needs no network, PNG files, and a Markdown summary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from analysis.figures import plots
from analysis.figures.figure_files import draw_files, find_browser
from analysis.insights.insights import insights
from analysis.report import compression_front, sections
from analysis.report import summary_md as words
from analysis.report.compression_front import compressed
from analysis.report.contents import ReportContents
from analysis.report.mistakes import mistakes
from analysis.report.timeline import rung_counts, spans
from analysis.results.search_tables import load_search, load_table, load_trials
from analysis.study.questions import AskedSearch, study
from analysis.winner.pareto import cost_of
from analysis.winner.ranking import summary
from analysis.winner.test_looks import looks
from vgg6.common.files import write_atomic
from vgg6.config import FIELD_NAMES
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.records import read_search

PAGE = Path(__file__).parent / "page"


def gather(run: RunFolder) -> ReportContents:
    """Read a run folder, running or ended, and draw its figures.

    Raises:
        InputError: the journal is damaged in its middle.
    """
    facts, history = read_search(run), read_history(run)
    scored = bool(history.ranking())
    found = ReportContents(
        facts=facts,
        history=history,
        table=load_table(run),
        trials=load_trials(run),
        best=summary(run, top=10) if scored else None,
        insights=insights(load_search(run)),
        mistakes=mistakes(run, history) if scored else {"missing": "no trial has a score yet"},
        test_looks=looks(run),
        rungs=rung_counts(history, facts),
        compressed=compressed(run),
    )
    found.figures = dict(_figures(found))
    return found


def answer_study(run: RunFolder, found: ReportContents, also: Sequence[RunFolder]) -> None:
    """Put the study's questions and their answers into what ``gather`` found.

    Raises:
        InputError: as ``analysis.study.questions.study``.
    """
    asked = AskedSearch(found.facts, found.history, found.table, found.best)
    found.study = study(run, asked, also)
    found.figures |= found.study.figures


def _figures(found: ReportContents) -> Iterator[tuple[str, go.Figure]]:
    trials, table, mattered = found.trials, found.table, found.insights
    if not len(table):
        return
    names = [n for n in FIELD_NAMES if trials[n].astype(str).nunique() > 1]
    yield "parallel", plots.parallel(trials, names)
    yield "progress", plots.progress(trials)
    yield "curves", plots.curves(table)
    yield "by_activation", plots.small_multiples(table, "activation", "optimizer")
    yield "by_optimizer", plots.small_multiples(table, "optimizer", "activation")
    if mattered["importance"]:
        yield "importance", plots.importance(mattered["importance"])
    if mattered["interaction"]:
        yield "interaction", plots.interaction(mattered["interaction"])
    for kind, rows in mattered["effects"].items():
        if any(row["difference"] is not None for row in rows):
            yield f"effect_{kind}", plots.effect(rows)
    if any(rung["arrived"] for rung in found.rungs):
        yield "rungs", plots.rungs(found.rungs)
    yield "cluster", plots.cluster(*spans(found.history))
    if found.best:
        costs = [cost_of(t) for t in found.history.ranking()]
        yield "pareto", plots.pareto(costs, found.best["pareto"])
        if found.best["confirmation"]:
            yield "confirmation", plots.confirmation(found.best["confirmation"])
    if "confusion" in found.mistakes:
        yield "confusion", plots.confusion(found.mistakes["confusion"], found.mistakes["classes"])
    if found.compressed:
        yield "compression", compression_front.draw(found.compressed)


def render_page(found: ReportContents, live: str = "") -> str:
    """The whole page as text. ``live``: its version, where it is served and asks for newer ones."""
    parts = sections.of(found)
    nav = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in parts)
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{title}</h2>'
        f"{content}</section>"
        for name, title, content in parts
    )
    shown_trials = found.trials.dropna(subset=["best_val_acc"])
    rows = shown_trials[["trial", "label", "best_val_acc"]].values.tolist()
    body += f'<script type="application/json" id="trials">{embedded(rows)}</script>'
    if live:
        body += f'<div data-live="{escape(live)}"></div>'
    figures = {name: json.loads(str(fig.to_json())) for name, fig in found.figures.items()}
    return Template((PAGE / "page.html").read_text()).substitute(
        title=escape(f"{found.title}: report"),
        heading=escape(found.title),
        subtitle=escape(words.subtitle(found)),
        nav=f"<ul>{nav}</ul>",
        body=body,
        footer=escape(f"Made by tune_vgg6 from {found.facts['name']}'s journal."),
        connect="'self'" if live else "'none'",
        css=(PAGE / "page.css").read_text(),
        figures=embedded(figures),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        js=(PAGE / "page.js").read_text(),
    )


def embedded(value: Any) -> str:
    """JSON that no text in it can end the script element of."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def write_report(found: ReportContents, out: Path) -> None:
    """Write the page, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, render_page(found).encode())


def write_pictures(found: ReportContents, folder: Path) -> bool:
    """Write ``summary.md`` and, where there is a Chrome or Chromium to draw them, every figure as
    a PNG file beside it. Returns whether there was."""
    folder.mkdir(parents=True, exist_ok=True)
    browser = find_browser()
    if browser:
        draw_files({folder / f"{name}.png": figure for name, figure in found.figures.items()})
    pictures = list(found.figures) if browser else []
    write_atomic(folder / "summary.md", words.markdown(found, pictures).encode())
    return bool(browser)
