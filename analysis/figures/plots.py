"""The report's figures, each a function of plain data. Titles are the page's; colours are safe for
colour-blind readers (Okabe and Ito for choices, cividis for accuracy)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F",
           "#6A3D9A")  # fmt: skip
STATES = {"completed": "#009E73", "pruned": "#E69F00", "infeasible": "#D55E00",
          "failed": "#CC79A7", "stopped": "#7F7F7F", "running": "#56B4E9"}  # fmt: skip
PANELS = {"train_loss": "training loss (nats)", "train_acc": "training accuracy",
          "val_loss": "validation loss (nats)", "val_acc": "validation accuracy"}  # fmt: skip
CURVE = {"width": 1.3}
ERROR_BAR = {"color": "#8A8A8A", "thickness": 1.5}  # seen on light and dark
WORST_LOSS = 1.5 * math.log(10)  # nats; a higher one is much worse than to guess, and not drawn
FEW = 6  # values that get a step of their own on an axis
MANY_ROWS = 6000  # above it lines are drawn by the graphics card
ACCURACY = {"tickformat": ".2f", "title": "validation accuracy"}


def figure(traces: Iterable[Any], height: int = 420, **layout: Any) -> go.Figure:
    """A figure in the page's style."""
    margin = {"l": 64, "r": 20, "t": 30, "b": 54}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    return go.Figure(
        list(traces), {"template": "none", "height": height, "margin": margin, "legend": legend,
                       "font": {"family": "system-ui, sans-serif", "size": 13}} | layout
    )  # fmt: skip


def parallel(trials: pd.DataFrame, names: Sequence[str]) -> go.Figure:
    """One line a trial over the hyperparameters that vary, its epochs and its accuracy."""
    shown = trials.dropna(subset=["best_val_acc"])
    dimensions = [_axis(name, shown[name]) for name in (*names, "epochs_run", "best_val_acc")]
    line = {
        "color": shown.best_val_acc.tolist(), "colorscale": "Cividis", "showscale": True,
        "colorbar": {"title": {"text": "val_acc"}, "thickness": 14},
    }  # fmt: skip
    trace = go.Parcoords(line=line, dimensions=dimensions, labelangle=-12, labelside="top")
    return figure([trace], height=480, margin={"l": 80, "r": 40, "t": 80, "b": 40})


def _axis(name: str, values: pd.Series) -> dict[str, Any]:
    """A scale where a hyperparameter has many numbers, else a step for each value. Trials that do
    not have it lie at "none", below."""
    has = values[values.notna()]
    if pd.api.types.is_numeric_dtype(has.infer_objects()) and has.nunique() > FEW:
        return {"label": name, **_scale(values.astype(float))}
    names = ["none"] * bool(values.isna().any()) + [_step(v) for v in sorted(has.unique())]
    places = ["none" if v is None or v != v else _step(v) for v in values]
    return {
        "label": name, "values": [names.index(p) for p in places],
        "tickvals": list(range(len(names))), "ticktext": [escape(n) for n in names],
    }  # fmt: skip


