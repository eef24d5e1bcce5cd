"""The scripts behind the README's numbers run, at a size that proves nothing but that they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

import tune_vgg6


def run(folder: Path, script: str, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What a benchmark printed, and the one result file that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{script}", *arguments], cwd=REPOSITORY,
        env={**os.environ, "BENCHMARK_RESULTS": str(folder)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = folder.rglob("*.json")
    return done.stdout, json.loads(result.read_text())


@pytest.mark.slow
def test_the_gpu_benchmark_measures_epochs_and_sharing_on_any_device(tmp_path: Path) -> None:
    out, found = run(
        tmp_path, "gpu", "--device", "cpu", "--data", "digits", "--images", "128", "--epochs",
        "1", "--batch-sizes", "64", "--sharing", "1,2",
    )  # fmt: skip
    assert [row["batch_size"] for row in found["epochs"]] == [64]
    assert found["epochs"][0]["median"] > 0
    assert set(found["sharing"]) == {"1", "2"} and min(found["sharing"].values()) > 0
    assert "images a second together" in out


@pytest.mark.slow
def test_the_scale_benchmark_drives_a_real_search_of_stand_ins(tmp_path: Path) -> None:
    out, found = run(tmp_path, "scale", "--trials", "12")
    assert found["rows"][0]["trials"] == 12
    assert found["rows"][0]["epochs_run"] >= 12
    assert "suggest_p95_s" in out and "reading 12 trials of 30 epochs" in out


@pytest.mark.slow
def test_the_throughput_benchmark_compares_with_the_plain_loop(tmp_path: Path) -> None:
    _, found = run(
        tmp_path, "throughput", "--data", "digits", "--images", "256", "--pairs", "1",
        "--activations", "relu", "--threads", "1",
    )  # fmt: skip
    (row,) = found["rows"]
    assert row["ratio"]["median"] == pytest.approx(
        row["samples"]["ours"][0] / row["samples"]["plain"][0]
    )
    assert 0 < row["beside"] < 1


@pytest.mark.slow
def test_the_compression_benchmark_makes_its_variants_and_their_front(tmp_path: Path) -> None:
    figure = tmp_path / "figure" / "front.html"
    (tmp_path / "results").mkdir()
    arguments = "--data digits --limit-train 200 --epochs 2 --batch-size 32 --threads 1 --lr 0.001"
    package = str(tmp_path / "package")
    assert (
        tune_vgg6.main(["train", *arguments.split(), "--optimizer", "adam", "--out", package]) == 0
    )
    out, found = run(
        tmp_path / "results", "compression", "--package", package, "--epochs", "1", "--rounds",
        "1", "--threads", "1", "--figure", str(figure),
    )  # fmt: skip
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows) >= 8 and rows["fp32"]["speed"]["256"]["ratio"] == 1
    assert rows["fp32"]["points_lost"] == 0
    assert rows["fp32"]["bytes"] > 3.5 * rows["int8"]["bytes"]
    assert rows["pruned 50%"]["flops"] <= 0.5 * rows["fp32"]["flops"]
    assert len(found["by_activation"]) == 8
    assert "*" in out and figure.read_text().count("pruned 50%") >= 2
