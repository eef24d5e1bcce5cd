"""The claims about a GPU: their arithmetic, their table, and the script where there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.made.runs import made_run

from benchmarks import machine
from benchmarks.speed import gpu
from benchmarks.speed.gpu import Claim, claims_of, fingerprint, measured, table
from benchmarks.speed.gpu_busy import Sample, busy_share, sampling, steps_of
from vgg6.tuning.run.journal import read_history

FOUND: dict[str, Any] = {
    "epochs": [{"batch_size": 64, "median": 0.9}, {"batch_size": 128, "median": 0.29}],
    "alone": {"1": 100.0, "8": 240.0},
    "served": {"1": 110.0, "8": 250.0},
    "bits": {"same": 1.0},
    "kernels": {"median": 0.31, "same": 1.0},
    "search": {"busy": 0.79},
}


def verdicts(**changes: Any) -> list[str]:
    return [claim.verdict for claim in claims_of(FOUND | changes, 8)]


def test_each_claim_is_held_to_its_bar_from_its_side() -> None:
    assert verdicts() == ["holds", "FAILS", "holds", "holds", "FAILS", "holds", "FAILS"]
    assert [claim.value for claim in claims_of(FOUND, 8)] == [0.29, 2.4, 2.5, 1.0, 0.31, 1.0, 0.79]
    slower = [{"batch_size": 128, "median": 0.31}]
    assert verdicts(epochs=slower, bits={"same": 0.0})[:4:3] == ["FAILS", "FAILS"]


def test_what_was_not_measured_holds_and_fails_nothing_and_says_why() -> None:
    found = verdicts(alone="Empty: ", search={"seconds": 9.0}, epochs=FOUND["epochs"][:1])
    assert found[1] == "not measured: Empty: "
    assert [v.startswith("not measured: this needs a GPU") for v in found] == [
        True, False, True, False, False, False, True,
    ]  # fmt: skip
    assert all("not asked for" in claim.verdict for claim in claims_of({}, 8))


def test_the_table_names_the_device_and_shows_value_bar_and_verdict() -> None:
    lines = table("NVIDIA H100", [Claim("an epoch", 0.4356, 0.3, most=True)]).splitlines()
    assert lines[0].startswith("NVIDIA H100")
    assert lines[1].split() == ["an", "epoch", "0.436", "<=", "0.3", "FAILS"]


def test_a_part_that_fails_is_a_reason() -> None:
    assert measured(lambda: 3) == (3, "")
    assert measured(lambda: 1 // 0) == (
        None,
        "ZeroDivisionError: integer division or modulo by zero",
    )


def test_two_trainings_have_one_fingerprint_only_if_every_bit_but_the_time_is_the_same() -> None:
    curve = [{"epoch": 1, "val_loss": 0.1, "seconds": 2.0}]
    same = fingerprint(curve, b"weights")
    assert fingerprint([{**curve[0], "seconds": 3.0}], b"weights") == same
    assert fingerprint([{**curve[0], "val_loss": 0.1 + 2e-17}], b"weights") != same
    assert fingerprint(curve, b"weightz") != same


def test_the_busy_share_weighs_samples_by_their_time_within_the_window() -> None:
    samples = [Sample(0, 1), Sample(1, 0), Sample(3, 1), Sample(4, 0.5), Sample(9, 1)]
    assert busy_share(samples, 1, 4) == pytest.approx((2 * 1 + 1 * 0.5) / 3)
    assert busy_share(samples, 0.5, 3.5) == pytest.approx((0.5 * 0 + 2 * 1 + 0.5 * 0.5) / 3)
    assert busy_share(samples, 0, 9) == pytest.approx((0 + 2 + 0.5 + 5) / 9)


@pytest.mark.parametrize(("first", "last"), [(0, 20), (12, 14), (3, 3), (-3, 4)])
def test_a_time_that_the_samples_do_not_cover_has_no_busy_share(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="samples cover"):
        busy_share([Sample(t, 1.0) for t in range(10)], first, last)


def test_a_searchs_steps_begin_with_its_first_epoch_and_end_with_its_last(tmp_path: Path) -> None:
    history = read_history(made_run(tmp_path, trials=4, epochs=3))
    rows = [row for trial in history.trials.values() for row in trial.rows.values()]
    assert len(rows) > 3
    first, last = steps_of(history)
    assert last == max(row.time for row in rows)
    assert all(first <= row.time - row.seconds for row in rows)
    assert any(first == row.time - row.seconds for row in rows)


def test_without_a_gpu_no_sample_is_taken() -> None:
    with sampling("cpu") as samples:
        assert samples == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_where_there_is_no_gpu_it_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    gpu.main()
    assert capsys.readouterr().out.startswith("skipped: torch sees no CUDA GPU here")
    assert not list(tmp_path.iterdir())


@pytest.mark.starts_ray
def test_the_same_code_runs_without_a_gpu_and_claims_nothing_that_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "SEARCH_EPOCHS", 1)
    words = "--device cpu --data digits --images 100 --epochs 1 --batch-sizes 64 --together 2"
    monkeypatch.setattr(sys, "argv", ["gpu", *words.split(), "--trials", "1"])
    gpu.main()
    (result,) = tmp_path.rglob("*.json")
    found = json.loads(result.read_text())
    assert [row["batch_size"] for row in found["epochs"]] == [64]
    assert set(found["alone"]) == {"1", "2"} and min(found["alone"].values()) > 0
    assert found["bits"]["same"] == 1, "a seed gave other bits on the CPU"
    assert found["search"]["epochs"] == 1 and found["search"]["seconds"] > 0
    assert "Multi-Process Service does not run" in found["served"]
    assert "'triton' needs a CUDA GPU: this computes on cpu" in found["kernels"]
    out = capsys.readouterr().out
    assert found["claims"] == [] and "no claim: these figures are of a CPU" in out
