"""A package's score as a figure: confusion, accuracy by class, accuracy by confidence."""

from __future__ import annotations

import math
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import COLOURS, ERROR_BAR, figure
from analysis.packages.evaluate import PackageScore


def draw(found: PackageScore) -> go.Figure:
    """Confusion matrix, accuracy of each class, and accuracy by confidence."""
    scored = found.scored
    names = [escape(name) for name in found.classes]
    fig = make_subplots(
        2, 2, specs=[[{"colspan": 2}, None], [{}, {}]], row_heights=[0.6, 0.4],
        vertical_spacing=0.14,
        subplot_titles=["predicted classes (across) of true ones (down)", "accuracy of each class",
                        f"accuracy by confidence: ECE {found.ece:.3f}"],
    )  # fmt: skip
    matrix = found.confusion
    shares = [[n / max(1, sum(row)) for n in row] for row in matrix]
    fig.add_heatmap(
        z=shares, x=names, y=names, text=matrix, texttemplate="%{text}", colorscale="Cividis",
        zmin=0, zmax=1, showscale=False, row=1, col=1,
        hovertemplate="%{y} taken for %{x}: %{text} (%{z:.1%})<extra></extra>",
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", type="category", row=1, col=1)
    fig.update_xaxes(type="category", row=1, col=1)
    rows = [row for row in found.per_class if row.images]
    fig.add_scatter(
        x=[row.accuracy for row in rows], y=[escape(row.name) for row in rows],
        mode="markers", marker={"color": COLOURS[0], "size": 8}, row=2, col=1,
        error_x={"type": "data", "symmetric": False, **ERROR_BAR,
                 "array": [(row.high or 0) - (row.accuracy or 0) for row in rows],
                 "arrayminus": [(row.accuracy or 0) - (row.low or 0) for row in rows]},
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", type="category", row=2, col=1)
    bins = [b for b in found.bins if b.images]
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": "#8A8A8A", "dash": "dot"},
        hoverinfo="skip", row=2, col=2,
    )  # fmt: skip
    largest = max(b.images for b in bins)
    fig.add_scatter(
        x=[b.confidence for b in bins], y=[b.accuracy for b in bins], mode="lines+markers",
        text=[f"{b.images:,} images" for b in bins], row=2, col=2, line={"color": COLOURS[1]},
        marker={"size": [5 + 9 * math.sqrt(b.images / largest) for b in bins]},
        hovertemplate="confidence %{x:.2f}, accuracy %{y:.2f}: %{text}<extra></extra>",
    )  # fmt: skip
    fig.update_xaxes(title="confidence", range=[0, 1.02], row=2, col=2)
    part = f"{scored.part} images of " if scored.part else ""
    title = f"accuracy {found.accuracy:.4f} on {found.images:,} {part}{scored.data}"
    layout = figure([], 900).layout.update(
        showlegend=False, title=escape(title), margin={"l": 90, "r": 20, "t": 80, "b": 50}
    )
    return fig.update_layout(layout)
