"""Scores against size and speed of compressed networks, and which of them no other one beats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.palette import COLOURS, MUTED, SYMBOLS
from analysis.figures.style import ERROR_BAR, FULL, figure, intervals
from analysis.packages.package import read_package
from analysis.packages.package_files import PACKED, SUMS
from analysis.packages.package_metrics import CompressedMetrics, Interval
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.folder import RunFolder

BATCH = 256  # images at once, at which speeds are compared
WHOLE = "as trained"


@dataclass(frozen=True)
class CompressedNetwork:
    """A network as ``model.onnx``.

    Args:
        score: on validation images, by ``metric``. low, high: its interval; None where it has none.
        bytes: of the file.
        flops: an image.
        speed: how many times as fast as the network before, by images at once.
    """

    name: str
    score: float
    low: float | None
    high: float | None
    bytes: int
    flops: int
    speed: Mapping[int, float]
    metric: Metric = ACCURACY

    @property
    def merits(self) -> tuple[float, float, float]:
        """More is better in each: score, smallness and speed."""
        return self.metric.gain(self.score), -self.bytes, self.speed[BATCH]

    def beats(self, other: CompressedNetwork) -> bool:
        """Whether it is nowhere worse, and better in one of the three."""
        pairs = list(zip(self.merits, other.merits, strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def compressed_networks(run: RunFolder) -> list[CompressedNetwork]:
    """What ``compress RUN/best`` has made so far of a search's winner, the winner itself first.

    Raises:
        InputError: such a package is not what it should be; names the file.
    """
    if not run.local:
        return []
    networks: list[CompressedNetwork] = []
    for file in sorted(Path(run.path).glob(f"{PACKED}-*/{SUMS}")):
        package = read_package(file.parent)
        if package.compression is None:
            continue
        metrics = package.metrics
        assert isinstance(metrics, CompressedMetrics)
        before, after = metrics.before, metrics.after
        metric = metrics.measure
        known = metrics.val_acc_interval if metric.is_accuracy else metrics.score_interval
        interval = known or Interval()
        speed = {row.batch: row.ratio for row in metrics.speed}
        if not networks:
            networks.append(
                CompressedNetwork(
                    WHOLE, metric.evaluated(before), None, None, before.bytes, before.flops,
                    dict.fromkeys(speed, 1.0), metric,
                )
            )  # fmt: skip
        networks.append(
            CompressedNetwork(
                file.parent.name.removeprefix(f"{PACKED}-"), metric.evaluated(after), interval.low,
                interval.high, after.bytes, after.flops, speed, metric,
            )
        )  # fmt: skip
    return networks


def on_front(networks: Sequence[CompressedNetwork]) -> list[CompressedNetwork]:
    """Those that no other one beats."""
    return [n for n in networks if not any(other.beats(n) for other in networks)]


def draw(networks: Sequence[CompressedNetwork], label: str = ACCURACY.axis) -> go.Figure:
    """Scores against size, and against speed; those on the front joined in each panel."""
    front = on_front(networks)
    panels: dict[str, Callable[[CompressedNetwork], float]] = {
        "size of model.onnx (MB)": lambda n: n.bytes / 1e6,
        f"times as fast as uncompressed, {BATCH} images at once": lambda n: n.speed[BATCH],
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
                error_y=intervals([network.score], [network.low], [network.high])
                | {"type": "data", "symmetric": False, **ERROR_BAR, "thickness": 0.8},
                hovertemplate=f"{escape(network.name)}<br>%{{y:{FULL}}}, %{{x:.4g}}<extra></extra>",
            )  # fmt: skip
        fig.update_xaxes(title=title, row=1, col=column)
    sizes = [math.log10(n.bytes / 1e6) for n in networks]
    room = 0.12 * (max(sizes) - min(sizes)) + 0.15
    ends = [min(sizes) - room, max(sizes) + room]
    fig.update_xaxes(type="log", tickvals=[0.5, 1, 2, 5, 10], range=ends, row=1, col=1)
    fig.update_xaxes(range=[0, 1.12 * max(n.speed[BATCH] for n in networks)], row=1, col=2)
    fig.update_yaxes(title=label, tickformat=".2f", row=1, col=1)
    fig.update_layout(figure([], 540).layout)
    # Below: a legend of many lines would grow into the title.
    return fig.update_layout(legend={"y": -0.17, "yanchor": "top"})
