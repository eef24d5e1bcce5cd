"""torchvision's folder of CIFAR-10 is read whole and with the published checksums, or refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made.image_files import noise

from vgg6.common.checks import InputError
from vgg6.data import find_cifar10, load_source


@pytest.mark.parametrize("given", ["the folder", "its parent"])
def test_torchvisions_folder_is_read_from_itself_or_its_parent(batches: Path, given: str) -> None:
    source = load_source(str(batches if given == "the folder" else batches.parent))
    assert (len(source.train), len(source.test)) == (100, 20)
    np.testing.assert_array_equal(source.train.images[20:40], noise(20, 1))
    np.testing.assert_array_equal(source.test.images, noise(20, 5))
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


def test_a_missing_data_folder_beside_torchvisions_is_nothing_found(
    batches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.chdir(batches.parent)
    assert not Path("data").exists()
    assert find_cifar10() is None
