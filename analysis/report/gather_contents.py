"""Gathers and draws what the report of a search shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from analysis.confirmation.intervals import shown_intervals
from analysis.figures.compression import compression
from analysis.figures.effects import effect, importance, interaction
from analysis.figures.learning_curves import curves, small_multiples, thinned
from analysis.figures.sizes import sizes
from analysis.figures.stopping_and_use import cluster, rungs
from analysis.figures.trials import parallel, pareto, progress
from analysis.figures.winner import confirmation, confusion
from analysis.insights.insights import insights
from analysis.packages.compressed_networks import compressed_networks
from analysis.report.contents import ReportContents
from analysis.report.mistakes import Mistakes
from analysis.report.slow_parts import SlowParts
from analysis.results.search_tables import tables_of
from analysis.results.timeline import rung_counts, timeline
from analysis.study.questions import study
from analysis.winner.looks_at_test_set import looks
from analysis.winner.pareto import TrialCost
from analysis.winner.ranking import summary
from analysis.winner.size_front import sized_trials
from vgg6.config import FIELD_NAMES
from vgg6.tuning.run.search import Search


def gather(search: Search, slow: SlowParts | None = None) -> ReportContents:
    """All that a report shows of a search, running or ended, with its figures drawn.

    ``slow``: keeps what takes seconds to make, for the next report of the same search.

    Raises:
        InputError: the record of looks at the test images, or a compressed package, is damaged.
    """
    tables = tables_of(search)
    slow = slow or SlowParts()
    contents = ReportContents(
        search=search,
        tables=tables,
        best=summary(search, top=10) if search.winner else None,
        insights=insights(tables, known=slow.importance(search, tables)),
        mistakes=slow.mistakes(search),
        test_looks=looks(search.folder),
        rungs=rung_counts(search),
        compressed=compressed_networks(search.folder),
    )
    contents.figures = dict(_figures(contents))
    return contents


def answer_study(contents: ReportContents, also: Sequence[Search]) -> None:
    """Add the study's questions and their answers.

    Raises:
        InputError: as ``analysis.study.questions.study``.
    """
    contents.study = study(contents.search, contents.tables, also)
    contents.figures |= contents.study.figures


def _figures(contents: ReportContents) -> Iterator[tuple[str, go.Figure]]:
    trials, table, found = contents.trials, contents.table, contents.insights
    if not len(table):
        return
    metric = contents.search.metric
    names = [n for n in FIELD_NAMES if trials[n].astype(str).nunique() > 1]
    several = table.trial.nunique() > 1
    if several:
        yield "parallel", parallel(trials, names, metric)
    ran = timeline(contents.history)
    yield "progress", progress(table, ran, metric)
    drawn = thinned(table, metric)
    yield "curves", curves(drawn, metric)
    yield "by_activation", small_multiples(drawn, "activation", "optimizer", metric)
    yield "by_optimizer", small_multiples(drawn, "optimizer", "activation", metric)
    if found.importance:
        yield "importance", importance(found.importance)
    if found.interaction:
        yield "interaction", interaction(found.interaction, metric)
    for kind, rows in found.effects.items():
        if any(row.difference is not None for row in rows):
            yield f"effect_{kind}", effect(rows, metric.column)
    if any(rung.arrived for rung in contents.rungs):
        yield "rungs", rungs(contents.rungs, metric)
    yield "cluster", cluster(ran)
    if contents.best and several:
        costs = [
            TrialCost.of(trial, contents.facts.data.task) for trial in contents.history.ranking()
        ]
        yield "pareto", pareto(costs, contents.best.pareto, metric)
        if contents.best.size_front:
            sized = sized_trials(contents.history.ranking(), contents.facts.data)
            yield "sizes", sizes(sized, contents.best.size_front, metric, contents.compressed)
    if contents.best and contents.best.confirmation:
        confirmed = contents.best.confirmation
        bounds = shown_intervals(confirmed, contents.facts.data.images_behind(metric))
        yield "confirmation", confirmation(confirmed, bounds)
    if isinstance(contents.mistakes, Mistakes):
        yield "confusion", confusion(contents.mistakes.confusion, contents.mistakes.classes)
    if contents.compressed:
        yield "compression", compression(contents.compressed, metric.axis)
