"""The pictures of a data set before they are decoded: where each is, of which class and part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vgg6.common.checks import InputError
from vgg6.common.files import check_characters
from vgg6.data.images import Array

TRAIN, VAL, TEST = PARTS = ("train", "val", "test")
# How the folders and files of a part are called.
PART_NAMES = {
    TRAIN: ("train", "training"),
    VAL: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing", "eval"),
}
CHUNK = 1000  # pictures that are decoded in one go
MOST_CLASSES = 1000
# A picture: a file, the bytes of one, or pixels (H, W), (H, W, 1) or (H, W, 3).
Encoded = Path | bytes | Array | None


@dataclass(frozen=True)
class PartListing:
    """One part of a data set, picture by picture in their order.

    ``labels``: int64 (N,), places in the names of the classes; ``chunks``: gives all pictures, some
    at a time; ``where``: the file of a picture, and which one of it, for an error.
    """

    labels: Array
    chunks: Callable[[], Iterator[Sequence[Encoded]]]
    where: Callable[[int], tuple[str, str]]


@dataclass(frozen=True)
class Listing:
    """A whole data set. ``words``: its layout; ``files``: all that it is read from, below ``root``.

    ``classes``: their names; ``unnamed``: these are only the numbers that stood for labels;
    ``known``: the name of the published set that this surely is.
    """

    words: str
    root: Path
    files: list[Path]
    classes: tuple[str, ...]
    parts: dict[str, PartListing]
    unnamed: bool = False
    known: str = ""
    notes: list[str] = field(default_factory=list)


def natural(text: str) -> tuple[Any, ...]:
    """A key that sorts names as people do: ``9`` before ``10``."""
    parts = re.split(r"(\d+)", text.lower())
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in parts)


def numbered(name: str) -> tuple[Any, ...]:
    """A key that sorts pictures by the numbers in their names, then by the names themselves.

    Pictures of one data set that were written out with their row's number, into a folder a class,
    come back in the order of the rows.
    """
    return tuple(map(int, re.findall(r"\d+", name))), name


def label_numbers(where: str, values: Sequence[Any], names: Sequence[Any]) -> Array:
    """The places of labels in ``names``, int64 (N,)."""
    place = {name: i for i, name in enumerate(names)}
    missing = next((v for v in values if v not in place), None)
    if missing is not None:
        known = ", ".join(map(str, names[:10]))
        raise InputError("data", where, f"has the label {missing!r}, which is none of {known}")
    return np.fromiter((place[v] for v in values), np.int64, len(values))


def check_listing(listing: Listing) -> None:
    """Check that a network can be trained on these classes and parts.

    Raises:
        InputError: there are too few or too many classes, a name is no text, a part is empty, or a
            class has too few training images; names it.
    """
    where, names = str(listing.root), listing.classes
    for name in names:
        check_characters("data", name)
    counts = {p: np.bincount(v.labels, minlength=len(names)) for p, v in listing.parts.items()}
    if TRAIN not in counts:
        raise InputError("data", where, "has no training images")
    for part, count in counts.items():
        if not count.sum():
            raise InputError("data", where, f"has no images in its {part} part")
    if len(names) < 2:
        rule = f"has one class, {names[0]!r}: a network tells two or more apart"
        raise InputError("data", where, rule)
    if len(names) > MOST_CLASSES:
        raise InputError(
            "data", where, f"has {len(names):,} classes: {MOST_CLASSES:,} are the most"
        )
    needed = [TRAIN] + [part for part in (VAL, TEST) if part not in counts]
    for name, count in zip(names, counts[TRAIN], strict=True):
        if count < len(needed):
            has = {0: "no training image", 1: "one training image"}.get(
                count, f"{count} training images"
            )
            more = f": one each is needed for {', '.join(needed)}" if count else ""
            raise InputError("data", where, f"has {has} of the class {name!r}{more}")


def used_classes(listing: Listing) -> Listing:
    """The same without the classes that no part has an image of."""
    seen = np.zeros(len(listing.classes), bool)
    for part in listing.parts.values():
        seen[part.labels] = True
    if seen.all():
        return listing
    place = np.cumsum(seen) - 1
    parts = {
        name: PartListing(place[part.labels].astype(np.int64), part.chunks, part.where)
        for name, part in listing.parts.items()
    }
    kept = tuple(n for n, has in zip(listing.classes, seen, strict=True) if has)
    return Listing(
        listing.words, listing.root, listing.files, kept, parts, listing.unnamed, listing.known,
        listing.notes,
    )  # fmt: skip
