"""Loss, accuracy, confusion matrix and calibration of a network on labelled images.

``evaluate`` is training's own validation, on the device; ``assess`` takes anything that gives
logits, and says more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgg6.augment import Normalizer
from vgg6.data import Array, LabelledImages
from vgg6.hardware.runtime import Runtime

EVAL_BATCH = 500
BINS = 15  # of confidence, of equal width, as in Guo et al. 2017


@dataclass(frozen=True)
class Evaluation:
    """``loss``: mean cross-entropy in nats; ``accuracy``: in 0 to 1; ``confusion``: int64 (C, C),
    true classes down, predicted classes across."""

    loss: float
    accuracy: float
    confusion: Tensor

    @property
    def balanced_accuracy(self) -> float:
        """See ``balanced_accuracy``."""
        return balanced_accuracy(self.confusion)


def balanced_accuracy(confusion: Array | Tensor) -> float:
    """The mean, over the classes that have images, of the share that is right, in 0 to 1.

    The sum is exact, so that equal counts give equal bits on every machine.

    Args:
        confusion: int64 (C, C), true classes down, predicted ones across.
    """
    hits, images = confusion.diagonal().tolist(), confusion.sum(1).tolist()
    shares = [hit / count for hit, count in zip(hits, images, strict=True) if count]
    return math.fsum(shares) / len(shares)


@torch.inference_mode()
def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, normalize: Normalizer, runtime: Runtime
) -> Evaluation:
    """Score ``model`` without augmentation or dropout.

    Args:
        images: uint8 (N, S, S, 3) on the runtime's device. labels: int64 (N,) there too.
    """
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    predicted = torch.empty_like(labels)
    for start in range(0, len(labels), EVAL_BATCH):
        rows = slice(start, start + EVAL_BATCH)
        with runtime.autocast():
            logits = model(normalize(images[rows])).float()
        loss += F.cross_entropy(logits, labels[rows], reduction="sum")
        predicted[rows] = logits.argmax(1)
    classes = logits.shape[1]
    confusion = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    correct = (predicted == labels).sum()
    n = len(labels)
    return Evaluation(loss.item() / n, correct.item() / n, confusion.view(classes, classes).cpu())


@dataclass(frozen=True)
class ConfidenceBin:
    """Images of which a network is between ``low`` and ``high`` sure: their mean confidence and
    their accuracy, both NaN without an image."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Assessment:
    """What a network does on labelled images, C classes.

    ``loss``: mean cross-entropy in nats; ``accuracy`` and ``per_class`` (C,): in 0 to 1, NaN for a
    class without an image; ``confusion``: int64 (C, C), true classes down, predicted ones across;
    ``ece``: the expected calibration error in 0 to 1, from the ``bins`` of confidence.
    """

    images: int
    loss: float
    accuracy: float
    per_class: Array
    confusion: Array
    ece: float
    bins: list[ConfidenceBin]

    @property
    def balanced_accuracy(self) -> float:
        """See ``balanced_accuracy``."""
        return balanced_accuracy(self.confusion)


def logits_of(network: Callable[[Array], Array], images: Array) -> Array:
    """What ``network`` gives for uint8 images (N, S, S, 3), batch by batch: float (N, C)."""
    starts = range(0, len(images), EVAL_BATCH)
    return np.concatenate([network(images[i : i + EVAL_BATCH]) for i in starts])


def assess(network: Callable[[Array], Array], data: LabelledImages) -> Assessment:
    """Score whatever gives logits, float (N, C), of uint8 images (N, S, S, 3).

    The expected calibration error (Naeini et al. 2015; Guo et al. 2017) is the mean, over images,
    of how far the accuracy of a bin of confidence is from its mean confidence.

    Raises:
        ValueError: there are no images, or a label is none of the network's classes.
    """
    if not len(data):
        raise ValueError("there are no images to assess a network on")
    logits = logits_of(network, data.images)
    classes = logits.shape[1]
    if data.labels.min() < 0 or data.labels.max() >= classes:
        raise ValueError(f"labels must be 0 to {classes - 1}, as the network's classes")
    shares = F.log_softmax(torch.from_numpy(logits).double(), dim=1).numpy()
    rows, predicted = np.arange(len(data)), logits.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (data.labels, predicted), 1)
    correct = predicted == data.labels
    confidence = np.exp(shares[rows, predicted])
    bins = _bins(confidence, correct)
    gaps = [b.images * abs(b.accuracy - b.confidence) for b in bins if b.images]
    counts = confusion.sum(1)
    per_class = np.divide(
        confusion.diagonal(), counts, out=np.full(classes, np.nan), where=counts > 0
    )
    return Assessment(
        images=len(data),
        loss=float(-shares[rows, data.labels].mean()),
        accuracy=float(correct.mean()),
        per_class=per_class,
        confusion=confusion,
        ece=sum(gaps) / len(data),
        bins=bins,
    )


def _bins(confidence: Array, correct: Array) -> list[ConfidenceBin]:
    """``BINS`` of equal width, each without its lower edge and with its upper one."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    found = []
    for index in range(BINS):
        own = place == index
        count = int(own.sum())
        means = [float(x[own].mean()) if count else float("nan") for x in (confidence, correct)]
        found.append(ConfidenceBin(index / BINS, (index + 1) / BINS, count, *means))
    return found
