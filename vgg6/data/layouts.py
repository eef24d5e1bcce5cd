"""Finds out how a data set lies in a folder, and says what is wrong where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vgg6.common.checks import InputError
from vgg6.data import arrays, parquet
from vgg6.data.class_folders import list_class_folders
from vgg6.data.listing import Listing
from vgg6.data.published import (
    CIFAR10_CLASSES,
    PUBLISHED,
    TORCHVISION_FOLDER,
    files_of,
    list_published,
    root_of,
)
from vgg6.data.reading import AS_THE_STUDY, Reading

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".7z", ".rar", ".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class Layout:
    """Where a data set is: all of its files, below ``root``, and what lists its pictures."""

    root: Path
    files: list[Path]
    list: Callable[[], Listing]


def layout_of(folder: Path, how: Reading = AS_THE_STUDY) -> Layout | None:
    """The layout of what a folder holds, or an ``.npz`` file; None if it holds no data set.

    Raises:
        InputError: it holds one that breaks a rule of its layout.
    """
    if folder.is_file() and folder.name.endswith(arrays.SUFFIX):
        return Layout(folder, [folder], partial(arrays.list_npz, folder))
    if not folder.is_dir():
        return None
    for name in PUBLISHED:
        if found := _published(name, folder):
            return found
    if files := parquet.found_files(folder):
        return Layout(folder, files, partial(parquet.list_parquet, folder, how.label_column))
    if listing := list_class_folders(folder):
        return Layout(folder, listing.files, lambda: listing)
    packed = sorted(folder.glob(f"*{arrays.SUFFIX}"))
    if len(packed) == 1:
        return Layout(packed[0], packed, partial(arrays.list_npz, packed[0]))
    below = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))]
    # What was unpacked often lies in one folder of its own.
    return layout_of(below[0], how) if len(below) == 1 else None


def cifar10_in(folder: Path) -> Layout | None:
    """The layout of CIFAR-10 in a folder: torchvision's, parquet, or folders of its classes."""
    if found := _published("cifar10", folder):
        return found
    if any(_published(name, folder) for name in PUBLISHED) or not folder.is_dir():
        return None
    if files := parquet.found_files(folder):
        return Layout(folder, files, partial(parquet.list_parquet, folder, None))
    named = {path.name for path in folder.glob("*/*")} | {path.name for path in folder.glob("*")}
    return layout_of(folder) if set(CIFAR10_CLASSES) <= named else None


def published_in(name: str, folder: Path) -> Layout | None:
    """The layout of a published set in a folder."""
    return cifar10_in(folder) if name == "cifar10" else _published(name, folder)


def _published(name: str, folder: Path) -> Layout | None:
    root = root_of(name, folder)
    if root is None:
        return None
    return Layout(root, files_of(name, root), partial(list_published, name, root))


def layout_rule(folder: Path) -> str:
    """What is wrong with a folder that holds no images of a known layout."""
    rule = (
        f"holds neither {TORCHVISION_FOLDER}/ (torchvision's layout) nor train-*.parquet and"
        " test-*.parquet files (columns img{bytes,path}, label), nor a folder of pictures for each"
        " class, nor an .npz file"
    )
    packed = packed_in(folder)
    return f"{rule}. Unpack {packed[0].name} there first" if packed else rule


def packed_in(folder: Path) -> list[Path]:
    """The archives in a folder, those of CIFAR-10 first."""
    if not folder.is_dir():
        return []
    found = [file for file in folder.iterdir() if file.name.endswith(ARCHIVES)]
    return sorted(found, key=lambda file: ("cifar" not in file.name, file.name))


def file_rule(file: Path) -> str:
    """Why a file is nothing to train on, and what to do."""
    if file.name.endswith(ARCHIVES):
        return "is packed: unpack it, and give the folder that then holds the images"
    if file.suffix == parquet.SUFFIX:
        return "is one file of a data set: give the folder that holds it"
    return "is a file: give a folder"


def load_layout(folder: Path, how: Reading) -> Layout:
    """``layout_of``, of a data set that must be there.

    Raises:
        InputError: it is not.
    """
    found = layout_of(folder, how)
    if found is None:
        raise InputError("data", str(folder), layout_rule(folder))
    return found
