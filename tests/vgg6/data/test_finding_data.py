"""A name, a folder or ``CIFAR10_DIR`` gives the set that it means, or says what to give instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vgg6.common.checks import InputError
from vgg6.data import find_cifar10, load_source, split


def test_a_misspelt_set_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="data: 'digit' is not .*did you mean 'digits'"):
        load_source("digit")


def test_a_folder_that_does_not_exist_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no/such/folder"):
        load_source(str(tmp_path / "no/such/folder"))


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


def test_auto_takes_cifar10_where_it_is(
    parquet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIFAR10_DIR", str(parquet))
    assert load_source("auto").name == "cifar10"
    assert "DIGITS" not in capsys.readouterr().err


def test_auto_falls_back_to_digits_and_says_so(
    nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_source("auto").name == "digits"
    said = capsys.readouterr()
    assert "DIGITS" in said.err
    assert "not CIFAR-10 scores" in said.err
    assert said.out == ""


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
