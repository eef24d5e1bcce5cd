"""The report as one HTML page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.confirmation.confirmed_result import verdict
from analysis.confirmation.intervals import shown_intervals
from analysis.figures.palette import ordered
from analysis.packages.compressed_networks import BATCH, on_front
from analysis.report import page_markup as markup
from analysis.report.contents import ReportContents
from analysis.report.figure_titles import figure_titles
from analysis.report.slow_parts import NO_SCORE
from analysis.study.answer_parts import Answer
from analysis.winner.looks_at_test_set import looks_in_words
from analysis.winner.pareto import KINDS
from vgg6.common.files import write_atomic
from vgg6.common.templates import render
from vgg6.config import TrialConfig
from vgg6.tuning.run.training_depth import rests_on_few

TEMPLATES = Path(__file__).parent / "templates"
TOP = 25  # trials in the table of the best
LAST_ANSWERS = ("study-4", "study-5")  # after the pictures of every trial
WHAT_MATTERED = {"importance", "interaction", "effect_activation", "effect_optimizer"}  # figures
ALWAYS_SHOWN = ("epochs", "seed")  # in the winner's configuration


@dataclass(frozen=True)
class Section:
    """A section of the page. ``id``: its anchor; ``answer``: of the study, if it shows one;
    ``empty``: why there is nothing to show, in a sentence."""

    id: str
    title: str
    template: str
    answer: Answer | None = None
    empty: str = ""


@dataclass(frozen=True)
class PageParts:
    """The page in pieces, each of which can be replaced while it is looked at.

    Args:
        title: of the window. name: of the search.
        head: the headline and the navigation, as HTML.
        sections: HTML by id, in their order. empty: the ids of those with nothing to show.
        figures: Plotly's JSON by name. trials: number, label and score of each, and the score with
            its sign turned where less is better, as JSON.
    """

    title: str
    name: str
    head: Markup
    sections: Mapping[str, Markup]
    empty: frozenset[str]
    figure_data: Mapping[str, Any]
    trial_data: list[list[Any]]

    @property
    def figures(self) -> Markup:
        return embedded(self.figure_data)

    @property
    def trials(self) -> Markup:
        return embedded(self.trial_data)


@dataclass(frozen=True)
class WinnerSettings:
    """The winner's hyperparameters: those that the search varied or set, and those at a default."""

    varied: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)


