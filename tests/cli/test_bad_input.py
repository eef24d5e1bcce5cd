"""Bad values from the six places that a user's values come from, through the real command line.

Command line, YAML spaces, environment, data folders, run folders, packages: always exit 2, a
message that holds the key, the value, the rule and the nearest valid name, and nothing written.
The tables of them are in tests/support/bad_values, one module for each place.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bad_values.case import Case
from support.bad_values.command_line import COMMAND_LINE
from support.bad_values.data_files import DATA, images
from support.bad_values.environment import ENVIRONMENT
from support.bad_values.packages import PACKAGES
from support.bad_values.run_folders import RUNS
from support.bad_values.spaces import SPACES
from support.made.runs import made_run
from support.paths import ROOT

import tune_vgg6

SOURCES = {
    "command line": COMMAND_LINE,
    "yaml": SPACES,
    "environment": ENVIRONMENT,
    "data": DATA,
    "run": RUNS,
    "package": PACKAGES,
}
CASES = [(source, case) for source, cases in SOURCES.items() for case in cases]


def test_there_are_sixty_bad_values_and_six_of_every_source() -> None:
    assert len(CASES) >= 60 and all(len(cases) >= 6 for cases in SOURCES.values())
    assert len({(source, case.name) for source, case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nothing is wrong with: a search with its confirmation, a package, a data folder."""
    folder = tmp_path_factory.mktemp("whole")
    made_run(folder / "runs", trials=4, epochs=2, name="good")
    found = json.loads((ROOT / "docs" / "cifar10-48" / "confirmation.json").read_text())
    winner = next(c for c in found["candidates"] if c["trial"] == found["winner"])
    found |= {"candidates": [winner | {"trial": 0}], "winner": 0, "ties": [0]}
    (folder / "runs" / "good" / "confirmation.json").write_text(json.dumps(found))
    arguments = "--data digits --limit-train 100 --epochs 1 --batch-size 32 --threads 1"
    assert tune_vgg6.main(["train", *arguments.split(), "--out", str(folder / "package")]) == 0
    (folder / "data").mkdir()
    images(folder / "data", "train", 200)
    images(folder / "data", "test", 50)
    (folder / "file").write_text("no folder")
    # Every machine that has run this once has it; whatever is decoded would lie in it.
    (folder / "cache" / "tune_vgg6").mkdir(parents=True)
    return folder


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, and of files the size and the time of the last change."""
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*")}
    return {
        name: (0, 0) if p.is_dir() else (p.stat().st_size, p.stat().st_mtime_ns)
        for name, p in found.items()
    }


def prepared(case: Case, whole: Path, at: Path) -> tuple[list[str], dict[str, str], list[str]]:
    """``at`` with the fault in it: the arguments, the environment and what the message must say."""
    for entry in whole.iterdir():
        (shutil.copytree if entry.is_dir() else shutil.copy)(entry, at / entry.name)
    case.change(at)
    environment = {"XDG_CACHE_HOME": "{at}/cache", "HOME": "{at}"} | case.environment
    filled = [[w.replace("{at}", str(at)) for w in words] for words in (case.arguments, case.says)]
    return filled[0], {k: v.replace("{at}", str(at)) for k, v in environment.items()}, filled[1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone after the test: a package is 20 MB."""
    yield (at := tmp_path / "at")
    shutil.rmtree(at)


@pytest.mark.parametrize(("source", "case"), CASES, ids=lambda x: getattr(x, "name", x))
def test_it_is_refused_by_key_value_and_rule_and_nothing_is_written(
    source: str, case: Case, whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    place.mkdir()
    arguments, environment, says = prepared(case, whole, place)
    for name in ("WANDB_MODE", "RAY_ADDRESS", "CIFAR10_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place)
    before = tree(place)
    status = tune_vgg6.main(arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (2, ""), err
    last = err[err.index("error: ") :]  # before it may stand that images are being decoded
    for part in says:
        assert part in last
    assert "Traceback" not in err and len(last) < 3000
    assert tree(place) == before


# Fresh processes: nothing heavy is imported for what needs none of it, and nothing is written.
LIGHT = [COMMAND_LINE[1], SPACES[0], ENVIRONMENT[0], RUNS[0], RUNS[5]]
PROGRAM = """
import sys, tune_vgg6
status = tune_vgg6.main(sys.argv[1:])
print(status, [m for m in ("ray", "torch", "wandb", "optuna") if m in sys.modules])
"""


@pytest.mark.parametrize("case", LIGHT, ids=lambda case: case.name)
def test_a_process_of_its_own_ends_before_it_imports_what_is_heavy(
    case: Case, whole: Path, place: Path
) -> None:
    place.mkdir()
    arguments, environment, says = prepared(case, whole, place)
    arguments[0] = {"best": "status"}.get(arguments[0], arguments[0])
    before = tree(place)
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, *arguments], cwd=place, capture_output=True,
        text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert done.stdout == "2 []\n", done.stderr
    assert all(part in done.stderr for part in says)
    assert tree(place) == before
