"""What a search and its commands look up in the network: nothing but what the user asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.clusters.namespaces import missing
from support.paths import ROOT

# Ray asks the network which cloud it is in, whatever is set, and tells nobody.
OF_RAY = {"metadata.google.internal"}
PROGRAM = f"""set -e
tool="{sys.executable} {ROOT / "tune_vgg6.py"}"
$tool search --name s --data digits --trials 1 --epochs 1 --limit-train 128 --scheduler none \\
    --mlflow sqlite:///m.db
$tool compress runs/s/best --method int8 --rounds 1
$tool verify runs/s/best
$tool report s
{sys.executable} runs/s/best-int8/load_model.py
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_no_command_looks_up_what_nobody_asked_for(tmp_path: Path) -> None:
    assert shutil.which("unshare")
    heard_lookups = ROOT / "tests" / "support" / "heard_lookups.py"
    environment = {k: v for k, v in os.environ.items() if "WANDB" not in k and "TELEM" not in k}
    ended = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, str(heard_lookups), "bash", "-c", PROGRAM],
        cwd=tmp_path, env=environment | {"HOME": str(tmp_path)}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    heard = json.loads(ended.stdout.splitlines()[-1])
    assert heard["status"] == 0, ended.stderr
    assert set(heard["names"]) - OF_RAY == {"control.invalid"}


@pytest.mark.slow
def test_onnxruntime_leaves_nothing_at_home_that_it_could_send(tmp_path: Path) -> None:
    """Its telemetry notes an identity of the device when it is imported."""
    program = "from vgg6.onnx_export import onnx_file, quantization; import onnxruntime as ort"
    program += "; ort.SessionOptions()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG", "ORT"))}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment | {"HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
