"""Evaluate: what a package's network does on images, class by class, and how sure of it it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.packages.package import check_package, read_package
from analysis.packages.package_schema import Compression, Package
from analysis.packages.scoring import data_here
from analysis.packages.weights import load_network
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.numbers_in_words import interval_in_words, score_in_words
from vgg6.data import LabelledImages, Reading, Source, load_source, other_classes, split
from vgg6.data.arrays import SUFFIX, read_npz
from vgg6.evaluation import BINS, ConfidenceBin, assess
from vgg6.metric import ACCURACY

VALIDATION, TEST, TRAIN = "validation", "test", "train"
MATRIX_CLASSES = 25  # of a matrix that a terminal shows; of more, so many pairs
NOTES = {
    TEST: "the test images: whatever is chosen by this number makes it optimistic",
    TRAIN: "images that the network was trained on: this says little of others",
}


@dataclass(frozen=True)
class ClassScore:
    """Accuracy on the images of one class with its Wilson interval; None without an image."""

    name: str
    images: int
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, name: str, images: int, accuracy: float) -> ClassScore:
        if not images:
            return cls(name, 0)
        interval = wilson(accuracy, images)
        return cls(name, images, accuracy, interval["low"], interval["high"])

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        return {"class": found.pop("name"), **found}


@dataclass(frozen=True)
class Scored:
    """Which images were scored. ``part`` is None for a file of one's own; ``notes``: what to think
    of when reading the score."""

    data: str
    part: str | None
    notes: list[str]


@dataclass(frozen=True)
class PackageScore:
    """What a package does on labelled images, C classes.

    ``accuracy`` in 0 to 1 with its Wilson interval at ``level``; ``balanced_accuracy``: the mean of
    those of the classes; ``metric``: what the package was chosen by; ``loss`` in nats;
    ``confusion`` (C, C), true classes down; ``ece``: the expected calibration error, from ``bins``.
    """

    package: str
    compression: Compression | None
    scored: Scored
    images: int
    accuracy: float
    low: float
    high: float
    level: float
    loss: float
    per_class: list[ClassScore]
    classes: tuple[str, ...]
    confusion: list[list[int]]
    ece: float
    bins: list[ConfidenceBin]
    balanced_accuracy: float
    metric: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; null stands for the shares of a class or a bin without images."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scored"}
        return found | {
            **asdict(self.scored),
            "compression": self.compression and self.compression.to_dict(),
            "per_class": [row.to_dict() for row in self.per_class],
            "bins": [
                {name: None if x != x else x for name, x in asdict(b).items()} for b in self.bins
            ],
        }


def evaluate(
    folder: Path, *, data: str | None = None, part: str | None = None, skip_damaged: bool = False
) -> PackageScore:
    """Score a package, compressed or not, on labelled images.

    Args:
        data: as of ``data`` of a search, or an ``.npz`` file with ``images``, uint8 (N, H, W, 3)
            or (N, H, W), and ``labels``, whole numbers, the places of its classes; default, the
            package's own.
        part: validation (default, of its own data), test (default, of any other), train.
        skip_damaged: leave out pictures that cannot be read.

    Raises:
        InputError: the package or the data is missing or not what it must be.
    """
    check_package(folder)
    package = read_package(folder)
    network = load_network(folder, package)
    images, scored = _images(package, data, part, skip_damaged)
    found = assess(network, images)
    names = package.data.classes
    rows = zip(names, found.confusion.sum(1).tolist(), found.per_class.tolist(), strict=True)
    return PackageScore(
        package=str(folder),
        compression=package.compression,
        scored=scored,
        images=found.images,
        accuracy=found.accuracy,
        **wilson(found.accuracy, found.images),
        loss=found.loss,
        per_class=[ClassScore.of(*row) for row in rows],
        classes=names,
        confusion=found.confusion.tolist(),
        ece=found.ece,
        bins=found.bins,
        balanced_accuracy=found.balanced_accuracy,
        metric=package.metric.name,
    )


def _images(
    package: Package, data: str | None, part: str | None, skip_damaged: bool
) -> tuple[LabelledImages, Scored]:
    """The images to score, and what they are."""
    if data is not None and data.endswith(SUFFIX):
        if part is not None:
            raise InputError("part", part, f"has no meaning for a {SUFFIX} file: all is taken")
        task = package.data.task
        return read_npz(Path(data), task.classes, task.side), Scored(data, None, [])
    recorded = data_here(package.data, data)
    how = Reading.of(recorded)
    how = replace(how, skip_damaged=how.skip_damaged or skip_damaged)
    source = load_source(recorded.argument, how)
    parts = split(source, split_seed=recorded.split_seed, limit_train=recorded.limit_train)
    own = parts.fingerprint == recorded.fingerprint
    if part is None and not own and source.held_out:
        # It came without a test part, and none of its images is the package's own.
        images, part = _all_of(source), None
    else:
        part = part or (VALIDATION if own else TEST)
        images = {VALIDATION: parts.val, TEST: source.test, TRAIN: parts.train}[part]
    notes = [NOTES[part]] if own and part in NOTES else []
    if not own:
        notes.append("other images than the package's own")
    known = package.data.classes
    if source.classes != known:
        if len(source.classes) == len(known) and set(source.classes).isdisjoint(known):
            notes.append(f"labels are of other classes: {', '.join(source.classes)}")
        else:
            images = _by_name(images, source, known)
    return images, Scored(source.name, part, notes)


def _by_name(images: LabelledImages, source: Source, known: tuple[str, ...]) -> LabelledImages:
    """The images with the labels that a network of the classes ``known`` gives them.

    Raises:
        InputError: a class is none of these; says how the images differ from the package's.
    """
    if not set(source.classes) <= set(known):
        rule = f"is not of this package's classes: {other_classes(source.classes, known)}"
        raise InputError("data", source.origin, rule)
    place = np.array([known.index(name) for name in source.classes])
    return LabelledImages(images.images, place[images.labels])


def _all_of(source: Source) -> LabelledImages:
    """All images of a data set that came without a test part."""
    parts = [source.train, source.test] + ([source.val] if source.val else [])
    return LabelledImages(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def render(found: PackageScore) -> str:
    """The result for a person."""
    scored = found.scored
    what = " ".join(filter(None, (scored.part, "images of", scored.data)))
    lines = [
        f"accuracy {score_in_words(found.accuracy, found.low, found.high)} of"
        f" {found.images:,} {what}",
        f"balanced {found.balanced_accuracy:.4f}: the mean accuracy of the classes",
        f"loss     {found.loss:.4f} nats",
        f"ECE      {found.ece:.4f}: how far its confidence is from its accuracy, {BINS} bins",
        *([] if found.metric == ACCURACY.name else [f"note: chosen by {found.metric}"]),
        *(f"note: {note}" for note in scored.notes),
        "",
        "class         accuracy  95 %              images",
    ]
    for row in found.per_class:
        shown = "none"
        if row.images:
            shown = f"{row.accuracy:.4f}    {interval_in_words(row.low, row.high)}"
        lines.append(f"{row.name:<14}{shown:<28}{row.images:,}")
    small = len(found.classes) <= MATRIX_CLASSES
    mistakes = _matrix(found.confusion, found.classes) if small else _confused(found)
    return "\n".join([*lines, "", *mistakes])


def _confused(found: PackageScore) -> list[str]:
    """The pairs of classes that are taken for each other most, the most frequent first."""
    pairs = [
        (count, true, taken)
        for true, row in enumerate(found.confusion)
        for taken, count in enumerate(row)
        if count and true != taken
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    names = found.classes
    lines = [f"{names[true]} taken for {names[taken]}: {count:,}" for count, true, taken in pairs]
    return ["most frequent mistakes:", *lines[:MATRIX_CLASSES]] if lines else ["no mistakes"]


def _matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[str]:
    """True classes down, predicted ones across, each column as wide as it must be."""
    width = max(6, len(str(max(map(max, confusion)))) + 1)
    head = "true \\ taken for".ljust(17) + "".join(
        name[: width - 1].rjust(width) for name in classes
    )
    rows = (
        f"{name[:16]:<17}" + "".join(str(n).rjust(width) for n in row)
        for name, row in zip(classes, confusion, strict=True)
    )
    return [head, *rows]
