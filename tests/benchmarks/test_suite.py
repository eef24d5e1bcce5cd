"""The suite's problems: what is recorded of them, and searches that are judged on them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.suite.curves import Curves, own
from benchmarks.suite.problems import CLAIM, PROBLEMS, TUNING, Problem, jobs
from benchmarks.suite.record import FOLDER, curves_of
from benchmarks.suite.regret import LOOKS, search_once

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


def test_a_search_is_judged_by_what_its_incumbent_really_is_and_the_same_twice(
    normed: Curves,
) -> None:
    first = search_once(normed, "random + plain asha", 8, seed=3)
    assert first == search_once(normed, "random + plain asha", 8, seed=3)
    assert first != search_once(normed, "random + plain asha", 8, seed=4)
    looks = [first[f"regret_{look}"] for look in LOOKS]
    assert all(regret >= 0 for regret in looks) and looks[-1] < 1.0
    assert first["trials"] > 16, "most trials are stopped early"
