"""Scores against what a network takes: its parameters, its file, or its time for an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from analysis.figures.palette import BLUE, GREEN, MUTED, ORANGE
from analysis.figures.style import (
    FULL,
    SWITCH_MARGIN,
    error_bars,
    figure,
    points_for,
    score_axis,
    switch,
)
from analysis.packages.compressed_networks import CompressedNetwork
from analysis.winner.size_front import SizedTrial
from vgg6.metric import ACCURACY, Metric

FLOAT_BYTES = 4  # of a parameter in fp32
TICKS = [m * 10**e for e in range(-2, 9) for m in (1, 2, 5)]


@dataclass(frozen=True)
class _Point:
    """``place``: on the axis of a view, None where it is not in it."""

    place: float | None
    score: float
    text: str
    low: float | None = None
    high: float | None = None


def sizes(
    rows: Sequence[SizedTrial],
    front: Sequence[SizedTrial],
    metric: Metric = ACCURACY,
    packed: Sequence[CompressedNetwork] = (),
) -> go.Figure:
    """Scores of the completed trials against their parameters, the front among them, and what fresh
    seeds say of it.

    A switch shows the sizes of files, with the compressed networks on the same front; another one
    times, where they were measured.

    Args:
        packed: the winner as it was trained, then what compression made of it.
    """
    views: dict[str, tuple[str, list[list[_Point]]]] = {
        "by parameters": ("parameters", _by_parameters(rows, front, metric))
    }
    if packed:
        views["by file size"] = ("model.onnx (kB)", _by_file(rows, packed, metric))
    if any(one.latency is not None for one in front):
        views["by time"] = ("one image in onnxruntime (ms)", _by_time(front, metric))
    looks: list[dict[str, Any]] = [
        {"name": "completed trials", "mode": "markers", "marker": {"color": MUTED}},
        {"name": "no other beats these", "mode": "markers+lines", "marker": {"color": ORANGE},
         "line": {"shape": "hv", "dash": "dot", "color": ORANGE}},
        {"name": "mean over fresh seeds (95 % interval)", "mode": "markers",
         "marker": {"color": BLUE, "size": 9, "symbol": "square"}},
        {"name": "compressed (95 % interval)", "mode": "markers",
         "marker": {"color": GREEN, "size": 11, "symbol": "diamond"}},
    ]  # fmt: skip
    used = [i for i in range(len(looks)) if any(traces[i] for _, traces in views.values())]
    first = next(iter(views.values()))[1]
    layout: dict[str, Any] = {}
    if len(views) > 1:
        layout["margin"] = SWITCH_MARGIN
        layout["updatemenus"] = switch({
            label: (_drawn([traces[i] for i in used]),
                    {"xaxis.title.text": title, "xaxis.autorange": True})
            for label, (title, traces) in views.items()
        })  # fmt: skip
    traces = [
        points_for(len(first[i]))(
            **{name: values[0] for name, values in _drawn([first[i]]).items()}, **looks[i],
            hovertemplate=f"%{{text}}<br>%{{y:{FULL}}}<extra></extra>",
        )
        for i in used
    ]  # fmt: skip
    return figure(
        traces, xaxis={"title": {"text": "parameters"}, "type": "log", "tickvals": TICKS},
        yaxis=score_axis(metric, [r.score for r in rows]), **layout,
    )  # fmt: skip


def _drawn(traces: Sequence[Sequence[_Point]]) -> dict[str, list[Any]]:
    """What a view sets of each trace."""
    bars = [
        error_bars([p.score for p in own], [p.low for p in own], [p.high for p in own])
        for own in traces
    ]
    return {
        "x": [[p.place for p in own] for own in traces],
        "y": [[p.score for p in own] for own in traces],
        "text": [[p.text for p in own] for own in traces],
        "error_y": [
            {**bar, "visible": any(bar["array"] + bar["arrayminus"])} for bar in bars
        ],
    }  # fmt: skip


def _by_parameters(
    rows: Sequence[SizedTrial], front: Sequence[SizedTrial], metric: Metric
) -> list[list[_Point]]:
    ordered = sorted(front, key=lambda one: one.parameters)
    return [
        [_Point(one.parameters, one.score, _text(one)) for one in rows],
        [_Point(one.parameters, one.score, _text(one)) for one in ordered],
        [
            _Point(one.parameters, one.mean, _text(one), one.low, one.high)
            for one in ordered
            if one.mean is not None
        ],
        [],
    ]


def _by_file(
    rows: Sequence[SizedTrial], packed: Sequence[CompressedNetwork], metric: Metric
) -> list[list[_Point]]:
    """Trials by the size of their fp32 file: 4 bytes a parameter. ``packed`` by the file's own."""
    trials = [_Point(FLOAT_BYTES * one.parameters / 1e3, one.score, _text(one)) for one in rows]
    small = [
        _Point(one.bytes / 1e3, one.score, f"{escape(one.name)}: {one.bytes:,} bytes", one.low,
               one.high)
        for one in packed
    ]  # fmt: skip
    return [trials, _front(trials + small, metric), [], small]


def _by_time(front: Sequence[SizedTrial], metric: Metric) -> list[list[_Point]]:
    """Only those whose time was measured, by their mean."""
    means = [
        _Point(1e3 * one.latency, one.mean, _text(one), one.low, one.high)
        for one in front
        if one.latency is not None and one.mean is not None
    ]
    return [[], _front(means, metric), means, []]


def _front(points: Sequence[_Point], metric: Metric) -> list[_Point]:
    """Those that no other one beats, from the least place on."""
    found: list[_Point] = []
    for point in sorted(points, key=lambda p: (p.place or 0.0, -metric.gain(p.score))):
        if not found or metric.is_better(point.score, than=found[-1].score):
            found.append(_Point(point.place, point.score, point.text))
    return found


def _text(one: SizedTrial) -> str:
    lines = [one.words, one.confirmed_in_words, one.time_in_words]
    return "<br>".join([f"trial {one.trial}: {escape(one.label)}", *filter(None, lines)])