def _step(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _scale(values: pd.Series) -> dict[str, Any]:
    """Places and ticks of numbers, by their logarithm where they span a power of ten."""
    low, high = values.min(), values.max()
    if low > 0 and high / low >= 10:
        values, low, high = np.log10(values), math.log10(low), math.log10(high)
        ticks = {float(t): f"{10.0**t:g}" for t in range(math.ceil(low), math.floor(high) + 1)}
    else:
        ticks = {float(t): f"{t:.3g}" for t in np.linspace(low, high, 5)}
    if values.isna().any():
        bottom = low - (high - low) / 8
        values, low, ticks = values.fillna(bottom), bottom, {bottom: "none", **ticks}
    return {
        "values": [round(float(v), 5) for v in values], "range": [low, high],
        "tickvals": list(ticks), "ticktext": list(ticks.values()),
    }  # fmt: skip


def progress(trials: pd.DataFrame) -> go.Figure:
    """Each trial's accuracy at the time it was created, and the best so far."""
    shown = trials.dropna(subset=["best_val_acc"]).sort_values("created")
    minutes = (shown.created - trials.created.min()) / 60
    traces: list[Any] = []
    for state, colour in STATES.items():
        own = shown.state == state
        if own.any():
            texts = [f"trial {n}: {escape(t)}" for n, t in zip(shown.trial[own], shown.label[own],
                                                               strict=True)]  # fmt: skip
            traces.append(
                go.Scatter(
                    x=minutes[own].round(3).tolist(), y=shown.best_val_acc[own].tolist(),
                    mode="markers", name=state, text=texts, hovertemplate="%{text}<br>%{y:.4f}",
                    marker={"color": colour, "size": 8, "opacity": 0.8},
                )
            )  # fmt: skip
    best = shown.best_val_acc.cummax()
    traces.append(
        go.Scatter(
            x=minutes.round(3).tolist(), y=best.tolist(), mode="lines", name="best so far",
            line={"shape": "hv", "color": "#0072B2", "width": 2},
        )
    )  # fmt: skip
    return figure(traces, xaxis={"title": "minutes since the first trial"}, yaxis=ACCURACY)


def curves(table: pd.DataFrame) -> go.Figure:
    """Losses and accuracies by epoch; one trace a panel and (activation, optimizer)."""
    fig = make_subplots(2, 2, subplot_titles=list(PANELS.values()), vertical_spacing=0.14)
    colours = _colours(table.activation)
    seen: set[str] = set()
    for (activation, optimizer), part in _groups(table, "activation", "optimizer"):
        for place, metric in enumerate(PANELS):
            x, y, _ = _broken(part, metric)
            fig.add_trace(
                _lines(table)(
                    x=x, y=y, name=activation, legendgroup=activation, connectgaps=False,
                    showlegend=activation not in seen, mode="lines", hoverinfo="x+y",
                    line={"color": colours[activation], **CURVE}, opacity=0.75,
                    meta={"activation": activation, "optimizer": optimizer},
                ),
                row=place // 2 + 1, col=place % 2 + 1,
            )  # fmt: skip
            seen.add(activation)
    for place, metric in enumerate(PANELS):
        # One trial that goes astray has the loss of a thousand others: all lines would be flat.
        if metric.endswith("loss") and table[metric].max() > WORST_LOSS:
            fig.update_yaxes(range=[0, WORST_LOSS], row=place // 2 + 1, col=place % 2 + 1)
            fig.layout.annotations[place].text += f", up to {WORST_LOSS:.1f}"
    return _multiples(fig, 720)


def small_multiples(table: pd.DataFrame, kind: str, colour: str) -> go.Figure:
    """Validation accuracy by epoch: a panel for each value of ``kind``, lines coloured by
    ``colour``."""
    kinds = sorted(table[kind].unique())
    columns = min(3, len(kinds))
    rows = math.ceil(len(kinds) / columns)
    fig = make_subplots(
        rows, columns, subplot_titles=kinds, shared_yaxes="all", vertical_spacing=0.24 / rows,
        horizontal_spacing=0.04,
    )  # fmt: skip
    fig.update_xaxes(matches="x")
    fig.layout.xaxis.matches = None  # not itself
    colours = _colours(table[colour])
    seen: set[str] = set()
    for (own, other), part in _groups(table, kind, colour):
        place = kinds.index(own)
        x, y, text = _broken(part, "val_acc")
        named = {kind: own, colour: other}
        fig.add_trace(
            _lines(table)(
                x=x, y=y, name=other, legendgroup=other, showlegend=other not in seen,
                mode="lines+markers" if len(part) < 200 else "lines", text=text,
                hovertemplate="%{text}<br>epoch %{x}: %{y:.4f}", marker={"size": 4},
                line={"color": colours[other], **CURVE}, opacity=0.75, meta=named,
            ),
            row=place // columns + 1, col=place % columns + 1,
        )  # fmt: skip
        seen.add(other)
    fig = _multiples(fig, 90 + 250 * rows)
    for place in range(len(kinds) - columns):  # another panel lies below: its axis has the title
        fig.update_xaxes(title_text="", row=place // columns + 1, col=place % columns + 1)
    return fig


def steps(table: pd.DataFrame, train_images: int) -> go.Figure:
    """Validation accuracy by optimizer step; one trace an (activation, optimizer)."""
    an_epoch = np.ceil(train_images / table.batch_size).astype(int)
    counted = table.assign(epoch=table.epoch * an_epoch)
    colours = _colours(table.activation)
    seen: set[str] = set()
    traces = []
    for (activation, optimizer), part in _groups(counted, "activation", "optimizer"):
        x, y, text = _broken(part, "val_acc")
        traces.append(
            _lines(table)(
                x=x, y=y, name=activation, legendgroup=activation, mode="lines", text=text,
                showlegend=activation not in seen, connectgaps=False, opacity=0.75,
                hovertemplate="%{text}, " + optimizer + "<br>step %{x}: %{y:.4f}",
                line={"color": colours[activation], **CURVE},
                meta={"activation": activation, "optimizer": optimizer},
            )
        )  # fmt: skip
        seen.add(activation)
    return figure(traces, xaxis={"title": "optimizer step", "rangemode": "tozero"}, yaxis=ACCURACY)


def _multiples(fig: go.Figure, height: int) -> go.Figure:
    style = figure([], height).layout
    margin = {"l": 56, "r": 16, "t": 84, "b": 48}
    legend = {"orientation": "h", "y": 1 + 46 / height, "yanchor": "bottom"}
    fig.update_layout(template="none", height=height, font=style.font, margin=margin, legend=legend)
    fig.update_annotations(font_size=13)
    fig.update_xaxes(title_text="epoch", title_standoff=4, rangemode="tozero")
    fig.update_yaxes(tickformat="~g")
    return fig


def _lines(table: pd.DataFrame) -> type:
    return go.Scattergl if len(table) > MANY_ROWS else go.Scatter


def _groups(table: pd.DataFrame, *names: str) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    return [((str(a), str(b)), part) for (a, b), part in table.groupby(list(names))]


def _broken(
    part: pd.DataFrame, metric: str
) -> tuple[list[int | None], list[float | None], list[str]]:
    """The curves of several trials as one line with gaps between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial, rows in part.groupby("trial"):
        x += [*rows.epoch.tolist(), None]
        y += [*(float(f"{v:.5g}") for v in rows[metric]), None]
        text += [f"trial {trial}"] * (len(rows) + 1)
    return x, y, text


def _colours(values: pd.Series) -> dict[str, str]:
    return {v: COLOURS[i % len(COLOURS)] for i, v in enumerate(sorted(values.unique()))}


def importance(found: dict[str, Any]) -> go.Figure:
    """Share of each hyperparameter, less what chance gives, with its interval."""
    names = list(found["values"])[::-1]
    rows = [found["values"][n] for n in names]
    means = [r["mean"] for r in rows]
    bars = go.Bar(
        x=means, y=names, orientation="h", marker={"color": "#0072B2"},
        text=[f"p {r['p']:.2g}" for r in rows], hovertemplate="%{x:.1%}, %{text} by chance",
        textposition="none",
        error_x={"array": [r["high"] - r["mean"] for r in rows],
                 "arrayminus": [r["mean"] - r["low"] for r in rows], **ERROR_BAR},
    )  # fmt: skip
    axis = {"title": "share (bars: 95 % interval)", "tickformat": ".0%"}
    return figure([bars], 110 + 42 * len(names), xaxis=axis, yaxis={"automargin": True})


def interaction(found: dict[str, Any]) -> go.Figure:
    """Mean accuracy by optimizer and bin of learning rates."""
    edges = found["lr_bins"]
    bins = [f"{low:.2g} to {high:.2g}" for low, high in pairwise(edges)]
    text = [
        [f"{v:.3f} (n={n})" if v is not None else "" for v, n in zip(*row, strict=True)]
        for row in zip(found["mean_val_acc"], found["count"], strict=True)
    ]
    trace = go.Heatmap(
        z=found["mean_val_acc"], x=bins, y=found["optimizers"], text=text,
        texttemplate="%{text}", colorscale="Cividis", hovertemplate="%{y}, lr %{x}: %{text}",
        colorbar={"title": {"text": "val_acc"}, "thickness": 14},
    )  # fmt: skip
    height = 160 + 44 * len(found["optimizers"])
    return figure(
        [trace],
        height,
        xaxis={"title": "learning rate", "automargin": True},
        yaxis={"automargin": True},
    )


def effect(rows: Sequence[dict[str, Any]], title: str = "val_acc") -> go.Figure:
    """Differences of matched pairs with their intervals; only rows that have one.

    ``title``: of what the differences are.
    """
    shown = [r for r in rows if r["difference"] is not None][::-1]
    references = {r["against"] for r in shown}
    one = len(references) == 1 and len(str(shown[0]["against"])) < 10  # else the title is too long
    named = [r["value"] if one else _both(r["value"], r["against"]) for r in shown]
    trace = go.Scatter(
        x=[r["difference"] for r in shown],
        y=[f"{n} ({r['pairs']} pairs)" for n, r in zip(named, shown, strict=True)], mode="markers",
        marker={"size": 11, "color": "#0072B2"}, hovertemplate="%{x:+.4f}",
        error_x={"array": [r["high"] - r["difference"] for r in shown],
                 "arrayminus": [r["difference"] - r["low"] for r in shown]},
    )  # fmt: skip
    against = f" against {references.pop()}" if one else ""
    return figure(
        [trace], 120 + 40 * len(shown), yaxis={"automargin": True},
        # A phone leaves the axis little room: a small title on two lines, and ticks that may turn.
        xaxis={"title": {"text": f"{title}{against}<br>(95 %)", "font": {"size": 12}},
               "zeroline": True, "zerolinewidth": 2, "tickformat": "+.3~f", "automargin": True,
               "rangemode": "tozero"},
    )  # fmt: skip


def _both(value: str, against: str) -> str:
    """On two lines where one would leave a phone no room for the figure."""
    return f"{value}{' ' if len(value + against) < 20 else '<br>'}- {against}"


def rungs(found: Sequence[dict[str, Any]]) -> go.Figure:
    """For each rung how many trials arrived and went on, and the score that was needed."""
    names = [r["name"] for r in found]
    traces = [
        go.Bar(x=names, y=[r["arrived"] for r in found], name="arrived", text=[
            r["arrived"] for r in found], marker={"color": "#56B4E9"}),
        go.Bar(x=names, y=[r["promoted"] for r in found], name="went on", text=[
            r["promoted"] for r in found], marker={"color": "#0072B2"}),
        go.Scatter(x=names, y=[r["cutoff"] for r in found], name="cut-off at the end", yaxis="y2",
                   mode="markers+lines", marker={"color": "#D55E00", "size": 9},
                   line={"dash": "dot"}, hovertemplate="%{y:.4f}"),
    ]  # fmt: skip
    return figure(
        traces, xaxis={"title": "rung"}, yaxis={"title": "trials", "rangemode": "tozero"},
        yaxis2={"title": "validation accuracy", "overlaying": "y", "side": "right",
                "showgrid": False, "tickformat": ".2f"},
        margin={"l": 64, "r": 64, "t": 30, "b": 54},
    )  # fmt: skip


def cluster(spans: pd.DataFrame, running: pd.DataFrame) -> go.Figure:
    """Which trial ran where and when, and how many ran at once.

    Args:
        spans: worker, trial, state, start and length in minutes. running: minute, count.
    """
    fig = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.07)
    for state in STATES:
        part = spans[spans.state == state]
        if not len(part):
            continue
        fig.add_trace(
            go.Bar(
                base=part.start.round(3).tolist(), x=part.length.round(3).tolist(),
                y=[escape(w) for w in part.worker], orientation="h", name=state,
                marker={"color": STATES[state], "line": {"width": 0.6, "color": "#fff"}},
                text=[f"trial {t}" for t in part.trial], textposition="none",
                hovertemplate="%{text}: %{base:.1f} min, for %{x:.1f} min",
            ),
            row=1, col=1,
        )  # fmt: skip
    fig.add_trace(
        go.Scatter(x=running.minute.tolist(), y=running["count"].tolist(), mode="lines",
                   line={"shape": "hv", "color": "#0072B2"}, fill="tozeroy", name="running",
                   showlegend=False), row=2, col=1,
    )  # fmt: skip
    height = 330 + 22 * spans.worker.nunique()
    fig = _multiples(fig, height)
    fig.update_layout(barmode="overlay", margin={"l": 120, "r": 16, "t": 50, "b": 48})
    fig.update_xaxes(title_text=None, row=1, col=1)
    fig.update_xaxes(title_text="minutes since the first trial", row=2, col=1)
    fig.update_yaxes(
        title_text="trials at once", rangemode="tozero", tickformat="d", nticks=4, row=2, col=1
    )
    return fig


def pareto(rows: Sequence[dict[str, Any]], front: Sequence[dict[str, Any]]) -> go.Figure:
    """Accuracy against training time of all trials, the front among them."""

    def points(own: Sequence[dict[str, Any]], name: str, colour: str, mode: str) -> go.Scatter:
        largest = max(r["parameters"] for r in rows)
        return go.Scatter(
            x=[float(f"{r['seconds']:.5g}") for r in own], y=[r["best_val_acc"] for r in own],
            mode=mode, name=name, line={"shape": "hv", "dash": "dot", "color": colour},
            text=[f"trial {r['trial']}: {escape(r['label'])}<br>{r['parameters']:,} parameters"
                  for r in own],
            hovertemplate="%{text}<br>%{y:.4f} in %{x:.0f} s",
            marker={"color": colour, "size": [6 + 6 * r["parameters"] / largest for r in own]},
        )  # fmt: skip

    ordered = sorted(front, key=lambda r: r["seconds"])
    return figure(
        [points(rows, "trials", "#56B4E9", "markers"),
         points(ordered, "no other beats these", "#D55E00", "markers+lines")],
        xaxis={"title": "training to the best epoch (s)", "type": "log",
               "tickvals": [m * 10**e for e in range(-2, 7) for m in (1, 2, 5)]}, yaxis=ACCURACY,
    )  # fmt: skip


def confirmation(found: dict[str, Any]) -> go.Figure:
    """Each candidate's search score, its fresh runs and its mean with the interval."""
    rows = found["candidates"][::-1]
    names = [f"trial {r['trial']}" for r in rows]
    runs = [(n, run["val_acc"]) for n, r in zip(names, rows, strict=True) for run in r["runs"]]
    known = [(n, r) for n, r in zip(names, rows, strict=True) if r["mean"] is not None]
    means = [r["mean"] for _, r in known]
    traces = [
        go.Scatter(x=[v for _, v in runs], y=[n for n, _ in runs], mode="markers",
                   name="a fresh seed", marker={"color": "#56B4E9", "size": 8}),
        go.Scatter(x=means, y=[n for n, _ in known], mode="markers", name="mean (95 % interval)",
                   marker={"color": "#0072B2", "size": 12},
                   error_x={"array": [(r["high"] or r["mean"]) - r["mean"] for _, r in known],
                            "arrayminus": [r["mean"] - (r["low"] or r["mean"]) for _, r in known]}),
        go.Scatter(x=[r["search_score"] for r in rows], y=names, mode="markers",
                   name="score in the search",
                   marker={"color": "#D55E00", "size": 12, "symbol": "diamond-open",
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
