"""The floors of the house: every module stands on one, and imports run downward only."""

from __future__ import annotations

import ast
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from support.paths import ROOT

CONTRACTS = ROOT / ".importlinter"


def test_every_module_of_vgg6_stands_on_a_floor() -> None:
    config = ConfigParser()
    config.read(CONTRACTS)
    named = config["importlinter:contract:floors"]["layers"].replace(":", " ").split()
    there = [
        p for p in (ROOT / "vgg6").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    ]
    modules = {f"vgg6.{p.stem}" for p in there if p.stem != "__init__"}
    assert {name for name in named if name.startswith("vgg6.")} == modules


def test_an_import_that_runs_upward_breaks_the_contract(tmp_path: Path) -> None:
    """So that a contract that checks nothing is noticed."""
    for folder in ("cli", "analysis", "vgg6", "search_spaces"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "search_spaces").unlink()
    (tmp_path / "search_spaces").mkdir()
    for file in (ROOT / "search_spaces").glob("*.py"):
        (tmp_path / "search_spaces" / file.name).write_text(file.read_text())
    spoiled = tmp_path / "search_spaces" / "wide.py"
    spoiled.write_text(spoiled.read_text() + "\nfrom vgg6.tuning import settings as upward\n")
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache", str(CONTRACTS)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "search_spaces.wide -> vgg6.tuning.settings" in " ".join(done.stdout.split())


def test_no_folder_holds_more_modules_than_one_can_overlook() -> None:
    folders = {
        f.parent
        for d in ("cli", "analysis", "vgg6", "search_spaces")
        for f in (ROOT / d).rglob("*.py")
    }
    sizes = {
        str(d.relative_to(ROOT)): len([f for f in d.glob("*.py") if f.stem != "__init__"])
        for d in folders
    }
    assert {d: n for d, n in sizes.items() if n > 16} == {}


def imported(module: str) -> set[str]:
    """What a module of vgg6 imports of vgg6, with the names it takes."""
    tree = ast.parse((ROOT / "vgg6" / f"{module.replace('.', '/')}.py").read_text())
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}.{a.name}" for node in froms for a in node.names}


@pytest.mark.slow
def test_training_evaluation_and_compression_know_nothing_of_each_others_insides() -> None:
    parts = {"training", "evaluation", "pruning", "onnx_export.quantization"}
    known = {
        part: {
            name
            for name in imported(part)
            if name.removeprefix("vgg6.").rpartition(".")[0] in parts - {part}
        }
        for part in parts
    }  # fmt: skip
    assert known == {
        "training": {"vgg6.evaluation.evaluate"},
        "evaluation": set(),
        "pruning": {"vgg6.training.train"},
        "onnx_export.quantization": set(),
    }
    everything = set().union(*map(imported, parts))
    assert not any(name.split(".")[-1].startswith("_") for name in everything)
