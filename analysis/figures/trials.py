"""All trials at once: their hyperparameters, their scores as they came, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.palette import BLUE, LINE_SCALE, MUTED, ORANGE, STATES, ordered
from analysis.figures.stopping_and_use import pause_in_legend, pause_lines, time_axis
from analysis.figures.style import FULL, SWITCH_MARGIN, figure, points_for, score_axis, switch
from analysis.results.timeline import Timeline
from analysis.winner.pareto import TrialCost
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.trials import WITHOUT_WEIGHTS

FEW = 6  # values that get a step of their own on an axis


def parallel(trials: pd.DataFrame, names: Sequence[str], metric: Metric = ACCURACY) -> go.Figure:
    """One line a trial over the hyperparameters that vary, its epochs and its score."""
    best, title = metric.best_column, f"best {metric.column}"
    shown = trials.dropna(subset=[best])
    dimensions = [_axis(name, shown[name]) for name in names]
    dimensions += [
        {**_axis(name, shown[name]), "label": label}
        for name, label in (("epochs_run", "epochs run"), (best, title))
    ]
    line = {
        "color": shown[best].tolist(), "colorscale": LINE_SCALE, "showscale": True,
        "reversescale": metric.lower_is_better,
        "colorbar": {"title": {"text": title}, "thickness": 14, "outlinewidth": 0},
    }  # fmt: skip
    trace = go.Parcoords(line=line, dimensions=dimensions, labelangle=-12, labelside="top")
    return figure([trace], height=480, margin={"l": 80, "r": 40, "t": 80, "b": 40})


def _axis(name: str, values: pd.Series) -> dict[str, Any]:
    """A scale where a hyperparameter has many numbers, else a step for each value. Trials that do
    not have it lie at "none", below."""
    has = values[values.notna()]
    if pd.api.types.is_numeric_dtype(has.infer_objects()) and has.nunique() > FEW:
        return {"label": name, **_scale(values.astype(float))}
    texts = all(isinstance(v, str) for v in has)
    steps = ordered(name, has)[::-1] if texts else sorted(has.unique())
    names = ["none"] * bool(values.isna().any()) + [_step(v) for v in steps]
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
        ticks = {t: f"{t:g}" for t in round_ticks(low, high)}
    if values.isna().any():
        bottom = low - (high - low) / 8
        values, low, ticks = values.fillna(bottom), bottom, {bottom: "none", **ticks}
    ends = {low: "", high: ""}  # Plotly draws the axis from its first tick to its last
    return {
        "values": [round(float(v), 5) for v in values], "range": [low, high],
        "tickvals": list(ends | ticks), "ticktext": list((ends | ticks).values()),
    }  # fmt: skip


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, at most so many."""
    if low == high:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(
        m * power for m in (1, 2, 5, 10, 20)
        if math.floor(high / (m * power)) - math.ceil(low / (m * power)) < most
    )  # fmt: skip
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{n * step:.10g}") for n in range(first, last + 1)]


def progress(epochs: pd.DataFrame, ran: Timeline, metric: Metric = ACCURACY) -> go.Figure:
    """Each trial's best score, and the best so far, when they were known. One that diverged or
    crashed is never the best.

    A switch shows the same against the epochs that the search had spent.

    Args:
        epochs: one row a (trial, epoch).
        metric: what the search went by, here and below.
    """
    rows = epochs.dropna(subset=[metric.column]).sort_values("time", kind="stable")
    minutes = rows.time.map(ran.clock.minutes).round(3).tolist()
    rows = rows.assign(minutes=minutes, spent=range(1, len(rows) + 1))
    reached = rows[rows.epoch == rows.groupby("trial").best_epoch.transform("last")]
    traces: list[Any] = []
    places: dict[str, list[list[float | None]]] = {"minutes": [], "spent": []}

    def add(own: pd.DataFrame, trace: go.Scatter | go.Scattergl) -> None:
        for name, found in places.items():
            found.append(own[name].tolist())
        traces.append(trace.update(x=own.minutes.tolist()))

    for state, colour in STATES.items():
        own = reached[reached.state == state]
        if len(own):
            texts = [f"trial {n}: {escape(t)}<br>epoch {e}"
                     for n, t, e in zip(own.trial, own.label, own.epoch, strict=True)]  # fmt: skip
            add(own, points_for(len(reached))(
                y=own[metric.column].tolist(), mode="markers", name=state, text=texts,
                hovertemplate=f"%{{text}}: %{{y:{FULL}}}<extra></extra>",
                marker={"color": colour, "size": 8},
            ))  # fmt: skip
    for trace in pause_in_legend(ran):
        traces.append(trace)
        for found in places.values():
            found.append([None])
    scores = rows[metric.column].where(~rows.state.isin(WITHOUT_WEIGHTS))
    best = (scores.cummin() if metric.lower_is_better else scores.cummax()).ffill()
    steps = rows[((best != best.shift()) & best.notna()) | (rows.spent == len(rows))]
    add(steps, go.Scatter(
        y=best[steps.index].tolist(), mode="lines", name="best so far",
        line={"shape": "hv", "color": BLUE, "width": 2},
        hovertemplate=f"best so far: %{{y:{FULL}}}<extra></extra>",
    ))  # fmt: skip
    title = time_axis(ran)
    lines = pause_lines(ran)
    views = {
        label: ({"x": places[name]},
                {"xaxis.title.text": text, "shapes": shapes, "xaxis.autorange": True})
        for label, name, text, shapes in (
            ("by time", "minutes", title, lines),
            ("by epochs spent", "spent", "epochs spent by the whole search", []),
        )
    }  # fmt: skip
    return figure(
        traces, 470, yaxis=score_axis(metric, scores), shapes=lines, updatemenus=switch(views),
        xaxis={"title": {"text": title, "standoff": 8}, "rangemode": "tozero"},
        margin=SWITCH_MARGIN,
    )  # fmt: skip


def pareto(
    rows: Sequence[TrialCost], front: Sequence[TrialCost], metric: Metric = ACCURACY
) -> go.Figure:
    """Scores against training time of all trials, the front among them."""

    def points(own: Sequence[TrialCost], name: str, colour: str, mode: str) -> Any:
        largest = max(r.parameters for r in rows)
        return points_for(len(own))(
            x=[float(f"{r.seconds:.5g}") for r in own], y=[r.score for r in own],
            mode=mode, name=name, line={"shape": "hv", "dash": "dot", "color": colour},
            text=[f"trial {r.trial}: {escape(r.label)}<br>{r.parameters:,} parameters"
                  for r in own],
            hovertemplate=f"%{{text}}<br>%{{y:{FULL}}} in %{{x:.4g}} s<extra></extra>",
            marker={"color": colour, "size": [6 + 6 * r.parameters / largest for r in own]},
        )  # fmt: skip

    ordered = sorted(front, key=lambda r: r.seconds)
    return figure(
        [points(rows, "trials", MUTED, "markers"),
         points(ordered, "no other beats these", ORANGE, "markers+lines")],
        xaxis={"title": "training to the best epoch (s)", "type": "log",
               "tickvals": [m * 10**e for e in range(-2, 7) for m in (1, 2, 5)]},
        yaxis=score_axis(metric, [r.score for r in rows]),
    )  # fmt: skip
