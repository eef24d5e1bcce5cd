"""What became of trials at the rungs, and where and when they ran."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.palette import BLUE, MUTED, STATES
from analysis.figures.style import MANY_POINTS, figure, style_panels
from analysis.results.timeline import Rung, Timeline, WorkerSpan, running_trials
from vgg6.common.numbers_in_words import significant
from vgg6.metric import ACCURACY, Metric

LINE_WIDTH = 16  # of a stretch that is no bar; a row has 26 pixels
PAUSE_LINE = {"color": MUTED, "dash": "dot", "width": 1.5}


def rungs(rungs: Sequence[Rung], metric: Metric = ACCURACY) -> go.Figure:
    """For each rung how many trials arrived and went on, and the score that was needed."""
    of = "" if metric.is_accuracy else f"{metric.column} "
    names = [r.name + ("" if r.cutoff is None
                       else f"<br>cut-off {of}{significant(r.cutoff, padded=True)}")
             for r in rungs]  # fmt: skip
    bars = [
        go.Bar(y=names, x=counts, text=counts, name=name, marker={"color": colour},
               orientation="h", textposition="outside", cliponaxis=False,
               hovertemplate="%{y}: %{x} %{fullData.name}<extra></extra>")
        for name, colour, counts in (
            ("arrived", MUTED, [r.arrived for r in rungs]),
            ("went on", BLUE, [r.went_on for r in rungs]),
        )
    ]  # fmt: skip
    return figure(
        bars, 110 + 62 * len(rungs), bargap=0.3,
        xaxis={"title": "trials", "rangemode": "tozero",
               **whole_ticks(max(r.arrived for r in rungs))},
        yaxis={"autorange": "reversed", "automargin": True, "ticksuffix": " "},
        margin={"l": 64, "r": 36, "t": 30, "b": 54},
    )  # fmt: skip


def cluster(timeline: Timeline) -> go.Figure:
    """Which trial ran where and when, and how many ran at once; pauses are cut out."""
    spans = timeline.spans
    slots = sorted({span.slot for span in spans})
    fig = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.07)
    for state, colour in STATES.items():
        if own := [span for span in spans if span.state == state]:
            draw = _bars if len(spans) <= MANY_POINTS else _lines
            fig.add_trace(draw(own, state, colour), row=1, col=1)
    fig.add_traces(pause_in_legend(timeline))
    minutes, counts = zip(*running_trials(spans), strict=True)
    fig.add_scatter(
        x=[round(minute, 3) for minute in minutes], y=counts, mode="lines", fill="tozeroy",
        line={"shape": "hv", "color": BLUE}, name="running", showlegend=False, row=2, col=1,
        hovertemplate="%{y} at minute %{x:.1f}<extra></extra>",
    )  # fmt: skip
    fig = style_panels(fig, 330 + 26 * len(slots))
    fig.update_layout(barmode="overlay", margin={"l": 64, "r": 16, "t": 50, "b": 48})
    fig.update_xaxes(title_text=None, row=1, col=1)
    fig.update_xaxes(title_text=time_axis(timeline), row=2, col=1)
    rows = [escape(f"{node} · {slot}") for node, slot in slots]
    fig.update_yaxes(
        automargin=True, ticksuffix=" ", categoryorder="array", categoryarray=rows[::-1],
        row=1, col=1,
    )  # fmt: skip
    fig.update_yaxes(
        title_text="at once", rangemode="tozero", row=2, col=1, **whole_ticks(max(counts), 3)
    )
    return fig.update_layout(shapes=pause_lines(timeline))


def _bars(own: Sequence[WorkerSpan], state: str, colour: str) -> go.Bar:
    """A bar a stretch."""
    return go.Bar(
        base=[round(s.start, 3) for s in own], x=[round(s.length, 3) for s in own],
        y=[escape(s.row) for s in own], orientation="h", name=state,
        marker={"color": colour, "line": {"width": 0.6, "color": "#fff"}},
        text=[f"trial {s.trial}" for s in own], textposition="none",
        hovertemplate="%{text}: from minute %{base:.1f}, for %{x:.1f} min<extra></extra>",
    )  # fmt: skip


def _lines(own: Sequence[WorkerSpan], state: str, colour: str) -> go.Scattergl:
    """The same as thick lines, which the graphics card draws."""
    return go.Scattergl(
        x=[minute for s in own for minute in (round(s.start, 3), round(s.end, 3), None)],
        y=[row for s in own for row in (escape(s.row), escape(s.row), None)],
        text=[text for s in own for text in (_span_in_words(s), _span_in_words(s), "")],
        mode="lines", line={"color": colour, "width": LINE_WIDTH}, connectgaps=False, name=state,
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _span_in_words(span: WorkerSpan) -> str:
    return f"trial {span.trial}: from minute {span.start:.1f}, for {span.length:.1f} min"


def whole_ticks(highest: int, most: int = 5) -> dict[str, object]:
    """Ticks of an axis of counts: whole numbers, at most so many steps."""
    ticks = {"tickformat": "d"}
    return ticks | ({"dtick": 1} if highest <= most else {"nticks": most + 1})


def time_axis(timeline: Timeline) -> str:
    """What an axis of its minutes is called."""
    return "minutes of searching" if timeline.pauses else "minutes since the first trial"


def pause_in_legend(timeline: Timeline) -> list[go.Scatter]:
    """What the legend says of the lines of ``pause_lines``; nothing where there is none."""
    name = "a pause, cut out"
    line = go.Scatter(x=[None], y=[None], mode="lines", name=name, line=PAUSE_LINE)
    return [line] if timeline.pauses else []


def pause_lines(timeline: Timeline) -> list[dict[str, object]]:
    """A dotted line over the whole height of a figure at each pause."""
    return [
        {"type": "line", "xref": "x", "yref": "paper", "x0": minute, "x1": minute, "y0": 0, "y1": 1,
         "line": PAUSE_LINE}
        for minute in timeline.pauses
    ]  # fmt: skip
