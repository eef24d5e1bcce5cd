"""Small image sets in each form, with a cache of their own, and a folder where there is none."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from support.made.image_files import TEST_FILE, TRAIN_FILE, as_png, noise, write_parquet
from torchvision.datasets import CIFAR10

from vgg6.data.sources import CIFAR10_CLASSES


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
        encoded = [as_png(i) for i in noise(count, seed)]
        write_parquet(folder / name, encoded, [i % 10 for i in range(count)])
    return folder


@pytest.fixture
def batches(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``cifar-10-batches-py`` as published, with 20 images a file; only the checksums differ."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    contents: dict[str, dict[str, Any]] = {"batches.meta": {"label_names": list(CIFAR10_CLASSES)}}
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        planes = noise(20, k).transpose(0, 3, 1, 2).reshape(20, 3072)
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
