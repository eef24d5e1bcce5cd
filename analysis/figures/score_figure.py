"""A package's score as a figure: confusion, accuracy by class, accuracy by confidence."""

from __future__ import annotations

import math
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.palette import BLUE, MUTED, ORANGE
from analysis.figures.style import FULL, error_bars, figure
from analysis.figures.winner import confusion_cells
from analysis.packages.evaluate import PackageScore
from vgg6.common.numbers_in_words import significant


def draw(found: PackageScore) -> go.Figure:
    """Confusion matrix, accuracy of each class, and accuracy by confidence."""
    scored = found.scored
    fig = make_subplots(
        2, 2, specs=[[{"colspan": 2}, None], [{}, {}]], row_heights=[0.6, 0.4],
        vertical_spacing=0.14,
        subplot_titles=["predicted classes (across) of true ones (down)",
                        "accuracy of each class (bars: 95 %)",
                        f"accuracy by confidence: ECE {significant(found.ece, padded=True)}"],
    )  # fmt: skip
    cells = confusion_cells(found.confusion, found.classes, showscale=False)
    fig.add_trace(cells, row=1, col=1)
    fig.update_yaxes(
        autorange="reversed", type="category", showgrid=False, ticksuffix=" ", automargin=True,
        row=1, col=1,
    )  # fmt: skip
    fig.update_xaxes(type="category", showgrid=False, row=1, col=1)
    rows = [row for row in found.per_class if row.images]
    fig.add_scatter(
        x=[row.accuracy for row in rows], y=[escape(row.name) for row in rows],
        mode="markers", hovertemplate=f"%{{y}}: %{{x:{FULL}}}<extra></extra>",
        marker={"color": BLUE, "size": 8}, row=2, col=1,
        error_x=error_bars(
            [row.accuracy or 0.0 for row in rows], [r.low for r in rows], [r.high for r in rows]
        ),
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", type="category", row=2, col=1)
    bins = [b for b in found.bins if b.images]
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "dash": "dot"},
        hoverinfo="skip", row=2, col=2,
    )  # fmt: skip
    largest = max(b.images for b in bins)
    fig.add_scatter(
        x=[b.confidence for b in bins], y=[b.accuracy for b in bins], mode="lines+markers",
        text=[f"{b.images:,} images" for b in bins], row=2, col=2, line={"color": ORANGE},
        marker={"size": [5 + 9 * math.sqrt(b.images / largest) for b in bins]},
        hovertemplate="confidence %{x:.4g}, accuracy %{y:.4g}: %{text}<extra></extra>",
    )  # fmt: skip
    fig.update_xaxes(title="confidence", range=[0, 1.02], row=2, col=2)
    fig.update_yaxes(title="accuracy", range=[0, 1.02], title_standoff=4, row=2, col=2)
    part = f"{scored.part} images" if scored.part else "images"
    accuracy, low, high = (
        significant(x, padded=True) for x in (found.accuracy, found.low, found.high)
    )
    title = (
        f"Accuracy {accuracy} ({found.level:.0%} interval {low} to {high})"
        f"<br>on {found.images:,} {part} of {escape(scored.data)}"
    )
    layout = figure([], 900).layout.update(
        showlegend=False,
        title={"text": title, "x": 0.02, "xanchor": "left", "font": {"size": 17}},
        margin={"l": 90, "r": 20, "t": 100, "b": 50},
    )
    return fig.update_layout(layout)
