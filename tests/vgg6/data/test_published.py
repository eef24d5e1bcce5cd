"""Published sets in torchvision's folders: read with its checksums, and known by their names."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import CIFAR100, SVHN

from vgg6.common.checks import InputError
from vgg6.data import Source, load_source

NAMES = [f"kind {i}" for i in range(100)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data/, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    (tmp_path / "work" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work" / "data"


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)


def write_idx(file: Path, array: np.ndarray[Any, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    file.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(raw: Path) -> None:
    for part, count in (("train", 60), ("t10k", 20)):
        write_idx(raw / f"{part}-images-idx3-ubyte", noise(count, 28, 28))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
        for kind in ("images-idx3", "labels-idx1"):  # torchvision looks for these too
            (raw / f"{part}-{kind}-ubyte.gz").write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "folder", "flip"), [("mnist", "MNIST", False), ("fashion_mnist", "FashionMNIST", True)]
)
def test_idx_files_are_read_by_name_or_from_any_of_their_folders(
    here: Path, name: str, folder: str, flip: bool
) -> None:
    write_mnist(here / folder / "raw")
    for given in (name, here, here / folder, here / folder / "raw"):
        source = load_source(str(given))
        assert (source.name, source.flip, source.known) == (name, flip, True)
        assert (len(source.train), len(source.test), len(source.classes)) == (60, 20, 10)
        assert source.train.images.shape[1:] == (32, 32, 3)
        assert source.train.labels.tolist() == [i % 10 for i in range(60)]


def write_cifar100(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = here / "cifar-100-python"
    folder.mkdir()
    contents: dict[str, Any] = {"meta": {"fine_label_names": NAMES}}
    for name, count in (("train", 400), ("test", 100)):
        labels = [i % 100 for i in range(count)]
        contents[name] = {"data": noise(count, 3072), "fine_labels": labels}
    sums = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": sums["meta"]})
    return folder


def test_cifar100_has_its_names_and_its_checksums(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cifar100(here, monkeypatch)
    source: Source = load_source("cifar100")
    assert source.classes == tuple(NAMES) and source.flip
    with (folder / "train").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="cifar-100-python' is damaged: .*checksum"):
        load_source("cifar100")


def test_svhns_ten_is_a_zero(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = {}
    for part, count in (("train", 60), ("test", 20)):
        file, labels = here / f"{part}_32x32.mat", np.arange(count) % 10 + 1
        savemat(file, {"X": noise(32, 32, 3, count), "y": labels.reshape(-1, 1)})
        lists[part] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", {**SVHN.split_list, **lists})
    source = load_source("svhn")
    assert source.name == "svhn" and not source.flip
    assert source.classes == tuple("0123456789")
    assert source.train.labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    np.testing.assert_array_equal(source.train.images[7], noise(32, 32, 3, 60)[..., 7])


def test_a_set_that_cannot_be_downloaded_says_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_network(self: Any) -> None:
        raise OSError("Temporary failure in name resolution")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    with pytest.raises(InputError, match="mnist' is not on .*name resolution.*data/MNIST/raw"):
        load_source("mnist")
