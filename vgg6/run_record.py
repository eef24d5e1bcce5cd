"""What is recorded of a training run, in a search as in a package: its data, arithmetic and epochs.

Nothing heavy is imported here: a command that only reads records starts without torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from vgg6.common.checks import InputError, Range, check_integer
from vgg6.common.machine import KERNELS
from vgg6.common.schema import (
    ClosedRecord,
    Count,
    Flag,
    Real,
    Record,
    Seed,
    Share,
    Text,
    at_least,
    leaf,
    one_of,
    real,
    whole,
)
from vgg6.config import TrialConfig
from vgg6.metric import METRIC_NAMES, Metric
from vgg6.task import STUDY, Task

LONGEST = 10_000  # epochs
IMAGE_SIZES = Range(8, 128)


def _config(field: str, value: Any) -> TrialConfig:
    if isinstance(value, TrialConfig):
        return value
    if not isinstance(value, dict):
        raise InputError(field, value, "is not a mapping of names to values")
    return TrialConfig.from_mapping(value)


Config = Annotated[TrialConfig, leaf(_config), PlainSerializer(TrialConfig.to_dict)]
Images = Annotated[int, whole(1, 10**9)]
Epochs = Annotated[int, whole(1, LONGEST)]
Seconds = Annotated[float, real(0, 1e9)]
MetricName = Annotated[str, one_of(*METRIC_NAMES)]


def check_image_size(field: str, value: Any) -> None:
    """Raise InputError unless a VGG6 can be made for images of that side."""
    check_integer(field, value, IMAGE_SIZES)
    if value % 8:
        raise InputError(field, value, "is not a multiple of 8: three poolings halve an image")


def _three(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise InputError("", value, "is not three numbers, one for a colour")
    return value


Spread = Annotated[float, real(low=1e-6)]
Mean = Annotated[tuple[Real, Real, Real], BeforeValidator(_three)]
Std = Annotated[tuple[Spread, Spread, Spread], BeforeValidator(_three)]
Classes = Annotated[tuple[Text, ...], at_least(1)]
ImageSize = Annotated[int, leaf(check_image_size)]


class ImageFacts(Record):
    """What whoever classifies an image needs: the normalisation and the names of the classes.

    ``mean`` and ``std``: of the three colours, as shares of 255; ``image_size``: pixels of an edge.
    """

    mean: Mean
    std: Std
    classes: Classes
    image_size: ImageSize = STUDY.side

    @property
    def task(self) -> Task:
        """What a network for these images is made for."""
        return Task(len(self.classes), self.image_size)


class DataFacts(Record):
    """Which images a run saw, and how they were split.

    ``argument``: what ``data`` finds them again with; ``origin``: where they lay; ``fingerprint``:
    of all training and validation images; ``image_size``: pixels of an edge;
    ``label_column`` and ``skip_damaged``: how they were read; ``mirrored``: whether a mirrored
    image is one of its class; ``val_by_class``: validation images of each class, where these are
    not all as many. The first recorded searches lack the origin, the normalisation and the classes.
    """

    name: Text
    argument: Text
    origin: Text = ""
    fingerprint: Text
    train_images: Images
    val_images: Images
    split_seed: Seed
    limit_train: Images | None
    mean: Mean | None = None
    std: Std | None = None
    classes: Classes | None = None
    image_size: ImageSize = STUDY.side
    label_column: Text | None = None
    skip_damaged: Flag = False
    mirrored: Flag | None = None
    val_by_class: tuple[Count, ...] | None = None

    def images_behind(self, metric: Metric) -> float:
        """How many validation images a score by ``metric`` counts, as far as chance goes."""
        return metric.images_behind(self.val_images, self.val_by_class)

    @property
    def task(self) -> Task:
        """What a network for these images is made for."""
        return Task(len(self.classes) if self.classes else STUDY.classes, self.image_size)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the fields that an older file lacks."""
        return self.model_dump(mode="json", exclude_unset=True)

    def completed(self, images: ImageFacts) -> CompleteFacts:
        """These facts with the normalisation and the classes of their images."""
        return CompleteFacts(**self.to_dict() | images.to_dict())


class CompleteFacts(ImageFacts, DataFacts):  # type: ignore[misc]  # the same fields, required
    """Facts that lack nothing: what a package needs."""


class RuntimeFacts(ClosedRecord):
    """The device, the precision, the number of threads and the kernels that a run computed with."""

    device: Annotated[str, one_of("cpu", "cuda")]
    precision: Annotated[str, one_of("bf16", "fp32")]
    threads: Annotated[int, whole(1, 1024)]
    kernels: Annotated[str, one_of(*KERNELS)] = KERNELS[0]


@dataclass(kw_only=True, slots=True)  # a frozen one takes three times as long to make
class EpochMetrics:
    """One finished epoch. Losses are mean cross-entropy in nats (the training loss with its label
    smoothing, on augmented images, while the weights move), accuracies in 0 to 1.

    ``best_epoch``: the best so far by the metric of the run, ``best_val_acc``: its accuracy, and
    ``best_score``: its score by a metric that is not accuracy. The first recorded runs lack
    balanced accuracy.
    """

    epoch: Epochs
    train_loss: Real
    train_acc: Share
    val_loss: Real
    val_acc: Share
    best_val_acc: Share
    best_epoch: Epochs
    lr: Real
    seconds: Seconds
    val_balanced_acc: Share | None = None
    best_score: Real | None = None

    def to_dict(self) -> dict[str, Any]:
        """Without the fields that it lacks."""
        return {name: value for name, value in asdict(self).items() if value is not None}
