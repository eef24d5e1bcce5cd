"""The study again: its runs in pieces with their table, and its questions answered from numbers."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_studies import IMAGES, made_study

import benchmarks.study as driver
from search_spaces import load_space
from search_spaces.study import BASELINE, RUNS
from search_spaces.study_sigmoide import SIGMOIDE_RUNS
from vgg6.config import TrialConfig
from vgg6.tuning import journal as j


def test_the_baseline_is_relu_with_sgd_and_the_only_recorded_run_is_the_studys_best() -> None:
    assert BASELINE.label == "Relu_SGD_0.01_128_30"
    recorded = [run for run in RUNS if run.figures]
    assert [run.config for run in recorded] == [TrialConfig()]
    assert recorded[0].figures["best_val_acc"] == 0.861


def test_a_sigmoide_run_keeps_all_but_its_activation() -> None:
    meant = [run for run in RUNS if run.config.activation == "sigmoid"]
    for run, trained in zip(meant, SIGMOIDE_RUNS, strict=True):
        changed = {
            name for name, value in run.config.to_dict().items()
            if trained.config.to_dict()[name] != value
        }  # fmt: skip
        assert changed == {"activation"} and trained.config.activation == "relu"


def asked(folder: Path, **given: Any) -> argparse.Namespace:
    usual = {"data": "digits", "epochs": 30, "limit_train": 100, "full": 0}
    return argparse.Namespace(**usual | given, storage=str(folder))


@pytest.mark.slow
def test_a_search_of_the_study_that_was_interrupted_goes_on_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.machine.RESULTS", tmp_path / "results")
    _, piece = driver.pieces(asked(tmp_path, epochs=1))
    driver.advance(piece, time.monotonic() + 1)
    assert piece.outcome != "complete"
    driver.advance(piece, math.inf)
    driver.write_table(str(tmp_path))
    table = pd.read_csv(tmp_path / "results" / "study.csv")
    assert piece.outcome == "complete" and table.state.tolist() == ["completed"] * 7
    expected = [replace(run.config, epochs=1).label for run in SIGMOIDE_RUNS]
    assert table.label.tolist() == expected and table.best_val_acc.notna().all()


def test_the_best_at_full_size_follow_once_the_part_is_done(tmp_path: Path) -> None:
    def names(**given: Any) -> list[str]:
        return [piece.run.name for piece in driver.pieces(asked(tmp_path, **given))]

    assert names(limit_train=None) == ["study", "study_sigmoide"]
    made_study(tmp_path, [run.config for run in RUNS], name="study-100")
    assert names(full=8) == ["study-100", "study_sigmoide-100"]
    made_study(tmp_path, [run.config for run in SIGMOIDE_RUNS], name="study_sigmoide-100")
    assert names(full=0) == ["study-100", "study_sigmoide-100"]
    assert names(full=8) == ["study-100", "study_sigmoide-100", "study_best8"]
    *_, full = driver.pieces(asked(tmp_path, full=8))
    assert "--limit-train" not in full.flags
    assert len(load_space(str(tmp_path / "study_best8.yaml")).points) == 8


def test_the_table_has_the_studys_own_figure_beside_the_run_and_keeps_rows_of_lost_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.machine.RESULTS", tmp_path / "results")
    points = [run.config for run in RUNS if run.config.optimizer == "sgd"]
    part = {**IMAGES, "train_images": 300, "limit_train": 300}
    made_study(tmp_path / "a", points, name="study-300", diverged={points[1].label}, data=part)
    driver.write_table(str(tmp_path / "a"))
    table = pd.read_csv(tmp_path / "results" / "study.csv")
    assert table.label.tolist() == [c.label for c in points]
    assert table.train_images.tolist() == [300] * len(points)
    assert (table.state == "infeasible").sum() == 1
    best = table[table.study_best_val_acc.notna()]
    assert best.label.tolist() == ["Gelu_SGD_0.01_128_30"]
    assert best.study_best_val_acc.item() == 0.861
    made_study(tmp_path / "b", points[:1], name="study")
    driver.write_table(str(tmp_path / "b"))
    again = pd.read_csv(tmp_path / "results" / "study.csv")
    assert len(again) == len(table) + 1
    driver.write_table(str(tmp_path / "b"))
    assert len(pd.read_csv(tmp_path / "results" / "study.csv")) == len(again)


def test_the_best_on_a_part_become_a_space_that_a_search_evaluates(tmp_path: Path) -> None:
    points = [run.config for run in RUNS]
    gelu, silu = {"gelu": 0.1}, {"silu": 0.1}
    run = made_study(tmp_path, points, name="study-300", effects=gelu)
    file = tmp_path / "best.yaml"
    driver.write_best(file, [run], 3)
    chosen = [TrialConfig.from_mapping(p) for p in load_space(str(file)).points]
    ranked = [TrialConfig.from_mapping(t.config) for t in j.read_history(run).ranking(3)]
    assert chosen == ranked and {c.activation for c in chosen} == {"gelu"}
    other = made_study(tmp_path, points, name="other", effects=silu)
    driver.write_best(file, [other], 3)
    assert {p["activation"] for p in load_space(str(file)).points} == {"silu"}
