"""Scores of compressed networks against their size and their speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.palette import COLOURS, MUTED, SYMBOLS
from analysis.figures.style import FULL, error_bars, figure
from analysis.packages.compressed_networks import BATCH, CompressedNetwork, on_front
from vgg6.metric import ACCURACY


def compression(networks: Sequence[CompressedNetwork], label: str = ACCURACY.axis) -> go.Figure:
    """Scores against size, and against speed; those on the front joined in each panel."""
    front = on_front(networks)
    panels: dict[str, Callable[[CompressedNetwork], float]] = {
        "size of model.onnx (MB)": lambda n: n.bytes / 1e6,
        f"times as fast as uncompressed, {BATCH} images at once": lambda n: n.batch_speed,
    }
    fig = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    for column, (title, place) in enumerate(panels.items(), start=1):
        # Names are in the legend: beside the points they would lie over error bars.
        joined = sorted(front, key=place)
        fig.add_scatter(
            x=[place(n) for n in joined], y=[n.score for n in joined], mode="lines",
            line={"dash": "dot", "width": 1.5, "color": MUTED}, hoverinfo="skip", row=1, col=column,
            name="front: no other beats these (filled)", showlegend=column == 1,
        )  # fmt: skip
        for number, network in enumerate(networks):
            colour = COLOURS[number % len(COLOURS)]
            symbol = SYMBOLS[(number + number // len(COLOURS)) % len(SYMBOLS)]
            fig.add_scatter(
                x=[place(network)], y=[network.score], mode="markers", row=1, col=column,
                name=escape(network.name), legendgroup=network.name, showlegend=column == 1,
                marker={"color": colour, "size": 10, "line": {"width": 2, "color": colour},
                        "symbol": symbol + "-open" * (network not in front)},
                error_y=error_bars([network.score], [network.low], [network.high])
                | {"thickness": 0.8},
                hovertemplate=f"{escape(network.name)}<br>%{{y:{FULL}}}, %{{x:.4g}}<extra></extra>",
            )  # fmt: skip
        fig.update_xaxes(title=title, row=1, col=column)
    sizes = [math.log10(n.bytes / 1e6) for n in networks]
    room = 0.12 * (max(sizes) - min(sizes)) + 0.15
    ends = [min(sizes) - room, max(sizes) + room]
    fig.update_xaxes(type="log", tickvals=[0.5, 1, 2, 5, 10], range=ends, row=1, col=1)
    fig.update_xaxes(range=[0, 1.12 * max(n.batch_speed for n in networks)], row=1, col=2)
    fig.update_yaxes(title=label, tickformat=".2f", row=1, col=1)
    fig.update_layout(figure([], 540).layout)
    # Below: a legend of many lines would grow into the title.
    return fig.update_layout(legend={"y": -0.17, "yanchor": "top"})
