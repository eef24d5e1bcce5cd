"""What README's table says of Ray Tune with Optuna as they come: seen in a run of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

EPOCHS = 4
GOOD, WORSE, DIVERGED = 9, 1, 2  # what the three trials get as their x


def trainable() -> Any:
    """Reports its x at every epoch. Made here, so that it travels whole: workers import no test."""

    def report_x(config: dict[str, Any]) -> None:
        for epoch in range(1, EPOCHS + 1):
            score = math.nan if config["x"] == DIVERGED else float(config["x"])
            tune.report({"score": score, "epoch": epoch})

    return report_x


@pytest.fixture(scope="module")
def plain(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """The folder, the searcher and the scheduler of three trials that have run, one at a time."""
    folder = tmp_path_factory.mktemp("plain")
    searcher = OptunaSearch(
        {"x": optuna.distributions.IntDistribution(0, 9)}, metric="score", mode="max",
        points_to_evaluate=[{"x": x} for x in (GOOD, WORSE, DIVERGED)],
    )  # fmt: skip
    scheduler = ASHAScheduler("epoch", "score", "max", EPOCHS, 1, 2)
    tuner = tune.Tuner(
        trainable(),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=scheduler, num_samples=3, max_concurrent_trials=1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="run", storage_path=str(folder), verbose=0),
    )  # fmt: skip
    tuner.fit()
    return folder / "run", searcher, scheduler


def test_optuna_takes_the_last_score_of_a_stopped_trial_for_a_final_one(plain: Any) -> None:
    trials = plain[1]._ot_study.trials
    stopped = next(t for t in trials if t.params["x"] == WORSE)
    assert (stopped.state, stopped.value) == (TrialState.COMPLETE, WORSE)
    assert max(stopped.intermediate_values, default=1) < EPOCHS, "it was stopped early"


def test_a_diverged_trial_runs_for_ever_in_optunas_study(plain: Any) -> None:
    trials = plain[1]._ot_study.trials
    (diverged,) = (t for t in trials if t.params["x"] == DIVERGED)
    assert diverged.state == TrialState.RUNNING


def test_a_restored_scheduler_has_forgotten_its_rungs(plain: Any) -> None:
    folder, _, scheduler = plain
    again = tune.Tuner.restore(str(folder), trainable())._local_tuner._tune_config.scheduler
    assert any(scores for _, scores in scheduler._brackets[0]._rungs)
    assert not any(scores for _, scores in again._brackets[0]._rungs)


def test_its_state_is_in_pickles(plain: Any) -> None:
    assert {path.name.split("-")[0] for path in plain[0].glob("*.pkl")} == {"searcher", "tuner.pkl"}


def test_a_crashed_trial_is_not_tried_again(plain: Any) -> None:
    assert tune.FailureConfig().max_failures == 0
