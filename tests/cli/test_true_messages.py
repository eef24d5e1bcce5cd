"""What is printed is true: counts, durations, signs, intervals, and files that are there."""

from __future__ import annotations

import json
import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run
from support.paths import NARROW, ROOT

from analysis.packages.compress import render as render_compressed
from analysis.packages.package_files import check_new
from cli import doctor
from vgg6.common.checks import InputError
from vgg6.hardware import cpu_speed, measurements
from vgg6.hardware.speedup import speedup
from vgg6.metric import ACCURACY
from vgg6.tuning.run.folder import CONFIRMATION

# "1 trials", "0 minutes", "0.0 a minute": what no output may hold.
WRONG = re.compile(
    r"\b1 (trials|epochs|threads|CPUs|GPUs|nodes|minutes|seconds|hours|seeds|images|rows|scores"
    r"|pairs|points|configurations|looks)\b|\b0(\.0+)? (minutes|seconds|hours|a minute)\b"
)


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_no_output_of_a_search_of_one_trial_counts_one_as_many(tmp_path: Path, said: Any) -> None:
    made_run(tmp_path, trials=1, epochs=1, name="one")
    for line in (
        ["status", "one"], ["list"], ["best", "one"], ["insights", "one"],
        ["table", "one", "--trials", "--out", str(tmp_path / "t.csv")],
        ["report", "one", "--png", str(tmp_path / "png")],
    ):  # fmt: skip
        status, out, err = said(*line, "--storage", tmp_path)
        assert status == 0 and not WRONG.search(out + err), out + err
    assert not WRONG.search((tmp_path / "png" / "summary.md").read_text())


def test_no_name_in_a_ranking_is_cut(tmp_path: Path, said: Any) -> None:
    shutil.copytree(ROOT / "docs" / "cifar10-48", tmp_path / "shown")
    file = tmp_path / "shown" / CONFIRMATION
    label = f"Leaky_relu_{'0' * 60}"
    found = json.loads(file.read_text())
    found["candidates"][1]["label"] = label
    file.write_text(json.dumps(found))
    assert label in said("best", "shown", "--storage", tmp_path)[1]


def test_no_line_of_a_dry_run_of_one_trial_counts_one_as_many(said: Any, tmp_path: Path) -> None:
    arguments = "search --data digits --limit-train 100 --trials 1 --epochs 1 --cpus-per-trial 1"
    status, out, err = said(
        *arguments.split(), "--dry-run", "--address", "local", "--time-budget", "60s",
        "--storage", tmp_path, "--space", NARROW,
    )  # fmt: skip
    assert status == 0, err
    assert "1 of up to 1 epoch, 60 seconds at most" in out and "1 thread a trial" in out
    assert "1 at once, 1 CPU (1 thread) each, on 1 node" in out
    assert not WRONG.search(out), out


def test_a_ratio_of_speeds_lies_inside_its_quartiles() -> None:
    # The ratio of the medians, 2.4, is above the quartiles of the rounds' own ratios.
    times = {"old": [10.0, 12.0, 30.0, 11.0, 13.0], "new": [5.0, 6.0, 15.0, 4.9, 5.0]}
    found = speedup(times, "old", "new")
    assert found.low <= found.ratio <= found.high


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(0.80, 0.85, "5.00 points gained"), (0.85, 0.80, "5.00 points lost"),
     (0.80, 0.80, "0.00 points lost")],
)  # fmt: skip
def test_points_are_lost_or_gained_and_never_lost_below_zero(
    before: float, after: float, words: str
) -> None:
    from types import SimpleNamespace as Made

    side = {"bytes": 100, "parameters": 10, "flops": 10}
    metrics = Made(
        before=Made(accuracy=before, **side), after=Made(accuracy=after, **side | {"bytes": 125}),
        val_acc_interval=Made(low=0.7, high=0.9), threads=1, measure=ACCURACY,
        speed=[Made(batch=1, ratio=2.0, low=1.9, high=2.1, over_torch=3.0)],
    )  # fmt: skip
    said = render_compressed(Made(metrics=metrics, out="packed"))  # type: ignore[arg-type]
    assert words in said and "-" not in said.replace("->", "") and "1 thread" in said
    assert "1.25 times larger" in said and "10 -> 10 an image, as many" in said
    assert "(quartiles 1.90 to 2.10)" in said


@pytest.mark.parametrize("kept", [True, False])
def test_doctor_names_the_cache_only_where_it_holds_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0 if kept else 1e9)
    monkeypatch.setattr(cpu_speed, "STEADY", 0.0)
    monkeypatch.setattr(cpu_speed, "BATCH", 1)
    found = doctor._cpu().found
    named = re.search(r"kept in (\S+)\)", found)
    assert bool(named) == kept
    if named:
        assert Path(named[1]) == measurements.cache_file() and Path(named[1]).exists()
    else:
        assert "not kept: this machine was too busy" in found


def test_doctor_does_not_say_of_a_full_cache_that_the_machine_was_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)
    monkeypatch.setattr(cpu_speed, "_speed", lambda precision, threads, runs: 1.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # nothing can be written
    try:
        found = doctor._cpu().found
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    reason = f"not kept: {measurements.cache_file()} cannot be written: File too large"
    assert reason in found and "busy" not in found


def test_export_says_what_it_would_replace(tmp_path: Path) -> None:
    check_new(tmp_path / "none")
    for name in ("config.yaml", "model.onnx", "metrics.json"):
        (tmp_path / name).touch()
    (tmp_path / "README.md").write_text("# Gelu_SGD, the winner of the search first\n\nMore.\n")
    rule = r"holds a package already \(Gelu_SGD, the winner of the search first\)"
    with pytest.raises(InputError, match=rule):
        check_new(tmp_path)
