"""Parquet files are read row by row, and a damaged one is named with its row, never guessed at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made.image_files import TEST_FILE, TRAIN_FILE, as_png, files_in, noise, write_parquet

from vgg6.common.checks import InputError
from vgg6.data import load_source


def test_the_decoded_images_are_those_in_the_file_row_by_row(parquet: Path) -> None:
    source = load_source(str(parquet))
    np.testing.assert_array_equal(source.train.images, noise(100, 1))
    np.testing.assert_array_equal(source.test.images, noise(20, 2))
    assert source.train.labels.tolist() == [i % 10 for i in range(100)]


def test_several_parquet_files_of_a_part_are_read_in_order(parquet: Path) -> None:
    (parquet / TRAIN_FILE).unlink()
    for k in range(2):
        half = [as_png(i) for i in noise(100, 1)[50 * k : 50 * k + 50]]
        path = parquet / f"train-0000{k}-of-00002.parquet"
        write_parquet(path, half, [i % 10 for i in range(50)])
    np.testing.assert_array_equal(load_source(str(parquet)).train.images, noise(100, 1))


def test_a_repaired_file_is_read_anew(parquet: Path) -> None:
    load_source(str(parquet))
    encoded = [as_png(i) for i in noise(100, 9)]
    write_parquet(parquet / TRAIN_FILE, encoded, [i % 10 for i in range(100)])
    np.testing.assert_array_equal(load_source(str(parquet)).train.images, noise(100, 9))


# Damaged parquet


def _cut_short(folder: Path) -> None:
    whole = (folder / TRAIN_FILE).read_bytes()
    (folder / TRAIN_FILE).write_bytes(whole[: len(whole) // 2])


def _rewrite(folder: Path, name: str = TRAIN_FILE, **changes: Any) -> None:
    count = 100 if name == TRAIN_FILE else 20
    images: list[Any] = [as_png(i) for i in noise(count)]
    labels: list[Any] = [i % 10 for i in range(count)]
    for row, image in changes.pop("rows", {}).items():
        images[row] = image
    for row, label in changes.pop("cells", {}).items():
        labels[row] = label
    keep = slice(changes.pop("keep", count))
    write_parquet(folder / name, images[keep], labels[keep], **changes)


def _damaged_png(place: bytes, by: int, value: int) -> bytes:
    png = bytearray(as_png(noise(1)[0]))
    png[png.index(place) + by] = value
    return bytes(png)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (_cut_short, f"{TRAIN_FILE}. cannot be read as parquet"),
    "empty file": (lambda f: (f / TEST_FILE).write_bytes(b"") and None, TEST_FILE),
    "other column": (
        lambda f: _rewrite(f, TEST_FILE, image="image"),
        f"{TEST_FILE}. has no column img",
    ),
    "no label column": (
        lambda f: _rewrite(f, label="class"),
        f"{TRAIN_FILE}. has no column label or fine_label",
    ),
    "label 10": (lambda f: _rewrite(f, cells={3: 10}), "one training image of the class '10'"),
    "label -1": (lambda f: _rewrite(f, TEST_FILE, cells={3: -1}), f"{TEST_FILE}. has the label -1"),
    "no label": (lambda f: _rewrite(f, cells={3: None}), f"{TRAIN_FILE}. has no label in row 3"),
    "image is text": (lambda f: _rewrite(f, rows={17: b"text"}), f"{TRAIN_FILE}. row 17 holds no"),
    "image is null": (lambda f: _rewrite(f, rows={17: None}), f"{TRAIN_FILE}. row 17 holds no"),
    "image cut short": (
        lambda f: _rewrite(f, rows={5: as_png(noise(1)[0])[:300]}),
        f"{TRAIN_FILE}. row 5 holds no image",
    ),
    "image header too short": (
        lambda f: _rewrite(f, rows={6: _damaged_png(b"IHDR", -1, 5)}),
        f"{TRAIN_FILE}. row 6 holds no image",
    ),
    "image data too short": (
        lambda f: _rewrite(f, rows={6: _damaged_png(b"IDAT", -2, 2)}),
        f"{TRAIN_FILE}. row 6 holds no image",
    ),
    "too few images": (
        lambda f: _rewrite(f, keep=19),
        "small set, it's here.* has one training image of the class '9': .* for train, val",
    ),
    "no test images": (lambda f: _rewrite(f, TEST_FILE, keep=0), "test"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_parquet_is_an_input_error_that_names_file_and_row(
    parquet: Path, cache: Path, damage: str
) -> None:
    change, message = DAMAGE[damage]
    change(parquet)
    with pytest.raises(InputError, match=message):
        load_source(str(parquet))
    assert [f for f in files_in(cache) if not f.endswith(".lock")] == []  # no part of it is kept
