"""The winner: its candidates over fresh seeds, and what it confuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from analysis.confirmation.intervals import Bounds
from analysis.figures.palette import BLUE, CELL_INK, CELL_SCALE, MUTED, ORANGE
from analysis.figures.style import FULL, error_bars, figure
from vgg6.common.numbers_in_words import counted
from vgg6.tuning.run.confirmation import Candidate, Confirmation


def confirmation(found: Confirmation, bounds: Mapping[int, Bounds]) -> go.Figure:
    """Each candidate's fresh runs, its mean with the interval, and its score in the search.

    Args:
        bounds: the interval of each candidate's mean, by its trial.
    """
    rows = found.candidates
    names = {r.trial: _row(r, found) for r in rows}
    runs = [(r, run.seed, run.result) for r in rows for run in r.runs if run.result is not None]
    known = [(r, r.mean) for r in rows if r.mean is not None]
    means = [mean for _, mean in known]
    ends = [bounds.get(r.trial, (None, None)) for r, _ in known]
    bars = error_bars(means, *zip(*ends, strict=True)) if ends else {}
    shown = [r for r in rows if r.optimism is not None]
    scores = [score for *_, score in runs] + [end for pair in ends for end in pair if end]
    wide = max(scores, default=1.0) - min(scores, default=0.0)
    digits = 2 if wide > 0.05 else 3 if wide > 0.005 else 4
    hover = f"%{{text}}: %{{x:{FULL}}}<extra></extra>"
    traces = [
        go.Scatter(x=means, y=[names[r.trial] for r, _ in known], mode="markers",
                   name="mean (95 % interval)", text=[f"mean of trial {r.trial}" for r, _ in known],
                   hovertemplate=hover, marker={"color": BLUE, "size": 13, "symbol": "line-ns",
                                                "line": {"color": BLUE, "width": 3}},
                   error_x={**bars, "color": BLUE, "thickness": 2, "width": 6}),
        go.Scatter(x=[score for *_, score in runs], y=[names[r.trial] for r, *_ in runs],
                   mode="markers", name="a fresh seed", hovertemplate=hover,
                   text=[f"trial {r.trial}, seed {seed}" for r, seed, _ in runs],
                   marker={"color": MUTED, "size": 8}),
        go.Scatter(x=[r.search_score for r in shown], y=[names[r.trial] for r in shown],
                   mode="markers", name="score in the search", hovertemplate=hover,
                   text=[f"trial {r.trial} in the search" for r in shown],
                   marker={"color": ORANGE, "size": 11, "symbol": "diamond-open",
                           "line": {"width": 2}}),
    ]  # fmt: skip
    return figure(
        traces, 136 + 56 * len(rows),
        xaxis={"title": found.measure.axis, "nticks": 7, "tickangle": 0,
               "tickformat": f".{digits}f"},
        yaxis={"automargin": True, "ticksuffix": " ", "categoryorder": "array",
               "categoryarray": [names[r.trial] for r in rows[::-1]]},
    )  # fmt: skip


def _row(row: Candidate, found: Confirmation) -> str:
    """A candidate's name on the axis, and what became of it."""
    what = f"trial {row.trial}: {escape(row.config.activation)}, {escape(row.config.optimizer)}"
    if row.trial == found.winner:
        return f"<b>{what}</b>"
    if row.eliminated_after is not None:
        what += f"<br>dropped after {counted(row.eliminated_after, 'seed')}"
    if row.behind_low is not None and row.behind_high is not None:
        other = "" if row.compared_with in (None, found.winner) else f" trial {row.compared_with}"
        what += f"<br>{row.behind_low:.3f} to {row.behind_high:.3f} behind{other}"
    return what


def confusion_cells(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], **more: Any
) -> go.Heatmap:
    """The cells of a confusion matrix: counts, coloured by their share of the true class."""
    names = [escape(c) for c in classes]
    shares = [[n / max(1, sum(row)) for n in row] for row in matrix]
    return go.Heatmap(
        z=shares, x=names, y=names, text=[list(row) for row in matrix], texttemplate="%{text}",
        textfont={"color": CELL_INK}, colorscale=CELL_SCALE, xgap=1, ygap=1, zmin=0, zmax=1,
        hovertemplate="%{y} taken for %{x}: %{text} (%{z:.4g} of them)<extra></extra>", **more,
    )  # fmt: skip


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> go.Figure:
    """True classes down, predicted classes across, as shares of the true class."""
    scale = {"tickformat": ".0%", "thickness": 14, "outlinewidth": 0}
    trace = confusion_cells(matrix, classes, colorbar=scale)
    return figure(
        [trace], 520,
        xaxis={"title": "predicted", "automargin": True, "type": "category", "showgrid": False},
        yaxis={"title": "true", "autorange": "reversed", "automargin": True, "type": "category",
               "showgrid": False},
    )  # fmt: skip
