"""Find, load and check a data set; cut it into train, validation and test.

Images are uint8 arrays of shape (N, 32, 32, 3), labels int64 of shape (N,). They are decoded once
into memory-mapped files, so that a second start reads nothing twice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from vgg6.config import InputError, check_choice

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
TORCHVISION_FOLDER = "cifar-10-batches-py"
DOWNLOAD_FOLDER = Path("data")
SPLIT_SEED = 42
NUM_CLASSES = 10

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelledImages:
    """``images``: uint8 (N, 32, 32, 3); ``labels``: int64 (N,) in 0 to 9."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Array) -> LabelledImages:
        """The chosen rows, as contiguous copies."""
        return LabelledImages(np.ascontiguousarray(self.images[index]), self.labels[index])


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
                raise InputError("--data", data, _no_data(error)) from None
        return load_folder(folder)
    if not Path(data).is_dir():
        check_choice("--data", data, ("cifar10", "digits", "auto", "FOLDER"))
    return load_folder(Path(data))


def find_cifar10() -> Path | None:
    """The folder that holds CIFAR-10: ``$CIFAR10_DIR`` if set, else ``data/``; None if neither.

    Raises:
        InputError: ``$CIFAR10_DIR`` is set but holds no data set of a known layout.
    """
    named = os.environ.get("CIFAR10_DIR")
    if named:
        if _layout(Path(named)) is None:
            raise InputError("CIFAR10_DIR", named, _layout_rule())
        return Path(named)
    return DOWNLOAD_FOLDER if _layout(DOWNLOAD_FOLDER) else None


def load_folder(folder: Path) -> Source:
    """Load torchvision's folder or parquet files from ``folder``, through the decoded cache."""
    layout = _layout(folder)
    if layout is None:
        raise InputError("--data", str(folder), _layout_rule())
    reader, files = layout
    train, test = _cached(files, reader)
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
    grey = np.stack([Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR) for i in small])
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
        digest.update(part.images)
        digest.update(part.labels)
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
    """What a search or a package records of its data. ``argument``: what ``--data`` finds the
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
    }


def download_cifar10(root: Path) -> Path:
    """Download CIFAR-10 with torchvision, checked, into ``root``, whole or not at all.

    Raises:
        OSError: no network, or what came does not have the published checksum.
    """
    from torchvision.datasets import CIFAR10

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".download.lock"), tempfile.TemporaryDirectory(dir=root) as scratch:
        if _layout(root) is None:
            before = socket.getdefaulttimeout()
            socket.setdefaulttimeout(20)  # a silent firewall must not hang the start for ever
            try:
                CIFAR10(scratch, download=True)
            except RuntimeError as error:
                raise OSError(str(error)) from error
            finally:
                socket.setdefaulttimeout(before)
            os.rename(Path(scratch) / TORCHVISION_FOLDER, root / TORCHVISION_FOLDER)
    return root


Parts = tuple[LabelledImages, LabelledImages]


def _layout(folder: Path) -> tuple[Callable[[], Parts], list[Path]] | None:
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
        raise InputError("--data", str(root / TORCHVISION_FOLDER), message) from None
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
            except (pa.ArrowException, OSError, KeyError) as error:
                rule = f"cannot be read as parquet with columns img{{bytes,path}}, label: {error}"
                raise InputError("--data", str(file), rule) from None
            if (
                not np.issubdtype(found.dtype, np.integer)
                or not ((found >= 0) & (found < 10)).all()
            ):
                bad = next((x for x in found if x not in range(NUM_CLASSES)), found.dtype)
                raise InputError("--data", str(file), f"has the label {bad}: it must be 0 to 9")
            images.append(_decode_all(encoded, file))
            labels.append(found.astype(np.int64))
        parts.append(LabelledImages(np.concatenate(images), np.concatenate(labels)))
    if (np.bincount(parts[0].labels, minlength=NUM_CLASSES) < 10).any():
        raise InputError("--data", str(folder), "must have at least 10 training images a class")
    return parts[0], parts[1]


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
    except (UnidentifiedImageError, OSError, TypeError) as error:
        raise InputError("--data", str(file), f"row {row} holds no image: {error}") from None
    if image.shape != (32, 32, 3):
        size = "x".join(str(n) for n in image.shape[:2])
        raise InputError("--data", str(file), f"row {row} is {size}, an image must be 32x32")
    return image


def _cached(files: list[Path], read: Callable[[], Parts]) -> Parts:
    """``read()`` once for these files on this machine; afterwards a memory map of its result."""
    state = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    key = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tune_vgg6"
    target = root / key
    root.mkdir(parents=True, exist_ok=True)
    # The lock lets the first of several readers decode while the others wait for its files.
    with FileLock(root / f"{key}.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                whole = Path(scratch) / key
                whole.mkdir()
                for name, part in zip(("train", "test"), read(), strict=True):
                    np.save(whole / f"{name}_images.npy", part.images)
                    np.save(whole / f"{name}_labels.npy", part.labels)
                os.rename(whole, target)
    try:
        train, test = (
            LabelledImages(
                np.load(target / f"{name}_images.npy", mmap_mode="r"),
                np.load(target / f"{name}_labels.npy"),
            )
            for name in ("train", "test")
        )
    except (ValueError, OSError) as error:
        shutil.rmtree(target)
        warnings.warn(f"{target} was damaged ({error}) and is made again", stacklevel=2)
        return _cached(files, read)
    return train, test


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


def _layout_rule() -> str:
    return (
        f"holds neither {TORCHVISION_FOLDER}/ (torchvision's layout) nor train-*.parquet and"
        " test-*.parquet files (columns img{bytes,path}, label)"
    )


def _no_data(error: OSError) -> str:
    return (
        f"is not on this disk and could not be downloaded ({error}). Any of these helps:\n"
        f"  1. set CIFAR10_DIR to a folder with {TORCHVISION_FOLDER}/ or train-*.parquet and"
        " test-*.parquet files\n"
        f"  2. put one of these into {DOWNLOAD_FOLDER}/\n"
        "  3. run once where there is a network: it is downloaded and checked\n"
        "or look at the tool with the embedded images: --data digits"
    )


def _say(message: str) -> None:
    print(f"*** {message}", file=sys.stderr, flush=True)
