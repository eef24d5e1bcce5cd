"""Pictures of one's own: every layout is found, every odd picture is handled or refused by name."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vgg6.common.checks import InputError
from vgg6.data import Reading, Source, load_source, split
from vgg6.data.decode import colours_of
from vgg6.data.listing import natural, numbered
from vgg6.data.picture_formats import DEEP, FRAMES, TRANSPARENT, TURNED, NoPicture, decode
from vgg6.data.published import CIFAR10_CLASSES
from vgg6.data.remarks import remarks, repeated
from vgg6.data.splits import stratified
from vgg6.task import Task

CLASSES = ("bee", "cat", "dog")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "tune_vgg6"


def noise(count: int, seed: int = 0, side: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def encoded(image: np.ndarray[Any, Any] | Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, kind, **how)
    return file.getvalue()


def write_pictures(folder: Path, counts: dict[str, int], seed: int = 0, kind: str = "png") -> None:
    """Pictures of a class each, with names that count within the class."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(noise(count, seed + len(name), 12)):
            Image.fromarray(image).save(folder / name / f"{i}.{kind}")
        seed += 1


def write_table(file: Path, images: list[bytes], columns: dict[str, list[Any]], **how: Any) -> None:
    """A parquet file; ``how``: the name of the column of the images, ``plain`` bytes in it, and the
    names of the ``classes``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    name = how.get("image", "image")
    cells: Any = images if how.get("plain") else [{"bytes": b, "path": None} for b in images]
    table = pa.table({name: cells, **columns})
    if "classes" in how:
        features = {"label": {"names": how["classes"], "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    pq.write_table(table, file)


# Layouts


def test_a_folder_of_classes_alone_holds_a_tenth_out_for_the_test(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pets", {"cat": 30, "dog": 20, "bee": 10})
    source = load_source(str(tmp_path / "pets"))
    assert (source.name, source.classes, source.held_out) == ("pets", CLASSES, True)
    assert (len(source.train), len(source.test), source.val) == (54, 6, None)
    assert np.bincount(source.test.labels).tolist() == [1, 3, 2]
    assert source.train.images.shape[1:] == (32, 32, 3)
    data = split(source)
    assert data.task == Task(3, 32) and (len(data.train), len(data.val)) == (49, 5)
    rows = [{i.tobytes() for i in part.images} for part in (data.train, data.val, source.test)]
    assert sum(map(len, rows)) == 60 == len(set().union(*rows))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_parts_that_are_given_are_used_as_they_are(tmp_path: Path, name: str) -> None:
    for seed, (part, count) in enumerate({"train": 8, name: 3, "test": 2}.items()):
        write_pictures(tmp_path / part, dict.fromkeys(CLASSES, count), 100 * seed)
    source = load_source(str(tmp_path))
    assert source.val is not None and not source.held_out
    assert (len(source.train), len(source.val), len(source.test)) == (24, 9, 6)
    data, other = split(source), split(source, split_seed=1)
    assert (len(data.train), len(data.val)) == (24, 9)
    assert data.fingerprint == other.fingerprint, "nothing is left to draw"


@pytest.mark.parametrize("kind", ["jpg", "webp", "bmp", "gif", "PNG"])
def test_pictures_of_each_format_are_found_at_any_depth(tmp_path: Path, kind: str) -> None:
    write_pictures(tmp_path / "unpacked" / "set", {"a b": 5, "c'd": 5}, kind=kind)
    (tmp_path / "unpacked" / "set" / "a b" / "notes.txt").write_text("seen")
    deep = tmp_path / "unpacked" / "set" / "c'd" / "more"
    deep.mkdir()
    Image.fromarray(noise(1, 9)[0]).save(deep / f"9.{kind}")
    source = load_source(str(tmp_path))
    assert source.classes == ("a b", "c'd") and len(source.train) + len(source.test) == 11
    assert any("notes.txt" in line for line in source.remarks)


def test_pictures_in_the_order_of_their_numbers_give_the_scores_of_the_table(
    tmp_path: Path,
) -> None:
    """CIFAR-10 as a table, and its rows written out into a folder a class: the same images in the
    same order, split the same, with the same mean, classes and mirroring."""
    for part, count, seed in (("train", 300, 1), ("test", 40, 2)):
        images = noise(count, seed)
        labels = np.random.default_rng(seed).permutation(np.arange(count) % 10)
        table = tmp_path / "table" / f"{part}-00000-of-00001.parquet"
        write_table(table, [encoded(i, "JPEG") for i in images], {"label": labels.tolist()},
                    image="img")  # fmt: skip
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            # What JPEG makes of the pixels is what the table holds.
            with Image.open(io.BytesIO(encoded(image, "JPEG"))) as lossy:
                file = tmp_path / "folders" / part / CIFAR10_CLASSES[label] / f"{i:05d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                lossy.save(file)
    table, folders = (load_source(str(tmp_path / name)) for name in ("table", "folders"))
    for name in ("name", "classes", "mean", "std", "flip"):
        assert getattr(table, name) == getattr(folders, name)
    assert table.name == "cifar10"
    for first, second in ((table.train, folders.train), (table.test, folders.test)):
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.labels, second.labels)
    assert split(table).fingerprint == split(folders).fingerprint


def test_names_are_sorted_by_their_numbers() -> None:
    names = ["10", "9", "img_2", "img_11", "x"]
    assert sorted(names, key=numbered) == ["x", "img_2", "9", "10", "img_11"]
    assert sorted(["10", "9", "b", "B2", "b10"], key=natural) == ["9", "10", "b", "B2", "b10"]


@pytest.mark.parametrize(
    "place",
    ["train-00000-of-00001.parquet", "data/train-0.parquet", "plain_text/train-0-of-1.parquet",
     "default/train/0000.parquet"],
)  # fmt: skip
def test_tables_of_the_hub_are_found_with_the_names_of_their_classes(
    tmp_path: Path, place: str
) -> None:
    images = [encoded(i) for i in noise(30, side=9)]
    labels = [i % 3 for i in range(30)]
    write_table(tmp_path / place, images, {"label": labels}, classes=list(CLASSES))
    source = load_source(str(tmp_path))
    assert source.classes == CLASSES and (len(source.train), len(source.test)) == (27, 3)


def test_any_column_of_bytes_and_any_named_column_of_labels(tmp_path: Path) -> None:
    images = [encoded(i) for i in noise(30)]
    columns = {
        "kind": [CLASSES[i % 3] for i in range(30)],
        "year": [2000 + i % 2 for i in range(30)],
    }
    write_table(tmp_path / "train.parquet", images, columns, image="photo", plain=True)
    with pytest.raises(InputError, match="no column label or fine_label: `label_column`.*kind, y"):
        load_source(str(tmp_path))
    with pytest.raises(InputError, match="label_column: 'kin' .* did you mean 'kind'"):
        load_source(str(tmp_path), Reading(label_column="kin"))
    assert load_source(str(tmp_path), Reading(label_column="kind")).classes == CLASSES
    assert load_source(str(tmp_path), Reading(label_column="year")).classes == ("2000", "2001")


@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels")]
)
def test_arrays_are_read_grey_or_in_colour(tmp_path: Path, names: tuple[str, str]) -> None:
    grey = noise(40, side=28)[..., 0]
    labels = (np.arange(40) % 4).reshape(-1, 1)
    np.savez(tmp_path / "set.npz", **dict(zip(names, (grey, labels), strict=True)))
    for given in (tmp_path / "set.npz", tmp_path):
        source = load_source(str(given), Reading(image_size=16))
        assert source.classes == ("0", "1", "2", "3") and not source.flip
        assert source.train.images.shape == (36, 16, 16, 3)
        assert (source.train.images[..., 0] == source.train.images[..., 2]).all()


def test_names_of_classes_in_an_archive_are_text_or_refused(tmp_path: Path) -> None:
    file, arrays = tmp_path / "set.npz", {"images": noise(30), "labels": np.arange(30) % 3}
    np.savez(file, **arrays, classes=np.array(CLASSES).astype("S"))
    assert load_source(str(file)).classes == CLASSES
    np.savez(file, **arrays, classes=np.array(3))
    with pytest.raises(InputError, match=r"class names of shape \(\): a list of names"):
        load_source(str(file))
    np.savez(file, **arrays, classes=np.array(CLASSES[:2]))
    with pytest.raises(InputError, match="names 2 classes, and has the label 2"):
        load_source(str(file))


def test_a_class_may_be_named_by_digits_that_are_no_number(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", {"10\u00b2": 10, "9": 10, "\u00b2": 10})
    assert set(load_source(str(tmp_path / "set")).classes) == {"9", "10\u00b2", "\u00b2"}


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="file names are no UTF-8 here")
def test_a_class_whose_name_is_no_text_is_refused_before_anything_trains(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", {"cat": 10, "dog": 10})
    odd = os.fsencode(tmp_path / "set") + b"/caf\xe9"
    os.rename(tmp_path / "set" / "dog", odd)
    with pytest.raises(InputError, match="caf.* has bytes that are no characters in utf-8"):
        load_source(str(tmp_path / "set"))


def test_a_single_file_of_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training images|is not one of"):
        load_source(str(tmp_path / "missing"))


# Odd pictures


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    return encoded(pixels, "JPEG", exif=exif, quality=95)


def test_a_turned_photograph_is_put_upright() -> None:
    picture = decode(_rotated(), 32)
    assert picture.handled == (TURNED,)
    assert picture.pixels[:12].mean() > 240 and picture.pixels[20:].mean() < 15


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_an_orientation_that_turns_nothing_is_not_counted(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encoded(noise(1)[0], "JPEG", exif=exif), 32).handled == ()


def test_a_picture_is_read_though_what_its_camera_wrote_is_damaged() -> None:
    picture = decode(encoded(noise(1)[0], exif=b"garbage!"), 32)
    assert picture.handled == () and (picture.pixels == noise(1)[0]).all()


def test_a_transparent_picture_is_put_on_white() -> None:
    clear = np.zeros((32, 32, 4), np.uint8)
    clear[:16, :, 3] = 255
    picture = decode(encoded(clear), 32)
    assert picture.handled == (TRANSPARENT,)
    assert not picture.pixels[:16].any() and (picture.pixels[16:] == 255).all()
    clear[..., 3] = 255
    assert decode(encoded(clear), 32).handled == ()


def test_sixteen_bits_keep_the_brightness() -> None:
    deep = np.full((32, 32), 257 * 100, np.uint16)
    picture = decode(encoded(Image.fromarray(deep)), 32)
    assert picture.handled == (DEEP,) and (picture.pixels == 100).all()


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = decode(file, 32)
    assert picture.handled == (FRAMES,) and picture.pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr"])
def test_every_usual_mode_is_made_rgb(mode: str) -> None:
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    picture = decode(encoded(Image.new("RGB", (20, 30), "white").convert(mode), kind), 8)
    assert picture.pixels.shape == (8, 8, 3) and picture.pixels.min() >= 254


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_meaning_as_colours_are_refused(mode: str) -> None:
    with pytest.raises(NoPicture, match=f"its mode {mode}"):
        decode(encoded(Image.new(mode, (4, 4)), "TIFF"), 8)


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "text": lambda whole: b"<html>not found</html>",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_picture_is_named_and_left_out_where_that_is_asked_for(
    tmp_path: Path, damage: str, cache: Path
) -> None:
    write_pictures(tmp_path / "set", {"cat": 10, "dog": 10})
    file = tmp_path / "set" / "cat" / "7.png"
    file.write_bytes(DAMAGED[damage](file.read_bytes()))
    with pytest.raises(InputError, match="cat/7.png. holds no image: .*`skip_damaged` leaves"):
        load_source(str(tmp_path / "set"))
    assert not list(cache.rglob("*.npy")), "no part of it is kept"
    source = load_source(str(tmp_path / "set"), Reading(skip_damaged=True))
    assert len(source.train) + len(source.test) == 19
    assert "damaged pictures left out: 1 (7.png)" in source.remarks


# What cannot be trained on


def _one_class(folder: Path) -> None:
    write_pictures(folder, {"cat": 20})


def _too_few(folder: Path) -> None:
    write_pictures(folder, {"cat": 20, "dog": 2})


def _foreign(folder: Path) -> None:
    write_pictures(folder / "train", {"cat": 5, "dog": 5})
    write_pictures(folder / "test", {"cat": 5, "owl": 5})


def _loose(folder: Path) -> None:
    write_pictures(folder / "train", {"cat": 5, "dog": 5})
    write_pictures(folder, {"test": 5})


def _several(folder: Path) -> None:
    for name in ("a", "b"):
        write_table(folder / name / "train-0.parquet", [encoded(noise(1)[0])], {"label": [0]})


def _floats(folder: Path) -> None:
    folder.mkdir()
    np.savez(folder / "a.npz", images=np.zeros((9, 8, 8, 3)), labels=np.arange(9))


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "one class": (_one_class, "has one class, 'cat'"),
    "too few": (_too_few, "2 training images of the class 'dog': .* train, val, test"),
    "a class of the test alone": (_foreign, "'owl' is a class of the test part that has no train"),
    "pictures without a class": (_loose, "test/0.png' has no class: pictures of the test part"),
    "several sets": (_several, "holds several data sets: give one of a, b"),
    "floats": (_floats, "has images of float64 .* they must be uint8"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_by_what_is_wrong(tmp_path: Path, what: str) -> None:
    make, message = REFUSED[what]
    make(tmp_path / "set")
    with pytest.raises(InputError, match=message):
        load_source(str(tmp_path / "set"))


@pytest.mark.parametrize("size", [0, 7, 33, 136, True, "32"])
def test_a_size_that_no_network_takes_is_refused(size: Any) -> None:
    with pytest.raises(InputError, match="image_size"):
        Reading(image_size=size)


def test_a_set_beyond_memory_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "set", {"cat": 20, "dog": 20})
    source = load_source(str(tmp_path / "set"))
    monkeypatch.setattr("vgg6.data.splits.available_memory", lambda: 1e5)
    with pytest.raises(InputError, match="36 images of 32x32 .* `image_size` .* `limit_train`"):
        split(source)


# What is said


def test_what_is_odd_is_said_in_a_line_each(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", {"cat": 60, "dog": 5})
    write_pictures(tmp_path / "test", {"cat": 3, "dog": 3}, seed=50)
    copy = tmp_path / "train" / "cat" / "3.png"
    (tmp_path / "test" / "cat" / "copy 99.png").write_bytes(copy.read_bytes())
    source = load_source(str(tmp_path))
    first, *others = remarks(source, split(source))
    assert "a folder for each class in train/, test/; 2 classes, 65 images and 7 to test" in first
    text = "\n".join(others)
    assert "mirrored at random" in text and "uneven classes" in text
    assert "few training images: dog (4)" in text
    assert "among the training images too: 1 test image of 7" in text


def _source(classes: tuple[str, ...], tmp_path: Path) -> Source:
    write_pictures(tmp_path / "set", dict.fromkeys(classes, 5))
    return load_source(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("classes", "flip"),
    [(("0", "1", "7"), False), (("a", "B"), False), (("turn-left", "turn-right"), False),
     (("cat", "dog"), True)],
)  # fmt: skip
def test_writing_and_directions_are_not_mirrored(
    tmp_path: Path, classes: tuple[str, ...], flip: bool
) -> None:
    source = _source(classes, tmp_path)
    assert source.flip is split(source).flip is flip


def test_repeated_images_are_counted_to_the_byte() -> None:
    from vgg6.data import LabelledImages

    images = noise(50, side=8)
    part = LabelledImages(np.concatenate([images[:3], noise(5, 1, 8)]), np.zeros(8, np.int64))
    assert repeated(part, LabelledImages(images, np.zeros(50, np.int64))) == 3
    part.images[0, 0, 0, 0] ^= 1
    assert repeated(part, LabelledImages(images, np.zeros(50, np.int64))) == 2


def test_every_class_of_two_images_is_on_both_sides_of_a_split() -> None:
    labels = np.repeat(np.arange(5), [200, 50, 2, 3, 2])
    first, rest = stratified(labels, 25, np.random.default_rng(0))
    assert set(labels[first]) == set(labels[rest]) == set(range(5))
    assert len(first) == 25 and sorted([*first, *rest]) == list(range(257))


def test_mean_and_spread_are_those_of_all_pixels() -> None:
    images = noise(7)
    mean, std = colours_of(images)
    expected = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, expected.mean(0), atol=1e-4)
    np.testing.assert_allclose(std, expected.std(0), atol=1e-4)


def test_a_copied_folder_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    write_pictures(tmp_path / "set", {"cat": 10, "dog": 10})
    first = load_source(str(tmp_path / "set"))
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("decoded an image again"))
    second = load_source(str(tmp_path / "copy"))
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert second.name == "copy"
