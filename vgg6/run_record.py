"""What is recorded of a training run, in a search as in a package: its data, arithmetic and epochs.

Nothing heavy is imported here: a command that only reads records starts without torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from vgg6.common.schema import (
    ClosedRecord,
    Real,
    Record,
    Seed,
    Share,
    Text,
    one_of,
    real,
    whole,
)

LONGEST = 10_000  # epochs
Images = Annotated[int, whole(1, 10**9)]
Epochs = Annotated[int, whole(1, LONGEST)]
Seconds = Annotated[float, real(0, 1e9)]


class DataFacts(Record):
    """Which images a run saw. ``argument``: what ``data`` finds them again with.

    ``mean`` and ``std`` of the colours and the names of the classes are what whoever classifies an
    image needs; the first recorded searches lack them.
    """

    name: Text
    argument: Text
    origin: Text = ""
    fingerprint: Text
    train_images: Images
    val_images: Images
    split_seed: Seed
    limit_train: Images | None
    mean: tuple[Real, ...] | None = None
    std: tuple[Real, ...] | None = None
    classes: tuple[Text, ...] | None = None


class RuntimeFacts(ClosedRecord):
    """The device, the precision and the number of threads that a run computed with."""

    device: Annotated[str, one_of("cpu", "cuda")]
    precision: Annotated[str, one_of("bf16", "fp32")]
    threads: Annotated[int, whole(1, 1024)]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochMetrics:
    """One finished epoch. Losses are mean cross-entropy in nats (the training loss with its label
    smoothing, on augmented images, while the weights move), accuracies in 0 to 1."""

    epoch: Epochs
    train_loss: Real
    train_acc: Share
    val_loss: Real
    val_acc: Share
    best_val_acc: Share
    best_epoch: Epochs
    lr: Real
    seconds: Seconds

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
