"""What the figures have in common: their layout, axes, numbers and error bars.

Titles are the page's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.figures.palette import MUTED
from vgg6.metric import Metric

WORST_LOSS = 1.5 * math.log(10)  # nats; a higher one is much worse than to guess, and not drawn
FULL = ".8~g"  # of a number on hover
FONT = {"family": "system-ui, sans-serif", "size": 13}
MANY_POINTS = 2000  # above it they are drawn by the graphics card: a page of SVG would be slow
LEGEND_TITLE = {"font": {"size": 13}}
# A switch keeps its own colours, since Plotly's pressed button is light on every page.
BUTTONS = {"bgcolor": "#E4E9EE", "bordercolor": MUTED, "font": {"color": "#1b1f24", "size": 12}}
SWITCH_MARGIN = {"l": 64, "r": 20, "t": 30, "b": 108}  # of a figure that has a switch


def figure(traces: Iterable[Any], height: int = 420, **layout: Any) -> go.Figure:
    """A figure in the page's style."""
    margin = {"l": 64, "r": 20, "t": 30, "b": 54}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": LEGEND_TITLE}
    return go.Figure(
        list(traces), {"template": "none", "height": height, "margin": margin, "legend": legend,
                       "font": FONT} | layout
    )  # fmt: skip


def points_for(count: int) -> type[go.Scatter] | type[go.Scattergl]:
    """The kind of trace that draws so many points."""
    return go.Scattergl if count > MANY_POINTS else go.Scatter


def score_axis(metric: Metric, scores: Iterable[float] = ()) -> dict[str, Any]:
    """The axis of scores. One trial that goes astray has the loss of a thousand others, which
    would all lie on one line: the axis of losses ends before."""
    axis: dict[str, Any] = {"tickformat": ".2f", "title": metric.axis}
    if metric.lower_is_better and max(scores, default=0.0) > WORST_LOSS:
        axis["range"] = [0, WORST_LOSS]
    return axis


def error_bars(
    values: Sequence[float], lows: Sequence[float | None], highs: Sequence[float | None]
) -> dict[str, Any]:
    """The error bars of values with their intervals; none where there is no interval."""
    ends = list(zip(values, lows, highs, strict=True))
    return {
        "type": "data", "symmetric": False, "color": MUTED, "thickness": 1.5,
        "array": [0.0 if high is None else high - value for value, _, high in ends],
        "arrayminus": [0.0 if low is None else value - low for value, low, _ in ends],
    }  # fmt: skip


def switch(views: Mapping[str, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Buttons below a figure, one a view: by label, what it sets of the traces and the layout."""
    buttons = [{"label": label, "method": "update", "args": [*sets]}
               for label, sets in views.items()]  # fmt: skip
    return [{
        "type": "buttons", "direction": "right", "showactive": True, "x": 0, "xanchor": "left",
        "y": 0, "yanchor": "top", "pad": {"t": 66}, **BUTTONS, "buttons": buttons,
    }]  # fmt: skip


def style_panels(fig: go.Figure, height: int) -> go.Figure:
    """Give a figure of several panels over epochs the page's style."""
    margin = {"l": 56, "r": 16, "t": 84, "b": 48}
    legend = {"orientation": "h", "y": 1 + 46 / height, "yanchor": "bottom", "title": LEGEND_TITLE}
    fig.update_layout(template="none", height=height, font=FONT, margin=margin, legend=legend)
    fig.update_annotations(font_size=13)
    fig.update_xaxes(title_text="epoch", title_standoff=4, rangemode="tozero")
    fig.update_yaxes(tickformat="~g")
    return fig
