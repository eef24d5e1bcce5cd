"""What the files of a package hold, typed and checked as they are read: anybody may have made them.

``config.yaml`` says how the network was made, ``environment.json`` where that was. What it scores,
``metrics.json``, is in ``package_metrics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, model_validator

from analysis.packages.package_metrics import Metrics
from vgg6.architecture import Widths, scaled_widths
from vgg6.common.checks import InputError
from vgg6.common.schema import (
    ClosedRecord,
    Count,
    Record,
    Share,
    SparseRecord,
    Text,
    at_least,
    located,
    whole,
)
from vgg6.config import WIDTH, TrialConfig
from vgg6.metric import ACCURACY, Metric
from vgg6.run_record import (
    CompleteFacts,
    Config,
    EpochMetrics,
    Epochs,
    Images,
    MetricName,
    RuntimeFacts,
)

_WIDEST = scaled_widths(WIDTH.high)
Width = Annotated[int, whole(1, max(_WIDEST))]


def check_pruned(widths: Widths, whole: Widths) -> None:
    """Raise InputError unless a network of the widths ``whole`` can be pruned to ``widths``."""
    if len(widths) != len(whole) or any(w > full for w, full in zip(widths, whole, strict=True)):
        rule = f"is not {len(whole)} widths of at most {list(whole)}"
        raise InputError("", list(widths), rule)


def _fit(widths: Widths) -> Widths:
    """Those of a network that a VGG6 can be pruned to, whatever its width."""
    check_pruned(widths, _WIDEST)
    return widths


class Pruned(ClosedRecord):
    """``sparsity``: the share of the FLOPs that was cut out; ``epochs``: of training after it."""

    sparsity: Share
    epochs: Count
    widths: Annotated[tuple[Width, ...], at_least(len(_WIDEST)), AfterValidator(_fit)]


class Quantized(ClosedRecord):
    """``images``: how many the ranges of the activations were taken from."""

    images: Images


class Compression(ClosedRecord):
    """How a network was made smaller. ``source``: the SHA-256 of its weights before."""

    source: Text
    prune: Pruned | None
    int8: Quantized | None

    @property
    def title(self) -> str:
        """What was done, for a title."""
        parts = [f"pruned by {self.prune.sparsity:.0%} of its FLOPs"] if self.prune else []
        return " and ".join(parts + ["quantised to int8"] * bool(self.int8))


class Sections(SparseRecord, ClosedRecord):
    """``config.yaml``. ``stop_after``: the epoch after which the run ended; None: its last;
    ``metric``: what its best epoch was chosen by."""

    config: Config
    data: CompleteFacts
    runtime: RuntimeFacts
    stop_after: Epochs | None
    compression: Compression | None = None
    metric: MetricName = ACCURACY.name

    @model_validator(mode="after")
    def _pruned_of_its_width(self) -> Sections:
        if self.compression and (pruned := self.compression.prune):
            with located("compression.prune.widths"):
                check_pruned(pruned.widths, scaled_widths(self.config.width))
        return self


class History(Record):
    """``history.csv``: one row an epoch."""

    rows: Annotated[list[EpochMetrics], at_least(1)]


class Machine(SparseRecord):
    """A machine and its versions, without its name."""

    os: Text | None = None
    cpu: Text
    cpus: Count | None = None
    instructions: Text
    gpus: list[Text]
    versions: dict[str, Text]


class Environment(Machine):
    """``environment.json``: the arithmetic of the training, and the machine that packed.

    ``versions_of_search``: those that the search began with, whose nodes may be other machines.
    """

    device: Text | None = None
    precision: Text | None = None
    threads: Count | None = None
    kernels: Text | None = None
    versions_of_search: dict[str, Text] | None = None


@dataclass(frozen=True)
class Package:
    """A package as read back; ``stop_after`` is None for a run of full length.

    ``compression``: how its network was made smaller after its training; None if it was not.
    ``metrics`` are ``CompressedMetrics`` where it was. ``metric``: its best epoch was chosen by.
    """

    config: TrialConfig
    runtime: RuntimeFacts
    data: CompleteFacts
    stop_after: int | None
    metrics: Metrics
    history: list[EpochMetrics]
    environment: Environment
    compression: Compression | None = None
    metric: Metric = ACCURACY

    @property
    def widths(self) -> Widths:
        """Of its network."""
        pruned = self.compression and self.compression.prune
        return pruned.widths if pruned else scaled_widths(self.config.width)

    @property
    def quantized(self) -> bool:
        """Whether it holds its weights as integers, in ``model.onnx`` alone."""
        return self.compression is not None and self.compression.int8 is not None
