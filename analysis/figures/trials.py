"""All trials at once: their hyperparameters, their accuracies as they came, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import ACCURACY, BLUE, LIGHT_BLUE, ORANGE, STATES, figure
from analysis.winner.pareto import TrialCost

FEW = 6  # values that get a step of their own on an axis


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
            line={"shape": "hv", "color": BLUE, "width": 2},
        )
    )  # fmt: skip
    return figure(traces, xaxis={"title": "minutes since the first trial"}, yaxis=ACCURACY)


def pareto(rows: Sequence[TrialCost], front: Sequence[TrialCost]) -> go.Figure:
    """Accuracy against training time of all trials, the front among them."""

    def points(own: Sequence[TrialCost], name: str, colour: str, mode: str) -> go.Scatter:
        largest = max(r.parameters for r in rows)
        return go.Scatter(
            x=[float(f"{r.seconds:.5g}") for r in own], y=[r.best_val_acc for r in own],
            mode=mode, name=name, line={"shape": "hv", "dash": "dot", "color": colour},
            text=[f"trial {r.trial}: {escape(r.label)}<br>{r.parameters:,} parameters"
                  for r in own],
            hovertemplate="%{text}<br>%{y:.4f} in %{x:.0f} s",
            marker={"color": colour, "size": [6 + 6 * r.parameters / largest for r in own]},
        )  # fmt: skip

    ordered = sorted(front, key=lambda r: r.seconds)
    return figure(
        [points(rows, "trials", LIGHT_BLUE, "markers"),
         points(ordered, "no other beats these", ORANGE, "markers+lines")],
        xaxis={"title": "training to the best epoch (s)", "type": "log",
               "tickvals": [m * 10**e for e in range(-2, 7) for m in (1, 2, 5)]}, yaxis=ACCURACY,
    )  # fmt: skip
