"""Loading, splitting and caching of real files; every damaged one is named, none is guessed at."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from vgg6.common.checks import InputError
from vgg6.data import LabelledImages, Source, find_cifar10, load_source, split
from vgg6.data.sources import CIFAR10_CLASSES

TRAIN_FILE, TEST_FILE = "train-00000-of-00001.parquet", "test-00000-of-00001.parquet"


def _images(count: int, seed: int = 0, side: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def _png(image: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _write_parquet(
    path: Path, images: list[Any], labels: list[Any], image: str = "img", label: str = "label"
) -> None:
    structs = [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {image: pa.array(structs, kind), label: pa.array(labels, pa.int64())}
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty decoded cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tune_vgg6"


@pytest.fixture
def parquet(tmp_path: Path, cache: Path) -> Path:
    """A folder with 100 training and 20 test images, ten and two a class."""
    folder = tmp_path / "small set, it's here"
    folder.mkdir()
    for name, count, seed in ((TRAIN_FILE, 100, 1), (TEST_FILE, 20, 2)):
        encoded = [_png(i) for i in _images(count, seed)]
        _write_parquet(folder / name, encoded, [i % 10 for i in range(count)])
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without any data, and a network that is down."""

    def no_network(self: CIFAR10) -> None:
        (Path(self.root) / "half of it.tar.gz").write_bytes(b"half")
        raise URLError("Temporary failure in name resolution")

    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setattr(CIFAR10, "download", no_network)
    return folder


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# The real sets


