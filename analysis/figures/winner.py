"""The winner: its candidates over fresh seeds, and what it confuses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from analysis.figures.style import BLUE, LIGHT_BLUE, ORANGE, figure, intervals
from vgg6.tuning.run.records import Confirmation


def confirmation(found: Confirmation) -> go.Figure:
    """Each candidate's search score, its fresh runs and its mean with the interval."""
    rows = found.candidates[::-1]
    names = [f"trial {r.trial}" for r in rows]
    runs = [(n, run.val_acc) for n, r in zip(names, rows, strict=True) for run in r.runs]
    known = [(n, r, r.mean) for n, r in zip(names, rows, strict=True) if r.mean is not None]
    means = [mean for *_, mean in known]
    bars = intervals(means, [r.low for _, r, _ in known], [r.high for _, r, _ in known])
    traces = [
        go.Scatter(x=[v for _, v in runs], y=[n for n, _ in runs], mode="markers",
                   name="a fresh seed", marker={"color": LIGHT_BLUE, "size": 8}),
        go.Scatter(x=means, y=[n for n, *_ in known], mode="markers", name="mean (95 % interval)",
                   marker={"color": BLUE, "size": 12}, error_x=bars),
        go.Scatter(x=[r.search_score for r in rows], y=names, mode="markers",
                   name="score in the search",
                   marker={"color": ORANGE, "size": 12, "symbol": "diamond-open",
                           "line": {"width": 2}}),
    ]  # fmt: skip
    return figure(
        traces, 150 + 48 * len(rows), xaxis={"title": "validation accuracy", "tickformat": ".3f"},
        yaxis={"automargin": True},
    )  # fmt: skip


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> go.Figure:
    """True classes down, predicted classes across, as shares of the true class."""
    names = [escape(c) for c in classes]
    shares = [[n / max(1, sum(row)) for n in row] for row in matrix]
    trace = go.Heatmap(
        z=shares, x=names, y=names, text=[list(row) for row in matrix], texttemplate="%{text}",
        colorscale="Cividis", hovertemplate="%{y} taken for %{x}: %{text} (%{z:.1%})",
        colorbar={"tickformat": ".0%", "thickness": 14}, zmin=0, zmax=1,
    )  # fmt: skip
    return figure(
        [trace], 520, xaxis={"title": "predicted", "automargin": True, "type": "category"},
        yaxis={"title": "true", "autorange": "reversed", "automargin": True, "type": "category"},
    )  # fmt: skip
