"""The report as one HTML page that needs no network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.report.compression_front import BATCH, on_front
from analysis.report.contents import FIGURE_TITLES, ReportContents
from analysis.study.answer import Answer
from analysis.winner.confirmed_result import verdict
from analysis.winner.looks_at_test_set import looks_in_words
from analysis.winner.pareto import KINDS
from vgg6.common.files import write_atomic
from vgg6.common.intervals import wilson
from vgg6.common.templates import render

TEMPLATES = Path(__file__).parent / "templates"
TOP = 25  # trials in the table of the best
LAST_ANSWERS = ("study-4", "study-5")  # after the pictures of every trial


@dataclass(frozen=True)
class Section:
    """A section of the page. ``id``: its anchor; ``answer``: of the study, if it shows one."""

    id: str
    title: str
    template: str
    answer: Answer | None = None


SECTIONS = [
    Section("result", "Result", "result"),
    Section("space", "The search", "search"),
    Section("curves-all", "Learning curves", "learning_curves"),
    Section("mattered", "What mattered", "insights"),
    Section("stopping", "Early stopping", "early_stopping"),
    Section("use", "Use of the cluster", "cluster"),
    Section("wrong", "What it gets wrong", "mistakes"),
    Section("smaller", "Smaller networks", "compressed"),
    Section("commands", "Commands", "commands"),
]


def write_report(contents: ReportContents, out: Path) -> None:
    """Write the page, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, render_page(contents).encode())


def render_page(contents: ReportContents, live: str = "") -> str:
    """The whole page as text. ``live``: its version, where it is served and asks for newer ones."""
    best, trials = contents.best, contents.trials
    scored = trials.dropna(subset=["best_val_acc"])
    return render(
        TEMPLATES, "page.html", contents=contents, live=live, sections=_sections(contents),
        figure_titles=FIGURE_TITLES, kinds=KINDS, looks_in_words=looks_in_words,
        confirmed=contents.confirmed, confirmation=contents.search.confirmation, verdict=verdict,
        chance=wilson(best.winner.in_search.best_val_acc, contents.facts.data.val_images)
        if best else None,
        reasons=[t.reason for t in contents.history.trials.values() if t.reason],
        top=[(t, trials[trials.trial == t.number].iloc[0].label)
             for t in contents.history.ranking(TOP)],
        choices={kind: sorted(contents.table[kind].unique()) for kind in KINDS},
        front=on_front(contents.compressed), batch=BATCH,
        trials_json=embedded(scored[["trial", "label", "best_val_acc"]].values.tolist()),
        figures_json=embedded(
            {name: json.loads(str(fig.to_json())) for name, fig in contents.figures.items()}
        ),
        css=_asset("page.css"), js=_asset("page.js"),
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
    )  # fmt: skip


def _sections(contents: ReportContents) -> list[Section]:
    """With the study's answers, these go first. The sections that its third is about stand between
    them."""
    if contents.study is None:
        return SECTIONS
    asked = [Section(a.id, a.title, "answer", a) for a in contents.study.answers]
    before = [section for section in asked if section.id not in LAST_ANSWERS]
    after = [section for section in asked if section.id in LAST_ANSWERS]
    return [SECTIONS[0], *before, *SECTIONS[1:3], *after, *SECTIONS[3:]]


def embedded(value: Any) -> Markup:
    """JSON that no text in it can end the script element of."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _asset(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text())