def write_report(contents: ReportContents, out: Path) -> None:
    """Write the page, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, render_page(contents).encode())


def render_page(contents: ReportContents) -> str:
    """The whole page as text."""
    plotly = Markup(get_plotlyjs().replace("</script", "<\\/script"))
    return assemble(page_parts(contents), plotly=plotly)


def assemble(
    parts: PageParts, *, plotly: Markup | None = None, live: str = "", plotly_address: str = ""
) -> str:
    """The page of these parts.

    Args:
        plotly: the source of Plotly's library, where the page holds it.
        live: the version of a page that is served and asks for newer parts; it takes the library
            from ``plotly_address``.
    """
    js = Markup(_asset("page.js") + (_asset("live.js") if live else ""))
    return render(
        TEMPLATES, "page.html", parts=parts, plotly=plotly, live=live,
        plotly_address=plotly_address, css=_asset("page.css"), js=js,
    )  # fmt: skip


def page_parts(contents: ReportContents) -> PageParts:
    """What the page is made of."""
    sections = _sections(contents)
    given = _given(contents, sections)
    metric = contents.search.metric
    best = metric.best_column
    scored = contents.trials.dropna(subset=[best])
    scored = scored.assign(gain=scored[best].map(metric.gain))
    return PageParts(
        title=contents.title,
        name=contents.facts.name,
        head=Markup(render(TEMPLATES, "head.html", **given)),
        sections={
            s.id: Markup(render(TEMPLATES, "section.html", section=s, **given)) for s in sections
        },
        empty=frozenset(s.id for s in sections if s.empty),
        figure_data={name: json.loads(str(f.to_json())) for name, f in contents.figures.items()},
        trial_data=scored[["trial", "label", best, "gain"]].values.tolist(),
    )


def _given(contents: ReportContents, sections: list[Section]) -> dict[str, Any]:
    """What the templates are made from."""
    best, confirmation = contents.best, contents.search.confirmation
    metric = contents.search.metric
    images = contents.facts.data.images_behind(metric)
    chance = best and metric.interval(best.winner.in_search.score, images)
    return {
        "metric": metric,
        "contents": contents, "sections": sections, "figure_titles": figure_titles(contents),
        "kinds": KINDS,
        "looks_in_words": looks_in_words, "confirmed": contents.confirmed,
        "confirmation": confirmation, "verdict": verdict,
        "bounds": shown_intervals(confirmation, images) if confirmation else {},
        "chance": chance,
        "few": rests_on_few(contents.history), "top": contents.history.ranking(TOP),
        "choices": {kind: ordered(kind, contents.table[kind].unique()) for kind in KINDS},
        "front": on_front(contents.compressed), "batch": BATCH,
        "settings": winner_settings(contents) if best else WinnerSettings(),
        "number": markup.number, "measured": markup.measured, "interval": markup.interval,
        "configuration": markup.configuration, "sentence": markup.sentence, "prose": markup.prose,
    }  # fmt: skip


def winner_settings(contents: ReportContents) -> WinnerSettings:
    """The winner's hyperparameters that have a value; those at a default that no trial varied go
    apart."""
    assert contents.best
    values = contents.best.winner.config.to_dict()
    searched = {*contents.search.space.names, *ALWAYS_SHOWN}
    found = WinnerSettings()
    for name, value in values.items():
        if value is not None:
            default = name not in searched and value == getattr(TrialConfig, name)
            (found.defaults if default else found.varied)[name] = value
    return found


def _sections(contents: ReportContents) -> list[Section]:
    """With the study's answers, these go first. The sections that its third is about stand between
    them."""
    own = _own_sections(contents)
    if contents.study is None:
        return own
    asked = [Section(a.id, a.title, "answer", a) for a in contents.study.answers]
    before = [section for section in asked if section.id not in LAST_ANSWERS]
    after = [section for section in asked if section.id in LAST_ANSWERS]
    return [own[0], *before, *own[1:3], *after, *own[3:]]


def _own_sections(contents: ReportContents) -> list[Section]:
    """The sections of every report."""
    drawn = contents.figures
    reasons = [t.reason for t in contents.history.trials.values() if t.reason]
    no_score = "No trial has a validation score yet."
    if reasons:
        no_score += f" The first reason given: {reasons[0]}"
    no_epoch = "" if "cluster" in drawn else "No epoch has ended yet."
    mistakes = contents.mistakes if isinstance(contents.mistakes, str) else ""
    not_small = "The winner has not been compressed; `compress` does it."
    small = "" if contents.compressed else not_small if contents.best else NO_SCORE
    found = contents.insights
    silent = not (drawn.keys() & WHAT_MATTERED)
    unknown = f"Importance {found.notes['importance']}." if silent else ""
    return [
        Section("result", "Result", "result", empty="" if contents.best else no_score),
        Section("space", "The search", "search", empty=no_epoch),
        Section("curves-all", "Learning curves", "learning_curves", empty=no_epoch),
        Section("mattered", "What mattered", "insights", empty=no_epoch or unknown),
        Section("stopping", "Early stopping", "early_stopping", empty=no_epoch),
        Section("use", "Use of the cluster", "cluster", empty=no_epoch),
        Section("wrong", "What it gets wrong", "mistakes", empty=mistakes),
        Section("smaller", "Smaller networks", "compressed", empty=small),
        Section("commands", "Commands", "commands"),
    ]


def embedded(value: Any) -> Markup:
    """JSON that no text in it can end the script element of."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _asset(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
