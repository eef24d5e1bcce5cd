"""Labelled images: a whole data set, and the part of it that a trial may see.

Images are uint8 arrays of shape (N, S, S, 3), labels int64 of shape (N,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg6.task import Task

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelledImages:
    """``images``: uint8 (N, S, S, 3); ``labels``: int64 (N,), from 0."""

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
    val: LabelledImages | None = None  # where the data set itself has such a part
    layout: str = ""  # how it lies on disk, in words
    known: bool = False  # it is a published set
    held_out: bool = False  # its test images are a part of the training images that it came with
    remarks: tuple[str, ...] = ()  # what was met in its pictures

    @property
    def image_size(self) -> int:
        """Pixels of an image's edge."""
        return int(self.train.images.shape[1])


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
    classes: int = 10

    @property
    def task(self) -> Task:
        """What a network for these images is made for."""
        return Task(self.classes, self.train.images.shape[1])
