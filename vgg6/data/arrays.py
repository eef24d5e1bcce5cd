"""Data sets that lie as arrays: NumPy archives of images and labels, and whatever else gives them.

Images are uint8, of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from vgg6.common.checks import InputError
from vgg6.data.images import Array, LabelledImages
from vgg6.data.listing import (
    CHUNK,
    PARTS,
    TEST,
    TRAIN,
    VAL,
    Encoded,
    Listing,
    PartListing,
    label_numbers,
)
from vgg6.data.picture_formats import resized

SUFFIX = ".npz"
# What the arrays of a part are called: as Keras, MedMNIST and this project write them.
NAMES = {
    TRAIN: (("train_images", "train_labels"), ("x_train", "y_train"), ("images", "labels")),
    VAL: (("val_images", "val_labels"), ("x_val", "y_val")),
    TEST: (("test_images", "test_labels"), ("x_test", "y_test")),
}
CLASS_NAMES = ("classes", "class_names")


def list_npz(file: Path) -> Listing:
    """The parts of a NumPy archive.

    Raises:
        InputError: it is damaged, or an array is not what it must be; names it.
    """
    arrays = _load(file)
    parts = {}
    for part in PARTS:
        for images, labels in NAMES[part]:
            if images in arrays and labels in arrays:
                parts[part] = checked(file, arrays[images], arrays[labels], images, labels)
                break
    if TRAIN not in parts:
        wanted = ", ".join(" and ".join(pair) for pair in NAMES[TRAIN])
        rule = f"holds no arrays {wanted}: it has {', '.join(arrays) or 'none'}"
        raise InputError("data", str(file), rule)
    values = sorted({int(v) for _, labels in parts.values() for v in labels})
    given = next((arrays[name] for name in CLASS_NAMES if name in arrays), None)
    if given is not None and given.dtype.kind == "S":
        given = np.char.decode(given, "utf-8")
    if given is not None and given.ndim != 1:
        rule = f"has class names of shape {given.shape}: a list of names is asked for"
        raise InputError("data", str(file), rule)
    if given is not None and len(given) <= values[-1]:
        rule = f"names {len(given)} classes, and has the label {values[-1]}"
        raise InputError("data", str(file), rule)
    if given is not None:
        values = list(range(len(given)))
    return list_arrays(
        "NumPy arrays", file, [file], [str(v) for v in (values if given is None else given)],
        {p: (x, label_numbers(str(file), y.tolist(), values)) for p, (x, y) in parts.items()},
    )  # fmt: skip


def list_arrays(
    words: str,
    root: Path,
    files: list[Path],
    classes: Sequence[str],
    parts: dict[str, tuple[Array, Array]],
    known: str = "",
) -> Listing:
    """A data set of which each part is images and their labels, as places in ``classes``."""
    return Listing(
        words=words,
        root=root,
        files=files,
        classes=tuple(classes),
        parts={
            part: PartListing(
                labels.astype(np.int64), partial(_chunks, images), partial(_where, root, part)
            )
            for part, (images, labels) in parts.items()
        },
        known=known,
    )


def read_npz(file: Path, classes: int, side: int) -> LabelledImages:
    """``images`` and ``labels`` of a NumPy archive, for a network of so many classes and pixels.

    Raises:
        InputError: it is not there, or does not hold these; names the array and its rule.
    """
    arrays = _load(file)
    (images_name, labels_name) = NAMES[TRAIN][-1]
    if missing := {images_name, labels_name} - arrays.keys():
        rule = f"cannot be read as a NumPy archive of images and labels: no {min(missing)}"
        raise InputError("data", str(file), rule)
    images, labels = checked(file, arrays[images_name], arrays[labels_name])
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        rule = f"has the label {wrong[0]}: it must be 0 to {classes - 1}"
        raise InputError("data", str(file), rule)
    if images.shape[1:] != (side, side, 3):
        images = np.stack([resized(image, side) for image in images])
    return LabelledImages(images, labels.astype(np.int64))


def checked(
    file: Path, images: Array, labels: Array, first: str = "images", second: str = "labels"
) -> tuple[Array, Array]:
    """The arrays of a part, unless they break a rule. Labels may be one column."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in (
        (), (1,), (3,),
    ):  # fmt: skip
        rule = (
            f"has {first} of {images.dtype} {images.shape}: they must be uint8, 0 to 255,"
            " (N, H, W) or (N, H, W, 3)"
        )
        raise InputError("data", str(file), rule)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
        rule = (
            f"has {second} of {labels.dtype} {labels.shape}: there must be one whole number an"
            " image"
        )
        raise InputError("data", str(file), rule)
    if not images.size:
        raise InputError("data", str(file), "has no images")
    if labels.min() < 0:
        raise InputError("data", str(file), f"has the label {labels.min()}: it must be 0 or more")
    return images, labels


def _load(file: Path) -> dict[str, Array]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        BadZipFile,
        TypeError,
        AttributeError,
    ) as error:
        rule = f"cannot be read as a NumPy archive of images and labels: {error}"
        raise InputError("data", str(file), rule) from None


def _chunks(images: Array) -> Iterator[Sequence[Encoded]]:
    return (list(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK))


def _where(root: Path, part: str, row: int) -> tuple[str, str]:
    return str(root), f"image {row} of its {part} part cannot be used"
