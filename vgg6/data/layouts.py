"""Reads data sets from disk: torchvision's folder, parquet files, the download, the cache.

Whatever was read is decoded once into memory-mapped files, so that a second start reads nothing
twice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from vgg6.common.checks import InputError
from vgg6.common.files import user_cache
from vgg6.common.locks import one_at_a_time
from vgg6.common.say import say
from vgg6.data.images import NUM_CLASSES, Array, LabelledImages

TORCHVISION_FOLDER = "cifar-10-batches-py"
FILE_SUFFIX = ".npz"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


def download_cifar10(root: Path) -> Path:
    """Download CIFAR-10 with torchvision, checked, into ``root``, whole or not at all.

    Raises:
        OSError: no network, or what came does not have the published checksum.
    """
    from torchvision.datasets import CIFAR10

    root.mkdir(parents=True, exist_ok=True)
    lock = root / ".download.lock"
    with (
        one_at_a_time(lock, "it downloads CIFAR-10"),
        tempfile.TemporaryDirectory(dir=root) as scratch,
    ):
        if layout_of(root) is None:
            before = socket.getdefaulttimeout()
            socket.setdefaulttimeout(20)  # a silent firewall must not hang the start for ever
            try:
                CIFAR10(scratch, download=True)
            except RuntimeError as error:
                raise OSError(str(error)) from error
            finally:
                socket.setdefaulttimeout(before)
            _rename(Path(scratch) / TORCHVISION_FOLDER, root / TORCHVISION_FOLDER)
    return root


def _rename(folder: Path, target: Path) -> None:
    """Put a folder in its place, unless another process was first: storage may have no locks."""
    try:
        os.rename(folder, target)
    except OSError:
        if not target.exists():
            raise


Parts = tuple[LabelledImages, LabelledImages]


def layout_of(folder: Path) -> tuple[Callable[[], Parts], list[Path]] | None:
    """A reader of what ``folder`` holds, and the files that it will read; None if nothing."""
    batches = folder if folder.name == TORCHVISION_FOLDER else folder / TORCHVISION_FOLDER
    if batches.is_dir():
        return partial(_read_torchvision, batches.parent), sorted(batches.iterdir())
    files = sorted([*folder.glob("train-*.parquet"), *folder.glob("test-*.parquet")])
    if {f.name.split("-")[0] for f in files} == {"train", "test"}:
        return partial(_read_parquet, folder), files
    return None


def _read_torchvision(root: Path) -> Parts:
    from torchvision.datasets import CIFAR10

    try:
        # torchvision checks every file against its published checksum before unpickling it.
        sets = [CIFAR10(str(root), train=part) for part in (True, False)]
    except RuntimeError as error:
        message = f"is damaged: a file is missing or its checksum is wrong ({error})"
        raise InputError("data", str(root / TORCHVISION_FOLDER), message) from None
    train, test = (LabelledImages(s.data, np.asarray(s.targets, np.int64)) for s in sets)
    return train, test


def _read_parquet(folder: Path) -> Parts:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for part in ("train", "test"):
        images, labels = [], []
        for file in sorted(folder.glob(f"{part}-*.parquet")):
            try:
                table = pq.read_table(file, columns=["img", "label"])
                encoded = table["img"].combine_chunks().field("bytes").to_pylist()
                found = table["label"].to_numpy()
            except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
                rule = f"cannot be read as parquet with columns img{{bytes,path}}, label: {error}"
                raise InputError("data", str(file), rule) from None
            if not len(found):
                raise InputError("data", str(file), "has no rows")
            if (
                not np.issubdtype(found.dtype, np.integer)
                or not ((found >= 0) & (found < 10)).all()
            ):
                bad = next((x for x in found if x not in range(NUM_CLASSES)), found.dtype)
                raise InputError("data", str(file), f"has the label {bad}: it must be 0 to 9")
            images.append(_decode_all(encoded, file))
            labels.append(found.astype(np.int64))
        parts.append(LabelledImages(np.concatenate(images), np.concatenate(labels)))
    if (np.bincount(parts[0].labels, minlength=NUM_CLASSES) < 10).any():
        raise InputError("data", str(folder), "must have at least 10 training images a class")
    return parts[0], parts[1]


def read_file(file: Path) -> LabelledImages:
    """A NumPy archive of ``images`` and ``labels``, each as ``LabelledImages`` has them.

    Raises:
        InputError: it is not there, or does not hold these; names the array and its rule.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, TypeError) as error:
        rule = f"cannot be read as a NumPy archive of images and labels: {error}"
        raise InputError("data", str(file), rule) from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
        rule = f"has images of {images.dtype} {images.shape}: they must be uint8 (N, 32, 32, 3)"
        raise InputError("data", str(file), rule)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
        rule = (
            f"has labels of {labels.dtype} {labels.shape}: there must be one whole number an image"
        )
        raise InputError("data", str(file), rule)
    if not len(images):
        raise InputError("data", str(file), "has no images")
    wrong = labels[(labels < 0) | (labels >= NUM_CLASSES)]
    if len(wrong):
        raise InputError("data", str(file), f"has the label {wrong[0]}: it must be 0 to 9")
    return LabelledImages(images, labels.astype(np.int64))


