"""What a command that only reads a search imports: nothing that trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

RECORDED = ROOT / "docs" / "cifar10-48"  # it has a confirmation, and a look at the test images
HEAVY = ("torch", "ray", "torchvision", "sklearn", "onnx", "wandb")
PLOTTING = ("plotly",)
MODELS = ("optuna", "scipy.stats", "scipy.optimize")
# Runs a command, then prints the packages that it imported.
PROGRAM = """
import contextlib, io, json, sys
from cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(sys.argv[1:]) == 0
print(json.dumps(list(sys.modules)))
"""


def imported(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        (["status", str(RECORDED)], (*HEAVY, *PLOTTING, *MODELS, "pandas", "scipy")),
        (["list", "--storage", str(RECORDED.parent)], (*HEAVY, *PLOTTING, *MODELS, "pandas")),
        (["table", str(RECORDED)], (*HEAVY, *PLOTTING, *MODELS, "scipy")),
        (["best", str(RECORDED)], (*HEAVY, *PLOTTING, *MODELS, "pandas")),
        (["insights", str(RECORDED)], (*HEAVY, *PLOTTING, "optuna", "scipy.stats")),
        (["report", str(RECORDED), "--out", "{tmp}/report.html"], (*HEAVY, "optuna",
                                                                   "scipy.stats")),
    ],
    ids=["status", "list", "table", "best", "insights", "report"],
)  # fmt: skip
def test_a_command_that_reads_imports_nothing_that_trains(
    tmp_path: Path, command: list[str], unneeded: tuple[str, ...]
) -> None:
    found = imported(*(word.format(tmp=tmp_path) for word in command))
    assert not found & set(unneeded)
