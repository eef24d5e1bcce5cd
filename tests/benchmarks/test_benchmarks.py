"""The scripts behind the README's numbers run, at a size that proves nothing but that they do."""

from __future__ import annotations

import importlib
import json
import operator
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made.runs import made_run
from support.paths import ROOT

import tune_vgg6
from analysis.packages import compressed_networks
from benchmarks import machine
from benchmarks.speed import kept_memory, looking, scale, short_search, start
from vgg6.common.machine import usable_cpus
from vgg6.config import TrialConfig
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.algorithms.early_stopping import replay
from vgg6.tuning.algorithms.rule_of_search import rule_of
from vgg6.tuning.run.search import check_params, read_search
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PRUNED

BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = sorted(  # as `python -m benchmarks.NAME` takes them
    ".".join(file.relative_to(BENCHMARKS).with_suffix("").parts)
    for file in BENCHMARKS.rglob("*.py")
    if "def main(" in file.read_text()
)
Run = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a benchmark in this process, which has torch already: what it printed, and the one
    result file that it wrote."""

    def main_of(script: str, *arguments: str) -> tuple[str, dict[str, Any]]:
        results = tmp_path / "results"
        monkeypatch.setattr(machine, "RESULTS", results)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        importlib.import_module(f"benchmarks.{script}").main()
        (result,) = results.rglob("*.json")
        return capsys.readouterr().out, json.loads(result.read_text())

    return main_of


def test_the_confirmation_benchmark_keeps_its_claim_apart_from_what_it_was_tuned_on(
    run: Run,
) -> None:
    out, found = run("quality.confirmation", "--repetitions", "4")
    tuned, claimed = found["spreads"]["tuned_on"], found["spreads"]["claimed_on"]
    assert len(tuned) + len(claimed) == 19 and not set(tuned) & set(claimed)
    methods = {(cell["method"], cell["seeds"]) for cell in found["cells"]}
    assert {
        ("this rule", 2),
        ("highest mean", 10),
        ("rule before", 5),
        ("in rounds", 10),
    } <= methods
    assert found["verdict"]["dropped"] <= 0.05
    assert found["verdict"]["of_rule_before"] < 1
    assert "of the rule before" in out


@pytest.mark.slow
def test_the_scale_benchmark_drives_a_real_search_of_stand_ins(
    run: Run, ray_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "run_apart", scale.run)
    monkeypatch.setattr(scale.TruthfulSearcher, "suggest", scale.TruthfulSearcher.suggest)
    monkeypatch.setattr(scale.session, "train_trial", scale.session.train_trial)
    out, found = run("speed.scale", "--trials", "12")
    assert found["rows"][0]["trials"] == 12
    assert found["rows"][0]["epochs_run"] >= 12
    assert "suggest_p95_s" in out and "reading 12 trials of 30 epochs" in out


@pytest.mark.slow
def test_the_thinning_benchmark_asks_the_model_of_the_default_search(run: Run) -> None:
    _, found = run("quality.thinning", "--seeds", "1", "--trials", "150")
    assert found["regret"]["all"] == found["regret"]["thinned"], "nothing is forgotten of so few"
    assert found["by_model"]["all"][0] > 0.25


@pytest.mark.slow
def test_the_looking_benchmark_times_each_command_on_recorded_and_made_searches(run: Run) -> None:
    out, found = run("speed.looking", "--runs", "1", "--made", "60")
    measured = [(row["search"], row["command"]) for row in found["rows"]]
    assert measured == [
        *(("48", command) for command in ("status", "table", "best", "insights", "report")),
        *(("60", command) for command in ("status", "report", "resume")),
    ]
    assert all(min(row["cpu_s"], row["wall_s"]) > 0 for row in found["rows"])
    assert found["rows"][0]["bar_s"] == 1.5 and found["rows"][5]["bar_s"] is None
    assert found["rows"][6]["page_mb"] > 3 and "a page of" in out


def test_the_start_benchmark_times_an_import_and_the_first_call_of_each_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "watched_once.py").write_text(
        "class Searcher:\n    def suggest(self, number):\n        return number + 1\n"
    )
    watched = {"watched_once": ("import it", {"Searcher.suggest": "the first suggestion"})}
    monkeypatch.setattr(start, "WATCHED", watched)
    monkeypatch.syspath_prepend(tmp_path)
    marks = tmp_path / "marks"
    monkeypatch.setattr(sys, "meta_path", [start.Stopwatch(time.time(), marks), *sys.meta_path])
    searcher = importlib.import_module("watched_once").Searcher()
    assert [searcher.suggest(number) for number in range(3)] == [1, 2, 3]
    rows = [json.loads(line) for line in marks.read_text().splitlines()]
    assert [row["what"] for row in rows] == ["import it", "the first suggestion"]
    assert 0 <= rows[0]["from"] <= rows[0]["to"] <= rows[1]["from"] <= rows[1]["to"] < 60


@pytest.mark.parametrize("module", start.WATCHED)
def test_what_the_start_benchmark_times_is_there(module: str) -> None:
    found = importlib.import_module(module)
    for dotted in start.WATCHED[module][1]:
        assert callable(operator.attrgetter(dotted)(found))


def test_the_short_search_benchmark_gives_the_bare_script_what_the_trials_computed(
    tmp_path: Path,
) -> None:
    run = made_run(tmp_path, trials=3, epochs=2)
    work, scores = short_search.work_of(run)
    trials = read_search(run).history.trials
    assert [TrialConfig.from_mapping(c) for c in work["configs"]] == [
        trials[number].config for number in range(3)
    ]
    assert Runtime(**work["runtime"]).threads * work["actors"] <= usable_cpus()
    assert scores == [[row.val_acc for row in trials[number].curve] for number in range(3)]
    compile(short_search.BARE, "the bare script", "exec")


def test_the_short_search_benchmark_judges_by_the_median_ratio() -> None:
    found = short_search.finding([(10.0, 12.0), (10.0, 20.0), (20.0, 26.0)])
    assert (found["ratio"], found["spread"], found["holds"]) == (1.3, [1.2, 2.0], True)
    assert not short_search.finding([(10.0, 13.1)])["holds"]


def test_a_made_search_is_what_the_rule_of_the_default_search_makes(tmp_path: Path) -> None:
    found = read_search(looking.made_search(tmp_path, trials=120))
    states = found.history.states
    assert sum(states.values()) == 120 and set(states) == {COMPLETED, PRUNED, INFEASIBLE}
    rule = rule_of(found.facts.settings, found.space, found.history, 120)
    replay(rule, found.history.arrivals)
    for number, trial in found.history.trials.items():
        assert rule.waits(number) == (trial.state == PRUNED)
    ran = [trial for trial in found.history.trials.values() if trial.rows]
    starts = {went_on: [t.rows[1].val_acc for t in ran if (t.epoch > 1) == went_on]
              for went_on in (True, False)}  # fmt: skip
    assert np.quantile(starts[True], 0.25) > np.quantile(starts[False], 0.75), "the best went on"
    check_params(found)


@pytest.mark.slow
def test_the_throughput_benchmark_compares_with_the_plain_loop(run: Run) -> None:
    _, found = run(
        "speed.throughput", "--data", "digits", "--images", "128", "--pairs", "1", "--activations",
        "relu", "--threads", "1", "--kernel-passes", "1",
    )  # fmt: skip
    (row,) = found["rows"]
    assert row["ratio"]["median"] == pytest.approx(
        row["samples"]["ours"][0] / row["samples"]["plain"][0]
    )
    assert 0 < row["beside"] < 1


@pytest.mark.slow
def test_the_kept_memory_benchmark_trains_the_same_both_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_memory, "ROUNDS", 1)
    row = kept_memory.compared("digits", 32, 32, 64, "relu")
    (kept,), (given_back,) = row["runs"]["kept"], row["runs"]["given back"]
    assert row["same_bits"] and kept["loss"] == given_back["loss"]
    assert row["times_as_fast"]["ratio"] == given_back["seconds"] / kept["seconds"]
    assert row["times_as_large"]["ratio"] == kept["mb"] / given_back["mb"]


@pytest.mark.slow
def test_the_compression_benchmark_makes_its_variants_and_their_front(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed_networks, "BATCH", 8)  # of 256 images: it proves no speed
    figure = tmp_path / "figure" / "front.html"
    arguments = "--data digits --limit-train 100 --epochs 2 --batch-size 32 --threads 1 --lr 0.001"
    package = str(tmp_path / "package")
    assert (
        tune_vgg6.main(["train", *arguments.split(), "--optimizer", "adam", "--out", package]) == 0
    )
    out, found = run(
        "compression", "--package", package, "--epochs", "1", "--rounds", "1", "--threads", "1",
        "--sparsities", "0.5,0.85", "--figure", str(figure),
    )  # fmt: skip
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows) >= 8 and rows["fp32"]["speed"]["8"]["ratio"] == 1
    assert rows["fp32"]["points_lost"] == 0
    assert rows["fp32"]["bytes"] > 3.5 * rows["int8"]["bytes"]
    assert rows["pruned 50%"]["flops"] <= 0.5 * rows["fp32"]["flops"]
    assert len(found["by_activation"]) == 8
    assert "*" in out and figure.read_text().count("pruned 50%") >= 2


@pytest.mark.slow
def test_a_script_runs_as_a_module_and_the_recorded_study_opens(tmp_path: Path) -> None:
    record = ["--minutes", "0", "--storage", "benchmarks/results/study"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.study", *record], cwd=ROOT, capture_output=True,
        text=True, env={**os.environ, "BENCHMARK_RESULTS": str(tmp_path)},
    )  # fmt: skip
    assert "study 35 runs, 666 epochs, 233 s, study_sigmoide 7 runs, 150 epochs" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_what_it_claims_and_how_to_run_less(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{script}")
    assert f"python -m benchmarks.{script}" in module.__doc__
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 0 and "--" in capsys.readouterr().out


def test_every_script_has_its_row_and_every_row_its_file() -> None:
    table = (BENCHMARKS / "README.md").read_text()
    named = set(re.findall(r"`([a-z_.]+)(?: [^`]*)?`", table))
    assert set(SCRIPTS) - {"replay.record", "suite.record"} <= named
    links = re.findall(r"\]\(([^)]+)\)", table)
    assert len(links) > 20 and all((BENCHMARKS / link).is_file() for link in links)
    assert len(table.splitlines()) <= 80
    big = [f for f in BENCHMARKS.rglob("*") if f.is_file() and f.stat().st_size > 300_000]
    assert not big, "results are small files"


def test_a_result_is_kept_by_its_theme_machine_and_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    facts = {"cpu": "Intel(R) Xeon(R) Processor", "instructions": ["amx"], "date": "2026-11-24T01"}
    gpu = facts | {"device": "NVIDIA H100 80GB HBM3"}
    plain = {"cpu": "AMD EPYC", "instructions": ["avx2"], "date": "2026-11-28T09", "device": "cpu"}
    machine.write_result("gpu", {"machine": gpu}, "mps")
    machine.write_result("throughput", {"machine": facts})
    machine.write_result("throughput", {"machine": plain})
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.json")} == {
        "gpu/mps/nvidia-h100-80gb-hbm3-2026-11-24.json",
        "throughput/intel-xeon-amx-2026-11-24.json",
        "throughput/amd-epyc-2026-11-28.json",
    }
    newest = machine.growing_result("throughput", facts, ending="json")
    assert newest.name == "amd-epyc-2026-11-28.json", "of whichever machine"
    fresh = machine.growing_result("study", facts, ending="csv")
    assert fresh == tmp_path / "study" / "intel-xeon-amx-2026-11-24.csv"
