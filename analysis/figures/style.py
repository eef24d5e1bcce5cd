"""What the figures have in common: the page's style, and colours for colour-blind readers.

Okabe and Ito's colours stand for choices, cividis for accuracy. Titles are the page's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

BLUE, ORANGE, LIGHT_BLUE = "#0072B2", "#D55E00", "#56B4E9"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", LIGHT_BLUE, "#8C6D31", "#7F7F7F",
           "#6A3D9A")  # fmt: skip
STATES = {"completed": "#009E73", "pruned": "#E69F00", "infeasible": ORANGE,
          "failed": "#CC79A7", "stopped": "#7F7F7F", "running": LIGHT_BLUE}  # fmt: skip
ERROR_BAR = {"color": "#8A8A8A", "thickness": 1.5}  # seen on light and dark
ACCURACY = {"tickformat": ".2f", "title": "validation accuracy"}


def figure(traces: Iterable[Any], height: int = 420, **layout: Any) -> go.Figure:
    """A figure in the page's style."""
    margin = {"l": 64, "r": 20, "t": 30, "b": 54}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    return go.Figure(
        list(traces), {"template": "none", "height": height, "margin": margin, "legend": legend,
                       "font": {"family": "system-ui, sans-serif", "size": 13}} | layout
    )  # fmt: skip


def intervals(
    values: Sequence[float], lows: Sequence[float | None], highs: Sequence[float | None]
) -> dict[str, list[float]]:
    """The error bars of values with their intervals; none where there is no interval."""
    ends = list(zip(values, lows, highs, strict=True))
    return {
        "array": [0.0 if high is None else high - value for value, _, high in ends],
        "arrayminus": [0.0 if low is None else value - low for value, low, _ in ends],
    }


def style_panels(fig: go.Figure, height: int) -> go.Figure:
    """Give a figure of several panels over epochs the page's style."""
    margin = {"l": 56, "r": 16, "t": 84, "b": 48}
    legend = {"orientation": "h", "y": 1 + 46 / height, "yanchor": "bottom"}
    font = figure([]).layout.font
    fig.update_layout(template="none", height=height, font=font, margin=margin, legend=legend)
    fig.update_annotations(font_size=13)
    fig.update_xaxes(title_text="epoch", title_standoff=4, rangemode="tozero")
    fig.update_yaxes(tickformat="~g")
    return fig
