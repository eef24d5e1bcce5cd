"""Losses and accuracies by epoch or optimizer step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.palette import colour_of, ordered, symbol_of
from analysis.figures.style import ACCURACY, FULL, figure, style_panels

PANELS = {"train_loss": "training loss (nats)", "train_acc": "training accuracy",
          "val_loss": "validation loss (nats)", "val_acc": "validation accuracy"}  # fmt: skip
WORST_LOSS = 1.5 * math.log(10)  # nats; a higher one is much worse than to guess, and not drawn
FEW_POINTS = 200  # below it a line shows each of its epochs
MANY_ROWS = 6000  # above it lines are drawn by the graphics card


def curves(table: pd.DataFrame) -> go.Figure:
    """Losses and accuracies by epoch; one trace a panel and (activation, optimizer).

    Args:
        table: one row a (trial, epoch), here and below.
    """
    fig = make_subplots(2, 2, subplot_titles=list(PANELS.values()), vertical_spacing=0.14)
    for place, metric in enumerate(PANELS):
        row, col = place // 2 + 1, place % 2 + 1
        for _, trace in _lines(table, metric, "activation", "optimizer"):
            trace.update(hoverinfo="x+y", showlegend=trace.showlegend and not place, text=None)
            fig.add_trace(trace, row=row, col=col)
        # One trial that goes astray has the loss of a thousand others: all lines would be flat.
        if metric.endswith("loss") and table[metric].max() > WORST_LOSS:
            fig.update_yaxes(range=[0, WORST_LOSS], row=row, col=col)
            fig.layout.annotations[place].text += f", up to {WORST_LOSS:.1f}"
    return style_panels(fig, 720).update_layout(legend_title_text="activation  ")


def small_multiples(table: pd.DataFrame, kind: str, colour: str) -> go.Figure:
    """Validation accuracy by epoch: a panel for each value of ``kind``, lines coloured by
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
    for own, trace in _lines(table, "val_acc", colour, kind):
        few = sum(epoch is not None for epoch in trace.x) < FEW_POINTS
        trace.update(mode="lines+markers" if few else "lines", hovertemplate=hover)
        place = kinds.index(own)
        fig.add_trace(trace, row=place // columns + 1, col=place % columns + 1)
        if whole:
            fig.add_trace(type(trace)(trace).update(showlegend=False), row=rows, col=columns)
    fig = style_panels(fig, 90 + 250 * rows)
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
        traces.append(trace.update(hovertemplate=hover))
    return figure(traces, xaxis={"title": "optimizer step", "rangemode": "tozero"}, yaxis=ACCURACY)


def _lines(table: pd.DataFrame, metric: str, colour: str, kind: str) -> Iterator[tuple[str, Any]]:
    """A trace for each pair of values of ``colour``, which the legend has once each, and ``kind``;
    with the latter. Curves of several trials are one line with gaps between them."""
    shown: set[str] = set()
    draw = go.Scattergl if len(table) > MANY_ROWS else go.Scatter
    parts = {
        (str(value), str(other)): part for (value, other), part in table.groupby([colour, kind])
    }
    pairs = product(*(ordered(name, map(str, table[name].unique())) for name in (colour, kind)))
    for value, other in pairs:
        part = parts.get((value, other))
        if part is None:
            continue
        x: list[int | None] = []
        y: list[float | None] = []
        text: list[str] = []
        for trial, rows in part.groupby("trial"):
            x += [*rows.epoch.tolist(), None]
            y += [*(float(f"{v:.5g}") for v in rows[metric]), None]
            text += [f"trial {trial}"] * (len(rows) + 1)
        marker = {"size": 5, "symbol": symbol_of(colour, value)}
        yield other, draw(
            x=x, y=y, text=text, name=value, legendgroup=value, showlegend=value not in shown,
            mode="lines", connectgaps=False, marker=marker,
            line={"color": colour_of(colour, value), "width": 1.3},
            meta={colour: value, kind: other},
        )  # fmt: skip
        shown.add(value)
