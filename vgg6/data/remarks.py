"""What a person should know of a data set before anything is trained on it."""

from __future__ import annotations

import numpy as np

from vgg6.common.numbers_in_words import counted
from vgg6.data.images import Array, LabelledImages, Source, TrialData

UNEVEN = 10  # times as many images of one class as of another
FEW = 10  # training images of a class


def remarks(source: Source, data: TrialData, flip: str | None = None) -> list[str]:
    """Lines on how the images lie on disk and on what is odd about them; none of digits.

    Args:
        flip: what was asked for of mirroring; None leaves it to the images.
    """
    if not source.layout:
        return []
    classes, size = len(source.classes), source.image_size
    test = "held out of these" if source.held_out else "to test"
    lines = [
        f"{source.origin}: {source.layout}; {counted(classes, 'class', 'classes')},"
        f" {len(source.train) + (len(source.test) if source.held_out else 0):,} images"
        f" and {len(source.test):,} {test}, {size}x{size} pixels"
    ]
    if source.known:
        return lines
    if flip is None:
        lines.append(
            "training images are mirrored at random: `flip` none, if that makes them of no class"
            if source.flip
            else "training images are not mirrored, as classes with such names are not:"
            " `flip` horizontal mirrors them"
        )
    return [*lines, *source.remarks, *_uneven(source, data), *_repeated(source, data)]


def _uneven(source: Source, data: TrialData) -> list[str]:
    counts = np.bincount(data.train.labels, minlength=len(source.classes))
    names, lines = source.classes, []
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] >= UNEVEN * counts[least]:
        share = np.bincount(data.val.labels, minlength=len(names)).max() / len(data.val)
        lines.append(
            f"uneven classes: {counts[most]:,} training images of {names[most]},"
            f" {counts[least]:,} of {names[least]}. Whoever always says the largest class is right"
            f" on {share:.1%} of the validation images: see `metric`"
        )
    few = [f"{names[i]} ({counts[i]})" for i in np.flatnonzero(counts < FEW)]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        lines.append(f"few training images: {', '.join(few[:5])}{more}")
    return lines


def _repeated(source: Source, data: TrialData) -> list[str]:
    """Images of validation and test that are among the training images too."""
    lines = []
    for name, part in (("validation", data.val), ("test", source.test)):
        if count := repeated(part, data.train):
            lines.append(
                f"among the training images too: {counted(count, f'{name} image')} of"
                f" {len(part):,}, which make the score better than it should be"
            )
    return lines


def repeated(part: LabelledImages, others: LabelledImages) -> int:
    """How many images of ``part`` are, to the last byte, among ``others``."""
    own, theirs = _hashes(part.images), _hashes(others.images)
    candidates = np.flatnonzero(np.isin(own, theirs))
    there = {others.images[i].tobytes() for i in np.flatnonzero(np.isin(theirs, own[candidates]))}
    return sum(part.images[i].tobytes() in there for i in candidates)


def _hashes(images: Array) -> Array:
    """A 64-bit number of each image, (N,): equal ones have the same."""
    draw = np.random.default_rng(0)
    factors = draw.integers(0, 2**63, images[0].size // 8, dtype=np.uint64) * 2 + 1
    found = np.empty(len(images), np.uint64)
    for start in range(0, len(images), 5000):
        words = np.ascontiguousarray(images[start : start + 5000]).reshape(-1, images[0].size)
        found[start : start + 5000] = words.view(np.uint64) @ factors
    return found
