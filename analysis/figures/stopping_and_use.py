"""What became of trials at the rungs, and where and when they ran."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import BLUE, LIGHT_BLUE, ORANGE, STATES, figure, style_panels
from analysis.results.timeline import Rung, WorkerSpan, running_trials


def rungs(rungs: Sequence[Rung]) -> go.Figure:
    """For each rung how many trials arrived and went on, and the score that was needed."""
    names = [r.name for r in rungs]
    bars = [
        go.Bar(x=names, y=counts, text=counts, name=name, marker={"color": colour})
        for name, colour, counts in (
            ("arrived", LIGHT_BLUE, [r.arrived for r in rungs]),
            ("went on", BLUE, [r.went_on for r in rungs]),
        )
    ]
    cutoffs = go.Scatter(
        x=names, y=[r.cutoff for r in rungs], name="cut-off at the end", yaxis="y2",
        mode="markers+lines", marker={"color": ORANGE, "size": 9}, line={"dash": "dot"},
        hovertemplate="%{y:.4f}",
    )  # fmt: skip
    return figure(
        [*bars, cutoffs], xaxis={"title": "rung"}, yaxis={"title": "trials", "rangemode": "tozero"},
        yaxis2={"title": "validation accuracy", "overlaying": "y", "side": "right",
                "showgrid": False, "tickformat": ".2f"},
        margin={"l": 64, "r": 64, "t": 30, "b": 54},
    )  # fmt: skip


def cluster(spans: Sequence[WorkerSpan]) -> go.Figure:
    """Which trial ran where and when, and how many ran at once."""
    fig = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.07)
    for state, colour in STATES.items():
        if own := [span for span in spans if span.state == state]:
            fig.add_bar(
                base=[round(s.start, 3) for s in own], x=[round(s.length, 3) for s in own],
                y=[escape(s.worker) for s in own], orientation="h", name=state,
                marker={"color": colour, "line": {"width": 0.6, "color": "#fff"}},
                text=[f"trial {s.trial}" for s in own], textposition="none",
                hovertemplate="%{text}: %{base:.1f} min, for %{x:.1f} min", row=1, col=1,
            )  # fmt: skip
    minutes, counts = zip(*running_trials(spans), strict=True)
    fig.add_scatter(
        x=[round(minute, 3) for minute in minutes], y=counts, mode="lines", fill="tozeroy",
        line={"shape": "hv", "color": BLUE}, name="running", showlegend=False, row=2, col=1,
    )  # fmt: skip
    fig = style_panels(fig, 330 + 22 * len({span.worker for span in spans}))
    fig.update_layout(barmode="overlay", margin={"l": 120, "r": 16, "t": 50, "b": 48})
    fig.update_xaxes(title_text=None, row=1, col=1)
    fig.update_xaxes(title_text="minutes since the first trial", row=2, col=1)
    fig.update_yaxes(
        title_text="trials at once", rangemode="tozero", tickformat="d", nticks=4, row=2, col=1
    )
    return fig
