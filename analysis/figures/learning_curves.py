"""Losses and accuracies by epoch or optimizer step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, product
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.palette import colour_of, ordered, symbol_of
from analysis.figures.style import FULL, WORST_LOSS, figure, score_axis, style_panels
from vgg6.metric import ACCURACY, Metric

PANELS = {"train_loss": "training loss (nats)", "train_acc": "training accuracy",
          "val_loss": "validation loss (nats)", "val_acc": "validation accuracy"}  # fmt: skip
FEW_POINTS = 200  # below it a line shows each of its epochs
MANY_ROWS = 6000  # above it lines are drawn by the graphics card
MOST_CURVES, BEST_CURVES = 1000, 250  # trials that are drawn; the best among them


def thinned(table: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """The epochs of at most ``MOST_CURVES`` trials: a page of more would be slow, and no line of
    them be seen.

    They are the ``BEST_CURVES`` best, the best of each activation with each optimizer, and of the
    others every n-th.

    Args:
        table: one row a (trial, epoch), here and below.
        metric: what the search went by, here and below. A balanced accuracy takes the place of the
            validation accuracy.
    """
    best = metric.best_column
    trials = table.groupby("trial")[[best, "activation", "optimizer"]].last()
    if len(trials) <= MOST_CURVES:
        return table
    ranked = trials.sort_values(best, ascending=metric.lower_is_better, kind="stable")
    of_each = ranked.drop_duplicates(["activation", "optimizer"])
    chosen = ranked.index[:BEST_CURVES].union(of_each.index)
    others = trials.index.difference(chosen)
    evenly = np.linspace(0, len(others) - 1, MOST_CURVES - len(chosen)).astype(int)
    return table[table.trial.isin(chosen.union(others[evenly]))]


def curves(table: pd.DataFrame, metric: Metric = ACCURACY) -> go.Figure:
    """Losses and accuracies by epoch; one trace a panel and (activation, optimizer)."""
    panels = dict(PANELS)
    if metric.balanced:
        del panels[ACCURACY.column]
        panels[metric.column] = metric.label
    fig = make_subplots(2, 2, subplot_titles=list(panels.values()), vertical_spacing=0.14)
    traces, rows, columns = [], [], []
    for place, column in enumerate(panels):
        row, col = place // 2 + 1, place % 2 + 1
        for _, trace in _lines(table, column, "activation", "optimizer", named=False):
            trace |= {"hoverinfo": "x+y", "showlegend": trace["showlegend"] and not place}
            traces.append(trace)
            rows.append(row)
            columns.append(col)
        # One trial that goes astray has the loss of a thousand others: all lines would be flat.
        if column.endswith("loss") and table[column].max() > WORST_LOSS:
            fig.update_yaxes(range=[0, WORST_LOSS], row=row, col=col)
            fig.layout.annotations[place].text += f", up to {WORST_LOSS:.1f}"
    fig.add_traces(traces, rows, columns)
    return style_panels(fig, 720).update_layout(legend_title_text="activation  ")


def small_multiples(
    table: pd.DataFrame, kind: str, colour: str, metric: Metric = ACCURACY
) -> go.Figure:
    """Scores by epoch: a panel for each value of ``kind``, lines coloured by
    ``colour``. The panels fill their grid: a last one shows all values where it would have a gap.
    """
    kinds = ordered(kind, map(str, table[kind].unique()))
    whole = len(kinds) > 1 and len(kinds) % 2 == 1
    panels = [*kinds, f"each {kind}"] if whole else kinds
    columns = grid_columns(len(panels))
    rows = len(panels) // columns
    fig = make_subplots(
        rows, columns, subplot_titles=panels, shared_yaxes="all", vertical_spacing=0.24 / rows,
        horizontal_spacing=0.04,
    )  # fmt: skip
    fig.update_xaxes(matches="x")
    fig.layout.xaxis.matches = None  # not itself
    hover = f"%{{text}}<br>epoch %{{x}}: %{{y:{FULL}}}<extra></extra>"
    traces, places = [], []
    for own, trace in _lines(table, metric.column, colour, kind):
        few = sum(epoch is not None for epoch in trace["x"]) < FEW_POINTS
        trace |= {"mode": "lines+markers" if few else "lines", "hovertemplate": hover}
        traces.append(trace)
        places.append(kinds.index(own))
        if whole:
            traces.append(trace | {"showlegend": False})
            places.append(len(kinds))
    fig.add_traces(
        traces,
        [place // columns + 1 for place in places],
        [place % columns + 1 for place in places],
    )
    fig = style_panels(fig, 90 + 250 * rows)
    if limits := score_axis(metric, table[metric.column]).get("range"):
        fig.update_yaxes(range=limits)
    for place in range(len(panels) - columns):  # the panel below has the title of its axis
        fig.update_xaxes(title_text="", row=place // columns + 1, col=place % columns + 1)
    return fig.update_layout(legend_title_text=f"{colour}  ")


def grid_columns(panels: int) -> int:
    """How many columns so many panels fill without a gap: 4 at most."""
    return next(columns for columns in (4, 3, 2, 1) if panels % columns == 0)


def steps(table: pd.DataFrame, train_images: int) -> go.Figure:
    """Validation accuracy by optimizer step; one trace an (activation, optimizer)."""
    an_epoch = np.ceil(train_images / table.batch_size).astype(int)
    counted = table.assign(epoch=table.epoch * an_epoch)
    traces = []
    for optimizer, trace in _lines(counted, "val_acc", "activation", "optimizer"):
        hover = f"%{{text}}, {optimizer}<br>step %{{x}}: %{{y:{FULL}}}<extra></extra>"
        traces.append(trace | {"hovertemplate": hover})
    axis = {"title": "optimizer step", "rangemode": "tozero"}
    return figure(traces, xaxis=axis, yaxis=score_axis(ACCURACY))


def _lines(
    table: pd.DataFrame, metric: str, colour: str, kind: str, named: bool = True
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A trace for each pair of values of ``colour``, which the legend has once each, and ``kind``;
    with the latter. Curves of several trials are one line with gaps between them.

    The traces are plain mappings: Plotly checks each point of a trace whenever it makes one.

    Args:
        named: whether points have their trial as text.
    """
    shown: set[str] = set()
    draw = "scattergl" if len(table) > MANY_ROWS else "scatter"
    values = [float(f"{v:.5g}") for v in table[metric]]
    points: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
    for value, other, *point in zip(
        table[colour], table[kind], table.trial.tolist(), table.epoch.tolist(), values, strict=True
    ):
        points.setdefault((str(value), str(other)), []).append(tuple(point))
    pairs = product(*(ordered(name, map(str, table[name].unique())) for name in (colour, kind)))
    for value, other in pairs:
        if (value, other) not in points:
            continue
        x: list[int | None] = []
        y: list[float | None] = []
        text: list[str] = []
        own = sorted(points[value, other], key=itemgetter(0))  # each trial's in their order
        for trial, rows in groupby(own, key=itemgetter(0)):
            _, epochs, scores = zip(*rows, strict=True)
            x += [*epochs, None]
            y += [*scores, None]
            text += [f"trial {trial}"] * (len(epochs) + 1)
        trace = {
            "type": draw, "x": x, "y": y, "name": value, "legendgroup": value,
            "showlegend": value not in shown, "mode": "lines", "connectgaps": False,
            "marker": {"size": 5, "symbol": symbol_of(colour, value)},
            "line": {"color": colour_of(colour, value), "width": 1.3},
            "meta": {colour: value, kind: other},
        }  # fmt: skip
        yield other, trace | ({"text": text} if named else {})
        shown.add(value)
