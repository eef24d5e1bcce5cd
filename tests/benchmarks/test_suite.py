"""The suite's problems: what is recorded of them, and searches that are judged on them."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import numpy as np
import pytest

from benchmarks.replay import freeze_thaw
from benchmarks.replay.peers import MISSING, OPTUNA_PEERS, PEERS
from benchmarks.suite import regret
from benchmarks.suite.curves import Curves, own
from benchmarks.suite.fidelity import agreement, guessed
from benchmarks.suite.problems import (
    BEST_POINTS,
    CLAIM,
    PROBLEMS,
    SEEDS,
    TUNING,
    Problem,
    jobs,
)
from benchmarks.suite.record import FOLDER, curves_of, next_job
from benchmarks.suite.regret import LOOKS, search_once, unknown
from search_spaces import Space
from search_spaces.parameter import Parameter

RECORDED = [p for p in PROBLEMS if (FOLDER / f"{p.name}.parquet").exists()]


@pytest.fixture(scope="module")
def normed() -> Curves:
    return own(PROBLEMS[0])


def test_half_of_the_problems_are_for_tuning_and_half_for_claims() -> None:
    roles = [problem.role for problem in PROBLEMS]
    assert roles.count(TUNING) == roles.count(CLAIM) == 3
    assert {(p.data, p.role) for p in PROBLEMS} == {
        (data, role) for data in ("cifar10", "digits") for role in (TUNING, CLAIM)
    }


@pytest.mark.parametrize("problem", RECORDED, ids=lambda p: p.name)
def test_what_is_recorded_is_of_the_plan_and_whole(problem: Problem) -> None:
    planned = {json.dumps(job.config.to_dict()) for job in jobs(problem)}
    table = curves_of(problem)
    assert not table.duplicated(["config", "epoch"]).any()
    # A plan may have been shortened since: what was recorded stays of use.
    assert len(planned & set(table["config"])) >= 32
    for _, run in table[table["ended"] == "completed"].groupby("config"):
        assert sorted(run["epoch"]) == list(range(1, problem.epochs + 1))
        assert run["val_acc"].between(0, 1).all()


def test_the_best_points_are_recorded_with_the_other_seed_when_all_points_are_there() -> None:
    problem = next(p for p in RECORDED if p.name == "digits-late")
    table = curves_of(problem)
    seeds = table["config"].map(lambda text: json.loads(text)["seed"])
    first = table[seeds == SEEDS[0]]
    some = first[first["point"] != 7]
    job = next_job(problem, some)
    assert job is not None and (job.index, job.config.seed) == (7, SEEDS[0])
    job = next_job(problem, first)
    best = first.groupby("point")["val_acc"].max().nlargest(BEST_POINTS)
    assert job is not None and (job.index, job.config.seed) == (best.index[0], SEEDS[1])
    assert next_job(problem, table) is None
    other = table[(seeds == SEEDS[1]) & table["point"].isin(best.index)]
    apart = other.groupby("point")["val_acc"].max() - best
    noise = float(np.sqrt((apart**2 / 2).mean()))
    assert own(problem).noise == pytest.approx(noise) and noise < 0.05


def test_a_model_of_recorded_curves_never_falls_and_is_near_what_was_recorded(
    normed: Curves,
) -> None:
    table = curves_of(PROBLEMS[0]).query("ended == 'completed'")
    finals = table.groupby("config")["val_acc"].max()
    configs = [json.loads(text) for text in finals.index]
    curves = normed.truth(configs)
    assert (np.diff(curves, axis=1) >= -1e-9).all()
    assert np.corrcoef(curves[:, -1], finals)[0, 1] > 0.9
    assert normed.median < normed.best <= finals.max() + 1e-9


def test_a_model_is_trusted_by_points_that_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((96, 2))
    curves = np.outer(inputs[:, 0], [0.5, 1.0])
    explained, every, better = agreement(curves[:, -1], guessed(inputs, curves, folds=4))
    assert explained > 0.9 and every > 0.95 and better > 0.8
    noise = rng.random((96, 2))
    explained, every, better = agreement(noise[:, -1], guessed(inputs, noise, folds=4))
    assert explained < 0.1 and abs(every) < 0.3 and abs(better) < 0.4


def test_a_search_is_judged_by_what_its_incumbent_really_is_and_the_same_twice(
    normed: Curves,
) -> None:
    first = search_once(normed, "random + plain asha", 8, seed=3)
    assert first == search_once(normed, "random + plain asha", 8, seed=3)
    assert first != search_once(normed, "random + plain asha", 8, seed=4)
    looks = [first[f"regret_{look}"] for look in LOOKS]
    assert all(regret >= 0 for regret in looks) and looks[-1] < 1.0
    assert first["trials"] > 16, "most trials are stopped early"


def small() -> Curves:
    """A problem of two numbers and no choices: the nearer to 0.01, the better."""
    ranges = (Parameter(name="lr", low=1e-4, high=0.1, log=True),
              Parameter(name="dropout", low=0.0, high=0.9))  # fmt: skip
    space = Space(name="small", parameters=ranges, fixed={"optimizer": "sgd"})

    def truth(configs: Any) -> Any:
        last = np.array([0.9 - abs(np.log10(c["lr"]) + 2) / 4 - c["dropout"] / 4 for c in configs])
        return last[:, None] * np.linspace(0.5, 1.0, 9)

    return Curves("small", TUNING, space, 9, truth, 0.9, 0.6)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(n, marks=() if n in OPTUNA_PEERS else pytest.mark.slow)
        for n in PEERS | freeze_thaw.BOTORCH_PEERS
    ],
)
def test_another_tools_search_is_judged_like_ours(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method in freeze_thaw.BOTORCH_PEERS:
        pytest.importorskip("botorch", reason=freeze_thaw.MISSING)
    elif method not in OPTUNA_PEERS:
        pytest.importorskip("syne_tune", reason=MISSING)
    if method == "syne tune: asha-cqr":
        pytest.importorskip("xgboost", reason=MISSING)
    monkeypatch.setattr(regret, "LOOKS", (1, 2))  # full trainings: their models are slow
    assert unknown([method]) == ""
    found = search_once(small(), method, 4, seed=0)
    assert found["regret_2"] >= 0 and found["trials"] >= 4


def test_a_method_that_is_not_here_is_refused_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "requirements-peers.txt" in unknown(["gp + asha", "syne tune: dehb"])
    assert "requirements-botorch.txt" in unknown([*freeze_thaw.BOTORCH_PEERS])
    assert "'random + plain asha'" in unknown(["another"])
