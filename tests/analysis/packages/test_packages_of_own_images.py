"""A package of one's own pictures: three classes of 16x16 pixels, from the folder to model.onnx."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from analysis.packages.compress import compress
from analysis.packages.compression_plan import Plan
from analysis.packages.evaluate import evaluate, render
from analysis.packages.package import read_package
from analysis.packages.train import train_and_save
from analysis.suggested_commands import train_command
from analysis.verification.verdict import AS_RECORDED, BIT_IDENTICAL
from analysis.verification.verify import verify
from vgg6.architecture import count_parameters
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import Reading, data_facts, load_source, split
from vgg6.task import Task

CLASSES = ("bee", "cat", "dog")
READING = Reading(image_size=16)


def write_pictures(folder: Path, counts: dict[str, int], side: int = 20) -> None:
    """Pictures in a colour of their class, so that a network learns them at once."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        draw = np.random.default_rng(CLASSES.index(name) if name in CLASSES else 9)
        for i in range(count):
            pixels = draw.integers(0, 80, (side, side, 3), dtype=np.uint8)
            pixels[..., CLASSES.index(name) if name in CLASSES else 0] += 150
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        write_pictures(folder / "pets", dict.fromkeys(CLASSES, 20))
        source = load_source(str(folder / "pets"), READING)
        data = split(source)
        cut: dict[str, Any] = {"split_seed": 42, "limit_train": None}
        train_and_save(
            TrialConfig(epochs=2, flip="none", batch_size=8, width=0.25), data,
            out=folder / "packed",
            data_facts=data_facts(str(folder / "pets"), source, data, how=READING, **cut),
            device="cpu", precision="fp32", kernels="torch", threads=1, stop_after=None,
        )  # fmt: skip
        yield folder / "packed"


def test_the_network_the_card_and_the_files_follow_the_images(package: Path) -> None:
    found = read_package(package)
    assert found.data.task == Task(3, 16) and found.data.classes == CLASSES
    assert found.config.flip == "none" and found.data.mirrored is True
    card = (package / "README.md").read_text()
    assert "sorts 16x16 colour images into 3 classes" in card
    assert f"{count_parameters(found.config, task=Task(3, 16)):,} parameters" in card
    model = onnx.load(package / "model.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["classes"]) == list(CLASSES)
    loader = runpy.run_path(str(package / "load_model.py"))
    import torch

    pixels = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert set(loader["classify"](pixels)) <= set(CLASSES)
    with pytest.raises(ValueError, match="(N, 3, 16, 16)"):
        loader["classify"](torch.zeros(2, 3, 32, 32, dtype=torch.uint8))


def test_it_is_verified_to_the_last_bit_from_its_folder_alone(package: Path) -> None:
    assert verify(package, quick=True).verdict == AS_RECORDED
    assert verify(package).verdict == BIT_IDENTICAL


def test_the_command_that_trains_it_again_says_how_its_images_are_read(package: Path) -> None:
    found = read_package(package)
    words = train_command(found.config, found.data, found.runtime, None)
    assert "--image-size 16" in words and "--flip none" in words


def test_other_pictures_are_scored_by_the_names_of_their_classes(
    package: Path, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "new", {"dog": 12, "cat": 5})  # bee is missing: places differ
    found = evaluate(package, data=str(tmp_path / "new"))
    assert found.images == 17 and found.scored.part is None, "it has no test part: all is scored"
    assert [row.images for row in found.per_class] == [0, 5, 12]
    assert "dog" in render(found)
    write_pictures(tmp_path / "owls", {"cat": 5, "owl": 5})
    with pytest.raises(InputError, match="2 classes, it had 3; new: owl; missing: bee, dog"):
        evaluate(package, data=str(tmp_path / "owls"))
    with pytest.raises(InputError, match="is not the data of this search: 2 classes, it had 3"):
        verify(package, quick=True, data=str(tmp_path / "owls"))


def test_arrays_of_any_size_are_scored(package: Path, tmp_path: Path) -> None:
    images = np.zeros((4, 28, 28), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, 1, 2, 0]))
    assert evaluate(package, data=str(tmp_path / "a.npz")).images == 4
    np.savez(tmp_path / "b.npz", images=images, labels=np.array([0, 1, 2, 3]))
    with pytest.raises(InputError, match="has the label 3: it must be 0 to 2"):
        evaluate(package, data=str(tmp_path / "b.npz"))


def test_it_is_compressed_and_still_verified(package: Path, tmp_path: Path) -> None:
    compress(package, tmp_path / "small", Plan(methods=["int8"], rounds=1))
    assert verify(tmp_path / "small", quick=True).verdict == AS_RECORDED
