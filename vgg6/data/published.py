"""Published data sets that torchvision knows: found in its folders, or downloaded and checked."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vgg6.common.checks import InputError
from vgg6.common.locks import one_at_a_time
from vgg6.data.arrays import list_arrays
from vgg6.data.images import Array
from vgg6.data.listing import TEST, TRAIN, Listing

TORCHVISION_FOLDER = "cifar-10-batches-py"
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Published:
    """``title``: its name for people; ``holds``: a file or folder that torchvision keeps it in,
    below a root folder; ``open``: its class there; ``flip``: a mirrored image is of its class."""

    title: str
    holds: str
    open: Callable[[], Any]
    flip: bool
    classes: tuple[str, ...] = ()


def _torchvision(name: str) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, name)


PUBLISHED = {
    "cifar10": Published(
        "CIFAR-10", TORCHVISION_FOLDER, partial(_torchvision, "CIFAR10"), True, CIFAR10_CLASSES
    ),
    "cifar100": Published("CIFAR-100", "cifar-100-python", partial(_torchvision, "CIFAR100"), True),
    "svhn": Published("SVHN", "train_32x32.mat", partial(_torchvision, "SVHN"), False, DIGITS),
    "fashion_mnist": Published(
        "Fashion-MNIST", "FashionMNIST/raw", partial(_torchvision, "FashionMNIST"), True
    ),
    "mnist": Published("MNIST", "MNIST/raw", partial(_torchvision, "MNIST"), False, DIGITS),
}


def root_of(name: str, folder: Path) -> Path | None:
    """torchvision's root folder of a published set: ``folder`` or one above it; None if neither."""
    holds = Path(PUBLISHED[name].holds)
    if (folder / holds).exists():
        return folder
    parts, above = folder.absolute().parts, folder.absolute().parents
    for depth in range(1, min(len(holds.parts), len(above)) + 1):
        inside = parts[-depth:] == holds.parts[:depth]
        if inside and (above[depth - 1] / holds).is_dir():
            return above[depth - 1]
    return None


def files_of(name: str, root: Path) -> list[Path]:
    """The files that a published set is read from."""
    place = root / PUBLISHED[name].holds
    if place.is_dir():
        return sorted(p for p in place.iterdir() if p.is_file())
    return [root / "train_32x32.mat", root / "test_32x32.mat"]


def list_published(name: str, root: Path) -> Listing:
    """The parts of a published set, which torchvision checks against its published checksums.

    Raises:
        InputError: a file is missing or damaged.
    """
    about = PUBLISHED[name]
    try:
        sets = {
            part: _open(name, root, train=part == TRAIN, download=False) for part in (TRAIN, TEST)
        }
    except (RuntimeError, OSError, ValueError) as error:
        rule = f"is damaged: a file is missing or its checksum is wrong ({error})"
        raise InputError("data", str(root / about.holds), rule) from None
    return list_arrays(
        f"{about.title} in torchvision's folder",
        root,
        files_of(name, root),
        about.classes or tuple(sets[TRAIN].classes),
        {part: _arrays(one) for part, one in sets.items()},
        known=name,
    )


def download(name: str, root: Path) -> Path:
    """Download a published set with torchvision, checked, into ``root``, whole or not at all.

    Raises:
        OSError: no network, or what came does not have the published checksum.
    """
    about = PUBLISHED[name]
    root.mkdir(parents=True, exist_ok=True)
    lock = root / ".download.lock"
    with (
        one_at_a_time(lock, f"it downloads {about.title}"),
        tempfile.TemporaryDirectory(dir=root) as scratch,
    ):
        if root_of(name, root) is None:
            before = socket.getdefaulttimeout()
            socket.setdefaulttimeout(20)  # a silent firewall must not hang the start for ever
            try:
                # All but SVHN come as a whole.
                for train in (True, False) if name == "svhn" else (True,):
                    _open(name, Path(scratch), train=train, download=True)
            except RuntimeError as error:
                raise OSError(str(error)) from error
            finally:
                socket.setdefaulttimeout(before)
            # Of a set in single files, the one that tells that it is there comes last.
            found = files_of(name, Path(scratch))[::-1] if "." in about.holds else []
            for one in found or [Path(scratch) / Path(about.holds).parts[0]]:
                rename(one, root / one.name)
    return root


def rename(path: Path, target: Path) -> None:
    """Put a folder in its place, unless another process was first: storage may have no locks."""
    try:
        os.rename(path, target)
    except OSError:
        if not target.exists():
            raise


def _open(name: str, root: Path, *, train: bool, download: bool) -> Any:
    kind = PUBLISHED[name].open()
    if name == "svhn":
        return kind(str(root), split=TRAIN if train else TEST, download=download)
    return kind(str(root), train=train, download=download)


def _arrays(one: Any) -> tuple[Array, Array]:
    images = np.asarray(one.data)
    if images.ndim == 4 and images.shape[1] == 3:
        images = images.transpose(0, 2, 3, 1)
    return images, np.asarray(one.labels if hasattr(one, "labels") else one.targets, np.int64)
