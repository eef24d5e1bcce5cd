"""CIFAR-10 is downloaded once and whole; where it cannot be, nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.made.image_files import files_in
from torchvision.datasets import CIFAR10

from vgg6.common.checks import InputError
from vgg6.data import load_source


def test_no_data_and_no_network_is_one_error_that_names_the_ways_out(nowhere: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_source("cifar10")
    message = str(caught.value)
    for part in ("name resolution", "CIFAR10_DIR", "data/", "network", "`data` to digits"):
        assert part in message
    assert message.count("\n  ") == 3
    # What had arrived is gone; only the lock that keeps two downloads apart may stay.
    assert [f for f in files_in(nowhere) if not f.endswith(".lock")] == []


def test_a_file_with_another_checksum_is_a_failed_download(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(self: CIFAR10) -> None:
        (Path(self.root) / "cifar-10-python.tar.gz").write_bytes(b"altered")
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(CIFAR10, "download", altered)
    with pytest.raises(InputError, match="could not be downloaded [(]File not found or corrupted"):
        load_source("cifar10")
    assert [f for f in files_in(nowhere) if not f.endswith(".lock")] == []


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
    assert {f.split("/")[0] for f in files_in(nowhere / "data")} <= {batches.name, ".download.lock"}
