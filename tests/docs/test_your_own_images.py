"""What docs/your-own-images.md shows works on a folder of pictures, but for the search itself."""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT
from support.web.pages import blocks

import tune_vgg6

PAGE = ROOT / "docs" / "your-own-images.md"
COLOURS = {"bee": 2, "cat": 0, "dog": 1}  # the colour that a class's pictures have most of


def write_pictures(folder: Path, count: int) -> None:
    draw = np.random.default_rng(count)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = draw.integers(0, 80, (40, 50, 3), dtype=np.uint8)
            pixels[..., colour] += 150
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with two sets of pictures, and the package of one."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
        patch.chdir(folder)
        write_pictures(folder / "pets", 20)
        write_pictures(folder / "new-pets", 5)
        flags = "--epochs 3 --optimizer adam --lr 0.003 --batch-size 8 --width 0.25 --threads 1"
        words = ["train", "--data", "~/pets", *flags.split(), "--out", "pets-packed/", "--demo"]
        assert tune_vgg6.main(words) == 0
        yield folder


@pytest.mark.parametrize("command", ["verify", "evaluate"])
def test_the_package_is_verified_and_scored_on_other_pictures(
    home: Path, command: str, said: Any
) -> None:
    lines = [line for kind, block in blocks(PAGE) if kind == "" for line in block.splitlines()]
    (line,) = [line for line in lines if line.startswith(f"python tune_vgg6.py {command} ")]
    status, out, err = said(*shlex.split(line)[2:])
    assert status == 0, err
    assert ("bit-identical" if command == "verify" else "15 images") in out


def test_both_networks_name_the_class_of_the_picture_that_the_page_gives_them(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    code = [block for kind, block in blocks(PAGE) if kind == "python"]
    (tmp_path / "page.py").write_text("\n".join(code))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    runpy.run_path(str(tmp_path / "page.py"))
    assert capsys.readouterr().out.splitlines() == ["['cat']", "cat"]


def test_the_page_for_a_browser_lies_where_the_docs_go(home: Path) -> None:
    (lines,) = [block.splitlines() for _, block in blocks(PAGE) if "http.server" in block]
    (home / shlex.split(lines[0])[1] / "demo.html").read_text()