def _decode_all(encoded: list[bytes], file: Path) -> Array:
    """All images of a file, a chunk a thread: decoders let go of the interpreter."""

    def chunk(start: int) -> Array:
        rows = range(start, min(start + 2000, len(encoded)))
        return np.stack([_decode(encoded[row], file, row) for row in rows])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(chunk, range(0, len(encoded), 2000))))


def _decode(encoded: bytes, file: Path, row: int) -> Array:
    from PIL import Image, UnidentifiedImageError

    try:
        image = np.asarray(Image.open(BytesIO(encoded)).convert("RGB"))
    except (UnidentifiedImageError, OSError, TypeError, ValueError, SyntaxError) as error:
        raise InputError("data", str(file), f"row {row} holds no image: {error}") from None
    if image.shape != (32, 32, 3):
        size = "x".join(str(n) for n in image.shape[:2])
        raise InputError("data", str(file), f"row {row} is {size}, an image must be 32x32")
    return image


def cached(files: list[Path], read: Callable[[], Parts]) -> Parts:
    """``read()`` once for these files on this machine; afterwards a memory map of its result."""
    state = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    key = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
    root = user_cache()
    target = root / key
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = root / f"{key}.lock"
        with one_at_a_time(lock, "it decodes these images"):
            pass
    except OSError as error:
        variable = "XDG_CACHE_HOME" if os.environ.get("XDG_CACHE_HOME") else "HOME"
        rule = f"cannot be written, and keeps the decoded images: {error}"
        raise InputError(variable, os.environ.get(variable), rule) from None
    # The lock lets the first of several readers decode while the others wait for its files.
    with one_at_a_time(lock, "it decodes these images"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                whole = Path(scratch) / key
                whole.mkdir()
                say(f"decoding images into {root}, once")
                try:
                    parts = read()
                except InputError:  # whoever waits for the lock will be told the same
                    lock.unlink(missing_ok=True)
                    raise
                try:
                    for name, part in zip(("train", "test"), parts, strict=True):
                        np.save(whole / f"{name}_images.npy", part.images)
                        np.save(whole / f"{name}_labels.npy", part.labels)
                except OSError as error:  # it is only a cache
                    say(f"{root} is full, so the next process decodes them again: {error}")
                    return parts
                _rename(whole, target)
    try:
        train, test = (
            LabelledImages(
                np.load(target / f"{name}_images.npy", mmap_mode="r"),
                np.load(target / f"{name}_labels.npy"),
            )
            for name in ("train", "test")
        )
    except (ValueError, OSError, EOFError) as error:
        shutil.rmtree(target, ignore_errors=True)  # another reader may be at it too
        say(f"{target} was damaged ({error}) and is made again")
        return cached(files, read)
    return train, test


def layout_rule(folder: Path) -> str:
    """What is wrong with a folder that holds no images of a known layout."""
    rule = (
        f"holds neither {TORCHVISION_FOLDER}/ (torchvision's layout) nor train-*.parquet and"
        " test-*.parquet files (columns img{bytes,path}, label)"
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
    if file.name.endswith(FILE_SUFFIX):
        return f"is a file: an {FILE_SUFFIX} can be scored, and not trained on. Give a folder"
    if file.suffix == ".parquet":
        return "is one file of a data set: give the folder that holds it"
    return "is a file: give a folder"
