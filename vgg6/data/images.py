"""Labelled images: a whole data set, and the part of it that a trial may see.

Images are uint8 arrays of shape (N, 32, 32, 3), labels int64 of shape (N,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_CLASSES = 10

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelledImages:
    """``images``: uint8 (N, 32, 32, 3); ``labels``: int64 (N,) in 0 to 9."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Array) -> LabelledImages:
        """The chosen rows, as contiguous copies."""
        return LabelledImages(np.ascontiguousarray(self.images[index]), self.labels[index])


@dataclass(frozen=True)
class Source:
    """A whole data set as it lies on disk, and how a trial must treat it."""

    name: str
    origin: str
    train: LabelledImages
    test: LabelledImages
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool  # a mirrored digit is another character, a mirrored cat is a cat


@dataclass(frozen=True)
class TrialData:
    """What a trial may see: the training and validation parts. It never holds a test image."""

    name: str
    train: LabelledImages
    val: LabelledImages
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool
    fingerprint: str
