"""Find and load a data set: a published one by its name, scikit-learn's digits, or a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vgg6.common.checks import InputError, check_choice
from vgg6.common.say import say
from vgg6.common.user_folders import expanded
from vgg6.data import arrays
from vgg6.data.cache import Decoded, cached
from vgg6.data.images import LabelledImages, Source
from vgg6.data.layouts import (
    Layout,
    cifar10_in,
    file_rule,
    layout_rule,
    load_layout,
    packed_in,
    published_in,
)
from vgg6.data.listing import TEST, TRAIN, VAL
from vgg6.data.published import (
    CIFAR10_CLASSES,
    DIGITS,
    PUBLISHED,
    TORCHVISION_FOLDER,
    download,
)
from vgg6.data.reading import AS_THE_STUDY, Reading
from vgg6.data.splits import stratified

DOWNLOAD_FOLDER = Path("data")
NAMES = (*PUBLISHED, "digits")  # of images that are no folder
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def load_source(data: str, how: Reading = AS_THE_STUDY, *, fetch: bool = True) -> Source:
    """Load a data set by its name (``cifar10``, ``cifar100``, ``svhn``, ``fashion_mnist``,
    ``mnist``, ``digits``), CIFAR-10 if it can be had and else digits (``auto``), or what a folder
    or an ``.npz`` file holds.

    Args:
        fetch: whether a published set that is not on this disk is downloaded.

    Raises:
        InputError: the data is not there, cannot be downloaded, or is not what it must be.
    """
    data = expanded(data)
    if data == "digits":
        return load_digits(how)
    name = "cifar10" if data == "auto" else data
    if name in PUBLISHED:
        layout = find_published(name)
        if layout is None:
            if not fetch and data == "auto":
                return load_digits(how)
            if not fetch:
                raise InputError("data", data, "is not on this disk")
            try:
                download(name, DOWNLOAD_FOLDER)
            except OSError as error:
                if data == "auto":
                    say(
                        "*** CIFAR-10 is not on this disk and could not be downloaded: using"
                        " DIGITS, 1,797 small images of handwritten digits. Scores are not"
                        f" CIFAR-10 scores.{_packed_hint()}"
                    )
                    return load_digits(how)
                raise InputError("data", data, _no_data(name, error)) from None
            layout = published_in(name, DOWNLOAD_FOLDER)
            assert layout is not None, "it was downloaded"
        source = load_folder(layout.root, how, layout)
        if source.name != name:
            shown = ", ".join(source.classes[:5])
            rule = f"is not {PUBLISHED[name].title}: it has {len(source.classes)} classes ({shown})"
            raise InputError("data", source.origin, rule)
        return source
    if Path(data).is_file() and not data.endswith(arrays.SUFFIX):
        raise InputError("data", data, file_rule(Path(data)))
    if not Path(data).exists():
        check_choice("data", data, (*NAMES, "auto", "FOLDER"))
    return load_folder(Path(data), how)


def find_cifar10() -> Path | None:
    """The folder that holds CIFAR-10: ``$CIFAR10_DIR`` if set, else ``data/``; None if neither.

    Raises:
        InputError: ``$CIFAR10_DIR`` is set but holds no data set of a known layout.
    """
    if find_published("cifar10") is None:
        return None
    return Path(expanded(os.environ.get("CIFAR10_DIR", "")) or DOWNLOAD_FOLDER)


def find_published(name: str) -> Layout | None:
    """Where a published set lies here, if it does.

    Raises:
        InputError: as ``find_cifar10``.
    """
    named = expanded(os.environ.get("CIFAR10_DIR", "")) if name == "cifar10" else ""
    if not named:
        return published_in(name, DOWNLOAD_FOLDER)
    layout = cifar10_in(Path(named))
    if layout is None:
        raise InputError("CIFAR10_DIR", named, layout_rule(Path(named)))
    return layout


def load_folder(folder: Path, how: Reading = AS_THE_STUDY, layout: Layout | None = None) -> Source:
    """Load what a folder or an ``.npz`` file holds, through the decoded cache.

    Args:
        layout: of it, where that is known.
    """
    found = cached(layout or load_layout(folder, how), how)
    about, parts = found.about, found.parts
    name = _known_name(found)
    classes = CIFAR10_CLASSES if name == "cifar10" else tuple(about["classes"])
    own = folder.absolute().name.removesuffix(arrays.SUFFIX) or "images"
    return Source(
        name=name or (f"{own}-folder" if own in NAMES else own),
        origin=str(folder),
        train=parts[TRAIN],
        test=parts[TEST],
        classes=classes,
        mean=CIFAR10_MEAN if name == "cifar10" else tuple(about["mean"]),
        std=CIFAR10_STD if name == "cifar10" else tuple(about["std"]),
        flip=PUBLISHED[name].flip if name else not is_writing(classes),
        val=parts.get(VAL),
        layout=about["words"],
        known=bool(name),
        held_out=about["held_out"],
        remarks=_remarks(found),
    )


def _known_name(found: Decoded) -> str:
    """The published set that this is; "": none. CIFAR-10 is known by its ten classes and its size,
    whatever the files that it was written out into."""
    about = found.about
    classes = tuple(about["classes"])
    as_numbers = about["unnamed"] and classes == DIGITS
    small = about["size"] == [32, 32] and not about["grey"]
    if small and (classes == CIFAR10_CLASSES or as_numbers):
        return "cifar10"
    return str(about["known"])


def is_writing(classes: tuple[str, ...]) -> bool:
    """Whether classes are named as digits and letters are, or as directions: a mirrored image of
    one is not of its class."""
    words = {word for name in classes for word in name.lower().replace("-", "_").split("_")}
    return all(len(name) == 1 for name in classes) or {"left", "right"} <= words


def _remarks(found: Decoded) -> tuple[str, ...]:
    """What was met in the pictures, a line each."""
    about = found.about
    lines = [*about["notes"]]
    lines += [f"pictures {what}: {count:,}" for what, count in sorted(about["handled"].items())]
    if damaged := about["damaged"]:
        named = ", ".join(Path(where).name for where, _ in damaged[:3])
        lines.append(f"damaged pictures left out: {len(damaged):,} ({named})")
    return tuple(lines)


def load_digits(how: Reading = AS_THE_STUDY) -> Source:
    """scikit-learn's bundled 1,797 real digits, resized, as RGB; every fifth a test image."""
    from PIL import Image
    from sklearn.datasets import load_digits as bundled

    digits, size = bundled(), (how.image_size, how.image_size)
    small = (digits.images * (255 / 16)).round().astype(np.uint8)
    resized = [Image.fromarray(i).resize(size, Image.Resampling.BILINEAR) for i in small]
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
        classes=DIGITS,
        mean=(0.3053,) * 3,
        std=(0.3234,) * 3,
        flip=False,
        known=True,
    )


def _packed_hint() -> str:
    packed = packed_in(DOWNLOAD_FOLDER)
    return f" ({DOWNLOAD_FOLDER / packed[0].name} is there: unpack it)" if packed else ""


def _no_data(name: str, error: OSError) -> str:
    start = f"is not on this disk and could not be downloaded ({error})"
    if name != "cifar10":
        holds = DOWNLOAD_FOLDER / PUBLISHED[name].holds
        return f"{start}. Run once where there is a network, or put it into {holds}"
    return (
        f"{start}. Any of these helps:\n"
        f"  1. set CIFAR10_DIR to a folder with {TORCHVISION_FOLDER}/ or train-*.parquet and"
        " test-*.parquet files\n"
        f"  2. put one of these into {DOWNLOAD_FOLDER}/{_packed_hint()}\n"
        "  3. run once where there is a network: it is downloaded and checked\n"
        "or try the tool on the embedded images: set `data` to digits"
    )
