"""What hyperparameters change: importance, interaction and effects, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import plotly.graph_objects as go

from analysis.figures.palette import BLUE, CELL_INK, CELL_SCALE, colour_of, ordered, symbol_of
from analysis.figures.style import FULL, error_bars, figure
from analysis.insights.importance import Importance
from analysis.insights.interaction import Interaction
from analysis.insights.matched_pairs import Effect
from vgg6.common.numbers_in_words import significant
from vgg6.config import CHOICES
from vgg6.metric import ACCURACY, Metric

KINDS = ("activation", "optimizer")  # hyperparameters whose values have colours


def importance(found: Importance) -> go.Figure:
    """Share of each hyperparameter, less what chance gives, with its interval."""
    names = list(found.values)[::-1]
    rows = [found.values[n] for n in names]
    means = [r.mean for r in rows]
    bars = go.Bar(
        x=means, y=names, orientation="h", marker={"color": BLUE},
        text=[f"p {r.p:.2g}" for r in rows], textposition="none",
        hovertemplate="%{x:.4g}, %{text} by chance<extra></extra>",
        error_x=error_bars(means, [r.low for r in rows], [r.high for r in rows]),
    )  # fmt: skip
    axis = {"title": "share (lines: 95 % interval)", "tickformat": ".0%"}
    return figure([bars], 110 + 42 * len(names), xaxis=axis, yaxis={"automargin": True})


def interaction(found: Interaction, metric: Metric = ACCURACY) -> go.Figure:
    """Mean score by optimizer and bin of learning rates."""
    edges = found.lr_bins
    bins = [f"{low:.2g}<br>to {high:.2g}" for low, high in pairwise(edges)]
    rows = {
        name: (means, counts)
        for name, means, counts in zip(found.optimizers, found.mean_score, found.count, strict=True)
    }
    names = ordered("optimizer", rows)[::-1]
    text = [
        [f"{significant(v, padded=True)} (n={n})" if v is not None else ""
         for v, n in zip(*rows[name], strict=True)]
        for name in names
    ]  # fmt: skip
    trace = go.Heatmap(
        z=[rows[name][0] for name in names], x=bins, y=names, text=text,
        texttemplate="%{text}", textfont={"color": CELL_INK}, colorscale=CELL_SCALE,
        reversescale=metric.lower_is_better, xgap=2, ygap=2,
        colorbar={"title": {"text": metric.column}, "thickness": 14, "outlinewidth": 0},
        hovertemplate=f"%{{y}}, lr %{{x}}: %{{z:{FULL}}}<extra></extra>",
    )  # fmt: skip
    height = 160 + 44 * len(found.optimizers)
    return figure(
        [trace],
        height,
        xaxis={
            "title": {"text": "learning rate", "standoff": 8},
            "automargin": True,
            "tickangle": 0,
            "showgrid": False,
        },
        yaxis={"automargin": True, "showgrid": False, "ticksuffix": " "},
    )


def effect(rows: Sequence[Effect], title: str = "val_acc") -> go.Figure:
    """Differences of matched pairs with their intervals; only rows that have one.

    ``title``: of what the differences are.
    """
    shown = [r for r in rows if r.difference is not None]
    references = {r.against for r in shown}
    kinds = [kind for kind in KINDS if all(r.value in CHOICES[kind] for r in shown)]
    if kinds and len(references) == 1:
        order = ordered(kinds[0], [r.value for r in shown])
        shown.sort(key=lambda r: order.index(r.value))
    shown.reverse()  # the first is at the top
    differences = [r.difference or 0.0 for r in shown]
    one = len(references) == 1 and len(shown[0].against) < 10  # else the title is too long
    named = [r.value if one else _both(r.value, r.against) for r in shown]
    trace = go.Scatter(
        x=differences,
        y=[f"{n}<br>({r.pairs} pairs)" for n, r in zip(named, shown, strict=True)], mode="markers",
        marker={"size": 11,
                "color": [colour_of(kinds[0], r.value) if kinds else BLUE for r in shown],
                "symbol": [symbol_of(kinds[0], r.value) if kinds else "circle" for r in shown]},
        hovertemplate=f"%{{x:+{FULL}}}<extra></extra>",
        error_x=error_bars(differences, [r.low for r in shown], [r.high for r in shown]),
    )  # fmt: skip
    against = f"against {references.pop()} " if one else ""
    return figure(
        [trace], 120 + 44 * len(shown), yaxis={"automargin": True, "ticksuffix": " "},
        # A phone leaves the axis little room: a small title on two lines, and few ticks.
        xaxis={"title": {"text": f"{title}<br>{against}(95 % interval)", "font": {"size": 12}},
               "zeroline": True, "zerolinewidth": 2, "tickformat": "+.3~f", "automargin": True,
               "rangemode": "tozero", "nticks": 6, "tickangle": 0},
    )  # fmt: skip


def _both(value: str, against: str) -> str:
    """On two lines where one would leave a phone no room for the figure."""
    return f"{value}{' ' if len(value + against) < 20 else '<br>'}- {against}"
