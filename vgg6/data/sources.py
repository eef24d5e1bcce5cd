"""Find and load a data set: CIFAR-10, scikit-learn's digits, or a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vgg6.common.checks import InputError, check_choice
from vgg6.common.files import expanded
from vgg6.common.say import say
from vgg6.data.images import LabelledImages, Source
from vgg6.data.layouts import (
    TORCHVISION_FOLDER,
    cached,
    download_cifar10,
    file_rule,
    layout_of,
    layout_rule,
    packed_in,
)
from vgg6.data.splits import stratified

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
DOWNLOAD_FOLDER = Path("data")


def load_source(data: str) -> Source:
    """Load ``cifar10``, ``digits``, ``auto`` (CIFAR-10 if it can be had, else digits) or a folder.

    Raises:
        InputError: the data is not there, cannot be downloaded, or is damaged.
    """
    data = expanded(data)
    if data == "digits":
        return load_digits()
    if data in ("cifar10", "auto"):
        folder = find_cifar10()
        if folder is None:
            try:
                folder = download_cifar10(DOWNLOAD_FOLDER)
            except OSError as error:
                if data == "auto":
                    say(
                        "*** CIFAR-10 is not on this disk and could not be downloaded: using"
                        " DIGITS, 1,797 small images of handwritten digits. Scores are not"
                        f" CIFAR-10 scores.{_packed_hint()}"
                    )
                    return load_digits()
                raise InputError("data", data, _no_data(error)) from None
        return load_folder(folder)
    if Path(data).is_file():
        raise InputError("data", data, file_rule(Path(data)))
    if not Path(data).is_dir():
        check_choice("data", data, ("cifar10", "digits", "auto", "FOLDER"))
    return load_folder(Path(data))


def find_cifar10() -> Path | None:
    """The folder that holds CIFAR-10: ``$CIFAR10_DIR`` if set, else ``data/``; None if neither.

    Raises:
        InputError: ``$CIFAR10_DIR`` is set but holds no data set of a known layout.
    """
    named = expanded(os.environ.get("CIFAR10_DIR", ""))
    if named:
        if layout_of(Path(named)) is None:
            raise InputError("CIFAR10_DIR", named, layout_rule(Path(named)))
        return Path(named)
    return DOWNLOAD_FOLDER if layout_of(DOWNLOAD_FOLDER) else None


def load_folder(folder: Path) -> Source:
    """Load torchvision's folder or parquet files from ``folder``, through the decoded cache."""
    layout = layout_of(folder)
    if layout is None:
        raise InputError("data", str(folder), layout_rule(folder))
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
    test, rest = stratified(everything.labels, len(everything) // 5, np.random.default_rng(0))
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


def _packed_hint() -> str:
    packed = packed_in(DOWNLOAD_FOLDER)
    return f" ({DOWNLOAD_FOLDER / packed[0].name} is there: unpack it)" if packed else ""


def _no_data(error: OSError) -> str:
    return (
        f"is not on this disk and could not be downloaded ({error}). Any of these helps:\n"
        f"  1. set CIFAR10_DIR to a folder with {TORCHVISION_FOLDER}/ or train-*.parquet and"
        " test-*.parquet files\n"
        f"  2. put one of these into {DOWNLOAD_FOLDER}/{_packed_hint()}\n"
        "  3. run once where there is a network: it is downloaded and checked\n"
        "or try the tool on the embedded images: set `data` to digits"
    )
