"""Reads a run folder, and draws what its report shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from analysis.figures.effects import effect, importance, interaction
from analysis.figures.learning_curves import curves, small_multiples
from analysis.figures.stopping_and_use import cluster, rungs
from analysis.figures.trials import parallel, pareto, progress
from analysis.figures.winner import confirmation, confusion
from analysis.insights.insights import insights
from analysis.report import compression_front
from analysis.report.contents import ReportContents
from analysis.report.mistakes import Mistakes, find_mistakes
from analysis.results.search_tables import load_search
from analysis.results.timeline import rung_counts, worker_spans
from analysis.study.questions import AskedSearch, study
from analysis.winner.pareto import cost_of
from analysis.winner.ranking import summary
from analysis.winner.test_looks import looks
from vgg6.common.checks import InputError
from vgg6.config import FIELD_NAMES
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import History, read_history
from vgg6.tuning.run.records import read_search


def gather(run: RunFolder) -> ReportContents:
    """Read a run folder, running or ended, and draw its figures.

    Raises:
        InputError: the journal is damaged in its middle.
    """
    facts, history, tables = read_search(run), read_history(run), load_search(run)
    contents = ReportContents(
        facts=facts,
        history=history,
        table=tables.table,
        trials=tables.trials,
        best=summary(run, top=10) if history.ranking() else None,
        insights=insights(tables),
        mistakes=_mistakes(run, history),
        test_looks=looks(run),
        rungs=rung_counts(history, facts),
        compressed=compression_front.compressed_networks(run),
    )
    contents.figures = dict(_figures(contents))
    return contents


def answer_study(run: RunFolder, contents: ReportContents, also: Sequence[RunFolder]) -> None:
    """Add the study's questions and their answers.

    Raises:
        InputError: as ``analysis.study.questions.study``.
    """
    asked = AskedSearch(contents.facts, contents.history, contents.table, contents.best)
    contents.study = study(run, asked, also)
    contents.figures |= contents.study.figures


def _mistakes(run: RunFolder, history: History) -> Mistakes | str:
    if not history.ranking():
        return "no trial has a score yet"
    try:
        return find_mistakes(run, history)
    except InputError as error:
        return str(error)


def _figures(contents: ReportContents) -> Iterator[tuple[str, go.Figure]]:
    trials, table, found = contents.trials, contents.table, contents.insights
    if not len(table):
        return
    names = [n for n in FIELD_NAMES if trials[n].astype(str).nunique() > 1]
    yield "parallel", parallel(trials, names)
    yield "progress", progress(trials)
    yield "curves", curves(table)
    yield "by_activation", small_multiples(table, "activation", "optimizer")
    yield "by_optimizer", small_multiples(table, "optimizer", "activation")
    if found["importance"]:
        yield "importance", importance(found["importance"])
    if found["interaction"]:
        yield "interaction", interaction(found["interaction"])
    for kind, rows in found["effects"].items():
        if any(row["difference"] is not None for row in rows):
            yield f"effect_{kind}", effect(rows)
    if any(rung.arrived for rung in contents.rungs):
        yield "rungs", rungs(contents.rungs)
    yield "cluster", cluster(worker_spans(contents.history))
    if contents.best:
        costs = [cost_of(t) for t in contents.history.ranking()]
        yield "pareto", pareto(costs, contents.best["pareto"])
        if contents.best["confirmation"]:
            yield "confirmation", confirmation(contents.best["confirmation"])
    if isinstance(contents.mistakes, Mistakes):
        yield "confusion", confusion(contents.mistakes.confusion, contents.mistakes.classes)
    if contents.compressed:
        yield "compression", compression_front.draw(contents.compressed)
