"""Find and load a data set; cut it into train, validation and test.

Images are uint8 arrays of shape (N, 32, 32, 3), labels int64 of shape (N,).
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vgg6.common.checks import InputError, Range, check_choice, check_integer
from vgg6.data.layouts import (
    TORCHVISION_FOLDER,
    Array,
    LabelledImages,
    cached,
    download_cifar10,
    layout_of,
    layout_rule,
)

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
DOWNLOAD_FOLDER = Path("data")
SPLIT_SEED = 42


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


def load_source(data: str) -> Source:
    """Load ``cifar10``, ``digits``, ``auto`` (CIFAR-10 if it can be had, else digits) or a folder.

    Raises:
        InputError: the data is not there, cannot be downloaded, or is damaged.
    """
    if data == "digits":
        return load_digits()
    if data in ("cifar10", "auto"):
        folder = find_cifar10()
        if folder is None:
            try:
                folder = download_cifar10(DOWNLOAD_FOLDER)
            except OSError as error:
                if data == "auto":
                    _say(
                        "CIFAR-10 is not on this disk and could not be downloaded: using DIGITS,"
                        " 1,797 small images of handwritten digits. Scores are not CIFAR-10 scores."
                    )
                    return load_digits()
                raise InputError("data", data, _no_data(error)) from None
        return load_folder(folder)
    if not Path(data).is_dir():
        check_choice("data", data, ("cifar10", "digits", "auto", "FOLDER"))
    return load_folder(Path(data))


def find_cifar10() -> Path | None:
    """The folder that holds CIFAR-10: ``$CIFAR10_DIR`` if set, else ``data/``; None if neither.

    Raises:
        InputError: ``$CIFAR10_DIR`` is set but holds no data set of a known layout.
    """
    named = os.environ.get("CIFAR10_DIR")
    if named:
        if layout_of(Path(named)) is None:
            raise InputError("CIFAR10_DIR", named, layout_rule())
        return Path(named)
    return DOWNLOAD_FOLDER if layout_of(DOWNLOAD_FOLDER) else None


def load_folder(folder: Path) -> Source:
    """Load torchvision's folder or parquet files from ``folder``, through the decoded cache."""
    layout = layout_of(folder)
    if layout is None:
        raise InputError("data", str(folder), layout_rule())
    reader, files = layout
    train, test = cached(files, reader)
    return Source(
        name="cifar10",
        origin=str(folder),
        train=train,
        test=test,
        classes=CIFAR10_CLASSES,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        flip=True,
    )


def load_digits() -> Source:
    """scikit-learn's bundled 1,797 real digits, resized to 32x32x3; every fifth a test image."""
    from PIL import Image
    from sklearn.datasets import load_digits as bundled

    digits = bundled()
    small = (digits.images * (255 / 16)).round().astype(np.uint8)
    resized = [Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR) for i in small]
    grey = np.stack([np.asarray(image) for image in resized])
    everything = LabelledImages(
        np.repeat(grey[..., None], 3, axis=-1), digits.target.astype(np.int64)
    )
    test, rest = _stratified(everything.labels, len(everything) // 5, np.random.default_rng(0))
    return Source(
        name="digits",
        origin="scikit-learn",
        train=everything.take(np.sort(rest)),
        test=everything.take(np.sort(test)),
        classes=tuple("0123456789"),
        mean=(0.3053,) * 3,
        std=(0.3234,) * 3,
        flip=False,
    )


def split(
    source: Source, *, split_seed: int = SPLIT_SEED, limit_train: int | None = None
) -> TrialData:
    """Cut the training images into a training and a stratified validation part.

    Validation is a tenth of the training images (5,000 of CIFAR-10's). ``limit_train`` keeps that
    many training images and a ninth as many for validation (at least 100), subsets of the parts
    that the full split has, so that no image ever changes sides. The split has its own seed: a
    fresh trial seed must not move an image from validation into training.
    """
    if limit_train is not None:
        check_integer("limit_train", limit_train, Range(1, 10**9))
    rng = np.random.default_rng(split_seed)
    val, train = _stratified(source.train.labels, len(source.train) // 10, rng)
    if limit_train is not None and limit_train < len(train):
        labels = source.train.labels
        train = train[_stratified(labels[train], limit_train, rng)[0]]
        keep = min(len(val), max(100, limit_train // 9))
        val = val[_stratified(labels[val], keep, rng)[0]]
    train_part, val_part = source.train.take(np.sort(train)), source.train.take(np.sort(val))
    digest = hashlib.sha256()
    for part in (train_part, val_part):
        digest.update(part.images.data)
        digest.update(part.labels.data)
    return TrialData(
        source.name,
        train_part,
        val_part,
        source.mean,
        source.std,
        source.flip,
        digest.hexdigest()[:12],
    )


def data_facts(
    asked: str, source: Source, data: TrialData, *, split_seed: int, limit_train: int | None
) -> dict[str, Any]:
    """What a search or a package records of its data. ``argument``: what ``data`` finds the
    same data again with, where ``auto`` has become what it took."""
    named = asked in ("auto", "cifar10", "digits")
    return {
        "name": source.name,
        "argument": source.name if named else str(Path(asked).absolute()),
        "origin": source.origin,
        "fingerprint": data.fingerprint,
        "train_images": len(data.train),
        "val_images": len(data.val),
        "split_seed": split_seed,
        "limit_train": limit_train,
        **image_facts(source),
    }


def image_facts(source: Source) -> dict[str, Any]:
    """What whoever classifies an image needs: the normalisation and the names of the classes."""
    return {
        "mean": list(source.mean),
        "std": list(source.std),
        "classes": list(source.classes),
    }


def load_recorded(facts: dict[str, Any]) -> tuple[Source, TrialData]:
    """Find the data again that ``data_facts`` recorded.

    Raises:
        InputError: it is not there, or is not what it was.
    """
    source = load_source(facts["argument"])
    data = split(source, split_seed=facts["split_seed"], limit_train=facts["limit_train"])
    if data.fingerprint != facts["fingerprint"]:
        rule = f"is not the data of this search: {data.fingerprint}, it had {facts['fingerprint']}"
        raise InputError("data", facts["argument"], rule)
    return source, data


def _stratified(labels: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random positions: ``count`` of them with the classes in proportion, and all the others."""
    order = rng.permutation(len(labels))
    # Ranking each image within its class, as a fraction of the class, and cutting the sorted
    # ranks at ``count`` keeps every class within one image of its share.
    rank = np.empty(len(labels))
    for cls in np.unique(labels):
        members = order[labels[order] == cls]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    chosen = np.lexsort((order, rank))
    return chosen[:count], chosen[count:]


def _no_data(error: OSError) -> str:
    return (
        f"is not on this disk and could not be downloaded ({error}). Any of these helps:\n"
        f"  1. set CIFAR10_DIR to a folder with {TORCHVISION_FOLDER}/ or train-*.parquet and"
        " test-*.parquet files\n"
        f"  2. put one of these into {DOWNLOAD_FOLDER}/\n"
        "  3. run once where there is a network: it is downloaded and checked\n"
        "or try the tool on the embedded images: set `data` to digits"
    )


def _say(message: str) -> None:
    print(f"*** {message}", file=sys.stderr, flush=True)