def test_the_real_images_are_45000_5000_and_10000_balanced(cifar10_source: Source) -> None:
    data = split(cifar10_source)
    for part, count in ((data.train, 45_000), (data.val, 5_000), (cifar10_source.test, 10_000)):
        assert part.images.shape == (count, 32, 32, 3)
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int64
        assert np.bincount(part.labels).tolist() == [count // 10] * 10
    assert cifar10_source.classes == CIFAR10_CLASSES
    assert cifar10_source.flip


def test_the_decoded_images_are_those_in_the_file_row_by_row(parquet: Path) -> None:
    source = load_source(str(parquet))
    np.testing.assert_array_equal(source.train.images, _images(100, 1))
    np.testing.assert_array_equal(source.test.images, _images(20, 2))
    assert source.train.labels.tolist() == [i % 10 for i in range(100)]


def test_several_parquet_files_of_a_part_are_read_in_order(parquet: Path) -> None:
    (parquet / TRAIN_FILE).unlink()
    for k in range(2):
        half = [_png(i) for i in _images(100, 1)[50 * k : 50 * k + 50]]
        path = parquet / f"train-0000{k}-of-00002.parquet"
        _write_parquet(path, half, [i % 10 for i in range(50)])
    np.testing.assert_array_equal(load_source(str(parquet)).train.images, _images(100, 1))


def test_digits_are_the_bundled_ones_made_32_by_32_and_never_flipped() -> None:
    source = load_source("digits")
    assert (len(source.train), len(source.test)) == (1438, 359)
    assert source.train.images.shape[1:] == (32, 32, 3)
    assert source.train.images.dtype == np.uint8
    assert source.train.images.max() == 255
    assert not source.flip
    assert not split(source).flip
    assert source.name == "digits"
    data = split(source)
    assert (len(data.train), len(data.val)) == (1295, 143)
    assert np.ptp(np.bincount(data.val.labels, minlength=10)) <= 2


# The split


def _rows(part: LabelledImages) -> set[bytes]:
    return {i.tobytes() for i in part.images}


def _numbered(count: int) -> Source:
    """Images that carry their own row number, unevenly spread over the classes."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[:, 0, 0, :] = np.array([[i // 65536, i // 256 % 256, i % 256] for i in range(count)])
    labels = np.sort(np.random.default_rng(0).choice(10, count, p=[0.19] + [0.09] * 9))
    whole = LabelledImages(images, labels.astype(np.int64))
    third = (0.5, 0.5, 0.5)
    return Source("numbered", "here", whole, whole.take(np.arange(10)), (), third, third, True)


def test_the_split_covers_the_training_images_and_shares_none() -> None:
    source = _numbered(3000)
    data = split(source)
    train, val = _rows(data.train), _rows(data.val)
    assert not train & val
    assert train | val == _rows(source.train)
    assert (len(train), len(val)) == (2700, 300)
    shares = np.bincount(data.val.labels) / np.bincount(source.train.labels)
    assert np.abs(shares - 0.1).max() < 0.01


def test_the_label_stays_with_its_image() -> None:
    source = _numbered(3000)
    of = {
        i.tobytes(): int(n) for i, n in zip(source.train.images, source.train.labels, strict=True)
    }
    for part in (split(source).train, split(source, limit_train=300).val):
        for image, label in zip(part.images, part.labels, strict=True):
            assert of[image.tobytes()] == label


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    source = _numbered(3000)
    first, same, other = split(source), split(source), split(source, split_seed=1)
    assert first.fingerprint == same.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.train.images, same.train.images)
    assert 0 < len(_rows(first.val) & _rows(other.val)) < 100  # of 300: by chance 30


@pytest.mark.parametrize("limit", [100, 1000, 2000, 2699, 2700, 5000])
def test_a_limit_takes_subsets_and_never_moves_an_image_to_the_other_side(limit: int) -> None:
    source = _numbered(3000)
    full, part = split(source), split(source, limit_train=limit)
    assert _rows(part.train) <= _rows(full.train)
    assert _rows(part.val) <= _rows(full.val)
    assert len(part.train) == min(limit, 2700)
    assert len(part.val) == (300 if limit >= 2700 else min(300, max(100, limit // 9)))
    assert set(part.val.labels) == set(range(10))


def test_the_fingerprint_sees_one_changed_pixel_and_one_changed_label() -> None:
    prints = {split(_numbered(300)).fingerprint}
    pixel, label = _numbered(300), _numbered(300)
    pixel.train.images[7, 31, 31, 0] ^= 1
    label.train.labels[7] = 9
    prints |= {split(source).fingerprint for source in (pixel, label)}
    assert len(prints) == 3


# torchvision's folder


@pytest.fixture
def batches(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``cifar-10-batches-py`` as published, with 20 images a file; only the checksums differ."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    contents: dict[str, dict[str, Any]] = {"batches.meta": {"label_names": list(CIFAR10_CLASSES)}}
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        planes = _images(20, k).transpose(0, 3, 1, 2).reshape(20, 3072)
        contents[name] = {"data": planes, "labels": [i % 10 for i in range(20)]}
    checksums = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
        checksums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    for table in ("train_list", "test_list"):
        known = [[name, checksums[name]] for name, _ in getattr(CIFAR10, table)]
        monkeypatch.setattr(CIFAR10, table, known)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": checksums["batches.meta"]})
    return folder


@pytest.mark.parametrize("given", ["the folder", "its parent"])
def test_torchvisions_folder_is_read_from_itself_or_its_parent(batches: Path, given: str) -> None:
    source = load_source(str(batches if given == "the folder" else batches.parent))
    assert (len(source.train), len(source.test)) == (100, 20)
    np.testing.assert_array_equal(source.train.images[20:40], _images(20, 1))
    np.testing.assert_array_equal(source.test.images, _images(20, 5))
    assert source.test.labels.tolist() == [i % 10 for i in range(20)]


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_one_changed_byte_fails_the_checksum_and_nothing_is_unpickled(
    batches: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((batches / name).read_bytes())
    content[len(content) // 2] ^= 1
    (batches / name).write_bytes(content)
    unpickle = pickle.load

    def watched(file: Any, **options: Any) -> Any:
        assert Path(file.name).name != name, "unpickled the damaged file"
        return unpickle(file, **options)

    monkeypatch.setattr(pickle, "load", watched)
    with pytest.raises(InputError, match="cifar-10-batches-py' is damaged: .*checksum"):
        load_source(str(batches))


def test_a_missing_batch_is_an_input_error(batches: Path) -> None:
    (batches / "data_batch_4").unlink()
    with pytest.raises(InputError, match="is damaged: a file is missing"):
        load_source(str(batches))


def test_a_folder_beside_torchvisions_is_not_taken_for_it(batches: Path) -> None:
    beside = batches.parent / "other"
    with pytest.raises(InputError):
        load_source(str(beside))
    beside.mkdir()
    with pytest.raises(InputError, match="holds neither cifar-10-batches-py/"):
        load_source(str(beside))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("mine.npz", "cannot be read as a NumPy archive of images and labels"),
        ("cifar-10-python.tar.gz", "is packed: unpack it, and give the folder"),
        ("cifar10.zip", "is packed"),
        ("train-0.parquet", "is one file of a data set: give the folder"),
        ("images.bin", "is a file: give a folder"),
    ],
)
def test_a_file_is_refused_with_what_to_give_instead(tmp_path: Path, name: str, rule: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=rule):
        load_source(str(tmp_path / name))


def test_an_archive_in_the_folder_is_said_to_be_unpacked_first(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (nowhere / "data").mkdir()
    for name in ("a.zip", "cifar-10-python.tar.gz"):
        (nowhere / "data" / name).write_bytes(b"x")
    with pytest.raises(InputError, match="Unpack cifar-10-python.tar.gz there first"):
        load_source("data")
    with pytest.raises(InputError, match=r"data/cifar-10-python.tar.gz is there: unpack it"):
        load_source("cifar10")
    assert load_source("auto").name == "digits"
    assert "data/cifar-10-python.tar.gz is there: unpack it" in capsys.readouterr().err
    monkeypatch.setenv("CIFAR10_DIR", str(nowhere / "data"))
    with pytest.raises(InputError, match="Unpack cifar-10-python.tar.gz there first"):
        load_source("cifar10")


# Damaged parquet


def _cut_short(folder: Path) -> None:
    whole = (folder / TRAIN_FILE).read_bytes()
    (folder / TRAIN_FILE).write_bytes(whole[: len(whole) // 2])


def _rewrite(folder: Path, name: str = TRAIN_FILE, **changes: Any) -> None:
    count = 100 if name == TRAIN_FILE else 20
    images: list[Any] = [_png(i) for i in _images(count)]
    labels: list[Any] = [i % 10 for i in range(count)]
    for row, image in changes.pop("rows", {}).items():
        images[row] = image
    for row, label in changes.pop("cells", {}).items():
        labels[row] = label
    keep = slice(changes.pop("keep", count))
    _write_parquet(folder / name, images[keep], labels[keep], **changes)


def _damaged_png(place: bytes, by: int, value: int) -> bytes:
    png = bytearray(_png(_images(1)[0]))
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
        lambda f: _rewrite(f, rows={5: _png(_images(1)[0])[:300]}),
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
    assert [f for f in _files(cache) if not f.endswith(".lock")] == []  # no part of it is kept


def test_a_repaired_file_is_read_anew(parquet: Path) -> None:
    load_source(str(parquet))
    encoded = [_png(i) for i in _images(100, 9)]
    _write_parquet(parquet / TRAIN_FILE, encoded, [i % 10 for i in range(100)])
    np.testing.assert_array_equal(load_source(str(parquet)).train.images, _images(100, 9))


# Finding it


@pytest.mark.parametrize("count", [0, -5])
def test_no_images_to_train_on_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"limit_train: {count}"):
        split(_numbered(3000), limit_train=count)


def test_a_misspelt_set_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="data: 'digit' is not .*did you mean 'digits'"):
        load_source("digit")


def test_a_folder_that_does_not_exist_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no/such/folder"):
        load_source(str(tmp_path / "no/such/folder"))


@pytest.mark.parametrize("folder", ["empty", "missing"])
@pytest.mark.parametrize("data", ["cifar10", "auto"])
def test_cifar10_dir_without_a_set_is_refused_and_not_passed_over(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, folder: str, data: str
) -> None:
    (nowhere / "empty").mkdir()
    monkeypatch.setenv("CIFAR10_DIR", folder)
    with pytest.raises(InputError, match=f"CIFAR10_DIR: '{folder}. holds neither"):
        load_source(data)


def test_cifar10_dir_comes_before_the_data_folder(
    parquet: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "data").symlink_to(parquet)
    assert find_cifar10() == Path("data")
    monkeypatch.setenv("CIFAR10_DIR", str(parquet))
    assert find_cifar10() == parquet
    assert len(load_source("cifar10").train) == 100


def test_a_missing_data_folder_beside_torchvisions_is_nothing_found(
    batches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.chdir(batches.parent)
    assert not Path("data").exists()
    assert find_cifar10() is None


def test_no_data_and_no_network_is_one_error_that_names_the_ways_out(nowhere: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_source("cifar10")
    message = str(caught.value)
    for part in ("name resolution", "CIFAR10_DIR", "data/", "network", "`data` to digits"):
        assert part in message
    assert message.count("\n  ") == 3
    # What had arrived is gone; only the lock that keeps two downloads apart may stay.
    assert [f for f in _files(nowhere) if not f.endswith(".lock")] == []


def test_a_file_with_another_checksum_is_a_failed_download(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(self: CIFAR10) -> None:
        (Path(self.root) / "cifar-10-python.tar.gz").write_bytes(b"altered")
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(CIFAR10, "download", altered)
    with pytest.raises(InputError, match="could not be downloaded [(]File not found or corrupted"):
        load_source("cifar10")
    assert [f for f in _files(nowhere) if not f.endswith(".lock")] == []


def test_who_only_looks_downloads_nothing(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "download", lambda self: pytest.fail("it asked the network"))
    with pytest.raises(InputError, match="'cifar10' is not on this disk"):
        load_source("cifar10", fetch=False)
    assert load_source("auto", fetch=False).name == "digits"


def test_a_finished_download_is_kept_and_not_repeated(
    batches: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = []

    def arrives(self: CIFAR10) -> None:
        downloads.append(self.root)
        (Path(self.root) / "cifar-10-python.tar.gz").write_bytes(b"the archive")
        batches.rename(Path(self.root) / batches.name)

    monkeypatch.setattr(CIFAR10, "download", arrives)
    for _ in range(2):
        assert len(load_source("cifar10").train) == 100
    assert len(downloads) == 1
    assert {f.split("/")[0] for f in _files(nowhere / "data")} <= {batches.name, ".download.lock"}


def test_auto_falls_back_to_digits_and_says_so(
    nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_source("auto").name == "digits"
    said = capsys.readouterr()
    assert "DIGITS" in said.err
    assert "not CIFAR-10 scores" in said.err
    assert said.out == ""


def test_auto_takes_cifar10_where_it_is(
    parquet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(parquet))
    assert load_source("auto").name == "cifar10"
    assert "DIGITS" not in capsys.readouterr().err


# The decoded cache


def _is_mapped(array: Any) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def test_a_second_load_is_a_memory_map_and_decodes_nothing(
    parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_source(str(parquet))
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("decoded an image again"))
    second = load_source(str(parquet))
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert _is_mapped(second.train.images)
    assert not second.train.images.flags.writeable


READER = """
import hashlib, sys
import pyarrow.parquet, PIL.Image
from vgg6.data import load_source
print("ready", flush=True)
sys.stdin.readline()
source = load_source(sys.argv[1])
digest = hashlib.sha256()
for part in (source.train, source.test):
    digest.update(part.images.tobytes() + part.labels.tobytes())
print(digest.hexdigest())
"""


def test_four_first_readers_at_once_agree_and_leave_one_finished_set(
    parquet: Path, cache: Path, python_path: None
) -> None:
    _write_parquet(
        parquet / TRAIN_FILE, [_png(i) for i in _images(2000)], [i % 10 for i in range(2000)]
    )
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(parquet)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for reader in readers:
        assert reader.stdout and reader.stdout.readline() == "ready\n"
    for reader in readers:
        assert reader.stdin
        reader.stdin.write("go\n")
        reader.stdin.flush()
    answers = [reader.communicate(timeout=120)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    assert len(set(answers)) == 1
    assert len(answers[0].strip()) == 64

    left = [p for p in cache.iterdir() if p.suffix not in (".lock", ".known")]
    assert len(left) == 1
    names = [f"{part}_{kind}.npy" for part in ("test", "train") for kind in ("images", "labels")]
    assert _files(left[0]) == ["about.json", *names]


@pytest.mark.parametrize("name", ["train_images.npy", "test_labels.npy"])
@pytest.mark.parametrize("damage", ["empty", "header cut", "data cut", "missing"])
def test_a_damaged_cache_is_made_again(
    parquet: Path, cache: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = np.array(load_source(str(parquet)).train.images)
    (file,) = cache.rglob(name)
    content = file.read_bytes()
    keep = {"empty": 0, "header cut": 40, "data cut": len(content) - 10, "missing": 0}[damage]
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:keep])
    again = load_source(str(parquet))
    assert re.search("was damaged .* made again", capsys.readouterr().err)
    np.testing.assert_array_equal(again.train.images, whole)
    assert file.read_bytes() == content


def test_images_are_read_where_the_cache_is_full(
    parquet: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, before[1]))  # no file may be larger
    try:
        found = load_source(str(parquet))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "is full" in capsys.readouterr().err
    assert [f for f in _files(cache) if not f.endswith(".lock")] == []
    np.testing.assert_array_equal(found.train.images, load_source(str(parquet)).train.images)


def test_a_reader_killed_while_decoding_leaves_nothing_that_the_next_would_take(
    parquet: Path, cache: Path, python_path: None
) -> None:
    killed = """
import os, signal, sys
import numpy as np
from vgg6.data import load_source
save = np.save
def save_then_die(path, array):
    save(path, array)
    os.kill(os.getpid(), signal.SIGKILL)
np.save = save_then_die
load_source(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", killed, str(parquet)], timeout=120)
    assert done.returncode == -9
    np.testing.assert_array_equal(load_source(str(parquet)).test.images, _images(20, 2))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who is not root")
def test_a_home_that_cannot_be_written_is_a_clear_error(
    parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(locked))
    with pytest.raises((InputError, OSError), match="locked"):
        load_source(str(parquet))
