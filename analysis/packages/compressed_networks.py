"""What `compress` has made of a search's winner, and which of it no other one beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
        return self.metric.gain(self.score), -self.bytes, self.batch_speed

    @property
    def batch_speed(self) -> float:
        """How many times as fast as the network before, ``BATCH`` images at once."""
        return self.speed[BATCH]

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
