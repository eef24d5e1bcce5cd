"""Bad values in data folders: parquet files and torchvision's batches that are damaged."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from support.bad_values.case import Case, written


def png() -> bytes:
    file = BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def images(folder: Path, name: str, count: int, cells: dict[int, Any] | None = None) -> None:
    """A parquet file of ``count`` black images with labels 0 to 9; ``cells``: other ones' labels
    (numbers), or other ones' images (bytes)."""
    pictures, labels = [png()] * count, [i % 10 for i in range(count)]
    for row, cell in (cells or {}).items():
        (labels if isinstance(cell, int) else pictures)[row] = cell
    packed = pa.array([{"bytes": p, "path": "x"} for p in pictures])
    pq.write_table(pa.table({"img": packed, "label": labels}), folder / f"{name}-0.parquet")


def data(name: str, change: Callable[[Path], object], *says: str) -> Case:
    arguments = ["search", "--data", "{at}/data", "--name", "fresh", "--wandb", "disabled"]
    return Case(name, arguments, ["--data", *says], lambda at: change(at / "data"))


def cut(file: str) -> Callable[[Path], object]:
    def change(at: Path) -> None:
        content = (at / file).read_bytes()
        (at / file).write_bytes(content[: len(content) // 2])

    return change


def batches(at: Path) -> None:
    """torchvision's folder, of which no file has the published checksum."""
    (at / "cifar-10-batches-py").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (at / "cifar-10-batches-py" / name).write_bytes(pickle.dumps({"data": b"", "labels": []}))


DATA = [
    data("a file cut short", cut("train-0.parquet"), "train-0.parquet", "cannot be read"),
    data("no parquet", written("test-0.parquet", "text"), "test-0.parquet", "cannot be read"),
    data("no training images", lambda at: (at / "train-0.parquet").unlink(), "data'",
         "train-*.parquet"),
    data("label 10", lambda at: images(at, "train", 200, {7: 10}),
         "data'", "one training image of the class '10'", "train, val"),
    data("label -1", lambda at: images(at, "test", 50, {7: -1}), "test-0.parquet", "-1",
         "0 or more"),
    data("an image of text", lambda at: images(at, "test", 50, {9: b"text"}), "row 9", "no image"),
    data("too few of a class", lambda at: images(at, "train", 19), "data'", "the class '9'"),
    data("checksums", batches, "cifar-10-batches-py", "checksum"),
    data("an image of a file in a file", lambda at: (at / "train-0.parquet").unlink()
         or (at / "train-0.parquet").mkdir(), "train-0.parquet", "cannot be read"),
]  # fmt: skip
