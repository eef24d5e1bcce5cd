"""Accuracy against size and speed of compressed networks, and which of them no other one beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.plots import COLOURS, ERROR_BAR, figure
from analysis.packages.package import PACKED, SUMS, read_package
from vgg6.tuning.run.folder import RunFolder

BATCH = 256
WHOLE = "as trained"


def compressed(run: RunFolder) -> list[dict[str, Any]]:
    """What ``compress RUN/best`` has made so far of a search's winner, the winner itself first.

    Returns:
        name, accuracy on the validation images with its interval (low, high), bytes, parameters,
        flops, and speed by batch size: as many times as fast as the winner (ratio, low, high).

    Raises:
        InputError: such a package is not what it should be; names the file.
    """
    if not run.local:
        return []
    folders = sorted(p.parent for p in Path(run.path).glob(f"{PACKED}-*/{SUMS}"))
    packages = {folder.name.removeprefix(f"{PACKED}-"): read_package(folder) for folder in folders}
    rows: list[dict[str, Any]] = []
    for name, package in packages.items():
        if package.compression is None:
            continue
        found = package.metrics
        speed = {row["batch"]: row for row in found["speed"]}
        if not rows:
            same = {batch: {"ratio": 1.0, "low": 1.0, "high": 1.0} for batch in speed}
            rows.append(
                {"name": WHOLE, **found["before"], "low": None, "high": None, "speed": same}
            )
        rows.append({"name": name, **found["after"], **found["val_acc_interval"], "speed": speed})
    return rows


def on_front(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that no other one beats: none is as accurate, as small and as fast at 256 images, and
    better in one of the three."""

    def merits(row: dict[str, Any]) -> tuple[float, float, float]:
        return row["accuracy"], -row["bytes"], row["speed"][BATCH]["ratio"]

    def beats(other: dict[str, Any], row: dict[str, Any]) -> bool:
        pairs = list(zip(merits(other), merits(row), strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def draw(rows: Sequence[dict[str, Any]], accuracy: str = "validation accuracy") -> go.Figure:
    """Accuracy against size, and against speed; those on the front joined in each panel."""
    front = {row["name"] for row in on_front(rows)}
    places = {
        "size of model.onnx (MB)": lambda row: row["bytes"] / 1e6,
        f"times as fast as uncompressed, {BATCH} images at once": lambda row: row["speed"][BATCH][
            "ratio"
        ],
    }
    fig = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    for column, (title, place) in enumerate(places.items(), start=1):
        for joined in (False, True):
            own = sorted((r for r in rows if (r["name"] in front) == joined), key=place)
            above, below = (
                [0 if r[end] is None else abs(r[end] - r["accuracy"]) for r in own]
                for end in ("high", "low")
            )
            fig.add_scatter(
                x=[place(r) for r in own], y=[r["accuracy"] for r in own],
                mode="markers+lines+text" if joined else "markers+text",
                text=[escape(r["name"]) for r in own], row=1, col=column,
                textposition="top center" if joined else "bottom center",
                textfont={"size": 10}, cliponaxis=False,
                name="on the front" if joined else "beaten by another", showlegend=column == 1,
                marker={"color": COLOURS[1] if joined else COLOURS[5], "size": 9},
                line={"dash": "dot", "width": 1},
                error_y={"type": "data", "symmetric": False, **ERROR_BAR, "thickness": 0.8,
                         "array": above, "arrayminus": below},
                hovertemplate="%{text}<br>%{y:.4f}, %{x:.2f}<extra></extra>",
            )  # fmt: skip
        fig.update_xaxes(title=title, row=1, col=column)
    # Room for the labels of the outermost points: they would run into the axis, or over the edge.
    sizes = [math.log10(row["bytes"] / 1e6) for row in rows]
    room = 0.12 * (max(sizes) - min(sizes)) + 0.15
    ends = [min(sizes) - room, max(sizes) + room]
    fig.update_xaxes(type="log", tickvals=[0.5, 1, 2, 5, 10], range=ends, row=1, col=1)
    fastest = max(row["speed"][BATCH]["ratio"] for row in rows)
    fig.update_xaxes(range=[0, 1.12 * fastest], row=1, col=2)
    fig.update_yaxes(title=accuracy, tickformat=".2f", row=1, col=1)
    return fig.update_layout(figure([], 440).layout)
