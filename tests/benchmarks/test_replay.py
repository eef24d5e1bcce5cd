"""Recorded curves, and the replay of real searchers and schedulers on them."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from support.made.curves import made_runs
from support.paths import ROOT

from benchmarks.machine import RESULTS
from benchmarks.quality import epochs_to_answer, live_and_replay
from benchmarks.quality.epochs_to_answer import (
    BUDGETS,
    censored_at,
    judge,
    median_interval,
    table_row,
    worse_budgets,
)
from benchmarks.replay import plan, record
from benchmarks.replay.curve_files import ABOUT, read_curves, write_curves
from benchmarks.replay.deciders import Ours, StockRay
from benchmarks.replay.methods import METHODS
from benchmarks.replay.recorded import Noise, Table, draw, final, key_of, runs_of
from benchmarks.replay.search_files import read_searches, write_searches
from benchmarks.replay.simulator import Conditions, Curve, Moment, Start, Trace, Verdict, replay
from benchmarks.replay.surrogate import GP_MODEL, Surrogate
from search_spaces import load_space
from vgg6.config import TrialConfig
from vgg6.data import load_source, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PAUSED, PRUNED

EPOCHS = plan.EPOCHS


@pytest.fixture(scope="module")
def grid() -> Table:
    runs = made_runs(230)
    noise = Noise(runs_of(runs[runs["space"] == "default"]))
    return Table(load_space("study_grid"), runs_of(runs[runs["space"] == "study_grid"]), noise)


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    runs = runs_of(made_runs(120).query("space == 'default'"))
    return Surrogate(load_space("default"), runs, Noise(runs))


def test_every_beginning_of_the_plan_is_spread_over_both_spaces_and_the_grids_factors() -> None:
    jobs = plan.jobs()
    assert len({(j.space, j.config.fingerprint) for j in jobs}) == len(jobs)
    head = [job for job in jobs if job.space == "study_grid"][:45]
    for factor in ("activation", "optimizer", "batch_size", "lr"):
        counts = Counter(getattr(job.config, factor) for job in head).values()
        assert max(counts) - min(counts) <= 1, factor
    tenth = Counter(job.space for job in jobs[:50])
    assert tenth == {"study_grid": 15, "default": 35}
    space = load_space("default")
    rates = [j.config.lr for j in jobs if j.space == "default" and j.config.optimizer == "sgd"]
    assert len(set(rates)) > 8 and all(3e-3 <= lr <= 0.2 for lr in rates)
    assert [plan.jobs()[i].config for i in (1, 2)] == [
        TrialConfig.from_mapping({**point, "epochs": EPOCHS, "seed": 42}) for point in space.points
    ]


def test_a_table_says_what_it_measured_and_gives_back_what_was_written(tmp_path: Path) -> None:
    runs = made_runs(12)
    write_curves("default", "quarter", runs, tmp_path)
    again = read_curves("default", "quarter", tmp_path)
    assert len(again) == len(runs)
    np.testing.assert_allclose(again["val_acc"], runs["val_acc"], atol=1e-6)
    metadata = pq.read_schema(tmp_path / "quarter" / "default.parquet").metadata
    assert {k.encode() for k in ABOUT} <= metadata.keys()
    assert read_curves("study_grid", "quarter", tmp_path).empty


def test_replayed_searches_are_kept_with_their_seeds_misses_and_regrets(tmp_path: Path) -> None:
    def sample(epochs: int | None, budget: int) -> dict[str, Any]:
        regret = [0.1 / (1 + n) for n in range(len(BUDGETS))]
        return {"epochs": epochs, "time": epochs and epochs / 4, "trials": 9, "regret": regret,
                "budget": budget}  # fmt: skip

    samples = {
        "forest + asha": {"1": [sample(100, 600), sample(None, 2400)], "4": [sample(70, 600)]},
        "grid": {"1": [sample(None, 600)]},
    }
    file = tmp_path / "made" / "searches.parquet"
    write_searches(file, samples, BUDGETS, machine={"cpu": "made"}, curves={"best": 0.7})
    assert read_searches(file) == (samples, {"best": 0.7})
    table = pd.read_parquet(file)
    assert len(table) == 4 and table["epochs"].isna().sum() == 2
    assert table.columns.tolist() == [
        "method", "workers", "seed", "epochs", "time", "trials", "regret", "budget"
    ]  # fmt: skip


def test_the_kept_searches_have_the_figures_of_the_table_that_is_printed() -> None:
    (file,) = (RESULTS / "epochs_to_answer" / "default-quarter").iterdir()
    samples, curves = read_searches(file)
    assert curves["points"] == 80
    rows = {
        (method, workers): table_row(method, int(workers), cell).split("  ")
        for method, cells in samples.items()
        for workers, cell in cells.items()
    }
    found = [" ".join(rows["forest + asha, points first", n][1:]).split() for n in ("1", "64")]
    assert found == [
        ["1", "219", "178", "to", "255", "1"], ["64", "821", "771", "to", "932", "0"]
    ]  # fmt: skip


def test_a_recorded_network_of_full_width_begins_as_a_trials_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = split(load_source("digits"), limit_train=300)
    monkeypatch.setattr(record, "_data", data, raising=False)
    runtime, config = Runtime.resolve("cpu", "fp32", 1), plan.jobs()[1].config
    own = TrainState(config, runtime).model.state_dict()
    full = TrainState(config, runtime, record.fresh(config, "full", runtime)).model.state_dict()
    assert all(torch.equal(own[name], full[name]) for name in own)
    quarter = record.fresh(config, "quarter", runtime)
    assert quarter.widths == plan.widths("quarter") == (16, 16, 32, 32, 64, 128)


@pytest.mark.parametrize("width", plan.SHARES)
def test_what_is_committed_is_whole(width: str) -> None:
    """One row a (run, epoch), from the first epoch on, of the plan's own configurations."""
    planned = {key_of(job.config.to_dict()) for job in plan.jobs()}
    for space in ("study_grid", "default"):
        table = read_curves(space, width)
        assert not table.duplicated(["config", "epoch"]).any()
        for run in runs_of(table):
            assert key_of(run.config) in planned
            assert run.known == EPOCHS or run.ended in ("dead", "diverged")
            assert run.scores.shape == (EPOCHS, 4) and np.isfinite(run.scores).all()
            assert run.scores[:, 0].min() >= 0 and run.scores[:, 0].max() <= 1


class Scripted:
    """Asks for ``trials`` trials and stops or pauses each after the epoch that it is given."""

    def __init__(self, trials: int, verdicts: dict[tuple[int, int], Verdict]) -> None:
        self.left, self.verdicts = list(range(trials)), verdicts
        self.paused: list[int] = []
        self.ends: list[tuple[int, str]] = []

    def ask(self) -> Start | None:
        if self.left:
            return Start(self.left.pop(0), {})
        return Start(self.paused.pop(0), {}) if self.paused else None

    def report(self, number: int, row: dict[str, Any]) -> Verdict:
        verdict = self.verdicts.get((number, row["epoch"]), "go on")
        if verdict == "pause":
            self.paused.append(number)
        return verdict

    def end(self, number: int, row: dict[str, Any] | None, state: str) -> None:
        self.ends.append((number, state))


def rows(count: int) -> list[dict[str, Any]]:
    return [{"epoch": e, "best_val_acc": e / 10} for e in range(1, count + 1)]


def play(decider: Scripted, workers: int = 1, epochs: int = 4, **more: Any) -> Trace:
    conditions = Conditions(workers=workers, **more)
    return replay(
        decider, lambda n, c: Curve(rows(epochs), False), conditions, np.random.default_rng(0),
        epochs=epochs, budget=1000,
    )  # fmt: skip


def test_the_clock_charges_every_epoch_once_and_workers_share_the_time() -> None:
    one, four = play(Scripted(8, {})), play(Scripted(8, {}), workers=4)
    assert one.charged == four.charged == 32
    assert one.time == 32.0 and four.time == 8.0
    started = play(Scripted(8, {}), startup=0.5)
    assert started.time == 32 + 8 * 0.5 and started.charged == 32


def test_a_stopped_trial_frees_its_worker_and_a_paused_one_goes_on_where_it_was() -> None:
    stopped = Scripted(2, {(0, 1): "stop"})
    trace = play(stopped)
    assert trace.charged == 5 and stopped.ends == [(0, "pruned"), (1, "completed")]
    paused = Scripted(2, {(0, 2): "pause"})
    trace = play(paused)
    assert trace.charged == 8 and paused.ends == [(1, "completed"), (0, "completed")]
    assert [m.row["epoch"] for m in trace.moments if m.number == 0] == [1, 2, 3, 4]


def test_a_diverging_trial_is_charged_the_epoch_in_which_it_diverges() -> None:
    decider = Scripted(1, {})
    trace = replay(
        decider, lambda n, c: Curve(rows(2), True), Conditions(), np.random.default_rng(0),
        epochs=4, budget=100,
    )  # fmt: skip
    assert trace.charged == 3 and len(trace.moments) == 2
    assert decider.ends == [(0, "infeasible")]


def test_a_dead_workers_epoch_is_charged_and_trained_again() -> None:
    trace = play(Scripted(20, {}), failures=0.2)
    assert trace.charged > 20 * 4 * 1.1
    assert Counter(m.row["epoch"] for m in trace.moments) == dict.fromkeys(range(1, 5), 20)


def test_stragglers_finish_later_and_cost_no_more_epochs() -> None:
    even, uneven = play(Scripted(16, {}), workers=4), play(Scripted(16, {}), 4, stragglers=0.5)
    assert uneven.charged == even.charged and uneven.time != even.time


@pytest.mark.parametrize("scheduler", ["asha", "asha-stop"])
def test_a_replay_drives_the_live_searcher_and_scheduler_and_tells_them_the_truth(
    grid: Table, scheduler: str
) -> None:
    decider = Ours(
        grid.space, searcher="optuna", scheduler=scheduler, seed=3, trials=40, epochs=EPOCHS,
        allowed=grid.allowed,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    trace = replay(
        decider, lambda n, c: draw(grid, c, rng), Conditions(workers=4), rng, epochs=EPOCHS,
        budget=10_000,
    )  # fmt: skip
    assert all(grid.allowed(config) for config in trace.configs.values())
    assert len({key_of(c) for c in trace.configs.values()}) == 40, "no configuration twice"
    assert trace.charged < 40 * EPOCHS / 2, "ASHA stopped most"
    history = decider.journal.history
    assert len(history.arrivals) == len(trace.moments)
    told = {t.number: t.state.name for t in decider.searcher.study.get_trials(deepcopy=False)}
    states = Counter(trace.states.values())
    counts = Counter(told.values())
    waited = states["pruned"] + states["paused"]
    assert waited == counts["PRUNED"] + counts["RUNNING"] - states["infeasible"] > 0
    assert (states["paused"] > 0) == (scheduler == "asha") >= (counts["RUNNING"] > 0)
    assert states["completed"] == counts["COMPLETE"] > 0
    assert {r.state for r in history.trials.values()} <= {COMPLETED, PRUNED, INFEASIBLE, PAUSED}


def test_the_same_seed_replays_to_the_same_search(surrogate: Surrogate) -> None:
    def once(seed: int) -> list[tuple[float, int, float]]:
        rng = np.random.default_rng(seed)
        decider = METHODS["tpe + asha"](surrogate, seed=seed, trials=30, epochs=EPOCHS)
        trace = replay(
            decider, lambda n, c: draw(surrogate, c, rng), Conditions(workers=3), rng,
            epochs=EPOCHS, budget=150,
        )  # fmt: skip
        return [(m.time, m.number, m.row["best_val_acc"]) for m in trace.moments]

    assert once(1) == once(1) != once(2)


def test_stock_rays_searcher_hears_a_stopped_trials_score_as_final(grid: Table) -> None:
    decider = StockRay(grid.space, seed=0, trials=20, epochs=EPOCHS, allowed=grid.allowed)
    rng = np.random.default_rng(0)
    trace = replay(
        decider, lambda n, c: draw(grid, c, rng), Conditions(workers=2), rng, epochs=EPOCHS,
        budget=10_000,
    )  # fmt: skip
    assert len(trace.configs) == 20 and all(grid.allowed(c) for c in trace.configs.values())
    assert Counter(trace.states.values())["pruned"] > 5
    assert decider.search._ot_study is not None
    told = Counter(t.state.name for t in decider.search._ot_study.trials)
    assert told["COMPLETE"] == 20 and told["PRUNED"] == 0


def test_noise_has_the_spread_of_the_recorded_seeds(surrogate: Surrogate) -> None:
    noise = surrogate.noise
    assert noise.points >= 3 and 0.003 < noise.floor < 0.015  # made up with 0.01 an epoch
    config = surrogate.space.points[0] | {"epochs": EPOCHS, "seed": 42}
    whole = TrialConfig.from_mapping(config).to_dict()
    rng = np.random.default_rng(0)
    ends = [draw(surrogate, whole, rng).rows[-1]["val_acc"] for _ in range(300)]
    # This very point was recorded with all seeds: its own spread, and nobody else's.
    mean = surrogate.mean(whole)[0]
    near = min(range(noise.points), key=lambda i: np.abs(noise.means[i] - mean).sum())
    np.testing.assert_allclose(noise.means[near], mean, atol=1e-6)
    last = noise.residuals[near][:, -1, 0]
    assert {round(e - mean[-1, 0], 6) for e in ends} == {round(float(r), 6) for r in last}
    flat = np.tile([0.1, 2.3, 0.1, 2.3], (EPOCHS, 1))
    assert (noise.add(flat, rng) == flat).all(), "a curve at chance has no noise"


def test_a_surrogate_is_exact_where_it_was_recorded_and_between_elsewhere(
    surrogate: Surrogate,
) -> None:
    for inputs, recorded in zip(surrogate.inputs[:5], surrogate.curves, strict=False):
        ((scores, _),) = surrogate._predict(surrogate._model, inputs[None])
        np.testing.assert_allclose(scores, recorded, atol=1e-6)
    ends = [final(scores) for scores in surrogate.curves]
    space = surrogate.space
    for point in plan.sobol_points(space, 64)[-8:]:
        config = TrialConfig.from_mapping({**point, "epochs": EPOCHS, "seed": 42}).to_dict()
        assert min(ends) <= final(surrogate.mean(config)[0]) <= max(ends)
    errors = surrogate.cross_validate()
    assert errors["points"] == len(ends) > 40
    assert errors["mae"] < 0.1 and errors["rank_correlation"] > 0.4


def test_a_gaussian_process_passes_through_the_recorded_points_and_differs_between_them(
    surrogate: Surrogate,
) -> None:
    runs = runs_of(made_runs(120).query("space == 'default'"))
    process = Surrogate(surrogate.space, runs, surrogate.noise, GP_MODEL)
    for inputs, recorded in zip(process.inputs[:5], process.curves, strict=False):
        ((scores, _),) = process._predict(process._model, inputs[None])
        np.testing.assert_allclose(scores, recorded, atol=0.01)
    point = plan.sobol_points(process.space, 256)[-1]
    config = TrialConfig.from_mapping({**point, "epochs": EPOCHS, "seed": 42}).to_dict()
    one, other = (final(model.mean(config)[0]) for model in (surrogate, process))
    assert 0.0 < abs(one - other) < 0.3, (one, other)


def test_trees_that_are_summed_directly_give_the_forests_own_prediction(
    surrogate: Surrogate,
) -> None:
    between = (surrogate.inputs[:20] + surrogate.inputs[20:40]) / 2
    expected = surrogate._model.predict(between)
    np.testing.assert_array_equal(surrogate._scores(surrogate._model, between), expected)


def test_a_search_without_its_answer_is_replayed_further_as_the_same_search(grid: Table) -> None:
    def search(budget: int, before: dict[str, Any] | None = None) -> dict[str, Any]:
        method, conditions = METHODS["random"], Conditions(workers=2)
        return epochs_to_answer.replay_until_answered(grid, method, conditions, 0, budget, before)

    whole = search(600)
    short = search(whole["epochs"] - 1)
    assert short["epochs"] is None and short["budget"] == whole["epochs"] - 1
    seen = sum(n < whole["epochs"] for n in BUDGETS)
    assert short["regret"][:seen] == whole["regret"][:seen]
    further = search(600, short)
    assert further["epochs"] == whole["epochs"] <= further["budget"]
    assert search(600, whole) is whole, "it had its answer"
    assert censored_at([whole, short]) == short["budget"]
    assert math.isinf(censored_at([whole]))


def test_a_search_that_ends_with_its_answer_is_judged_as_a_longer_one(grid: Table) -> None:
    found = epochs_to_answer.replay_search(
        grid, METHODS["random"], Conditions(workers=2), 0, 2 * BUDGETS[-1]
    )
    assert found["epochs"] < BUDGETS[-1], "it goes on beyond its answer"
    rng = np.random.default_rng([0, 2])
    decider = METHODS["random"](grid, seed=0, trials=epochs_to_answer.MOST_TRIALS, epochs=EPOCHS)
    longer = replay(
        decider, lambda number, config: draw(grid, config, rng), Conditions(workers=2), rng,
        epochs=EPOCHS, budget=2 * BUDGETS[-1],
    )  # fmt: skip
    whole = judge(grid, longer)
    assert longer.charged > BUDGETS[-1]
    assert {k: found[k] for k in ("epochs", "time", "regret")} == {
        k: whole[k] for k in ("epochs", "time", "regret")
    }


def test_a_search_has_its_answer_when_truth_and_report_are_both_there(grid: Table) -> None:
    best = max(grid.points.values(), key=lambda group: final(grid.mean(group[0].config)[0]))
    config = best[0].config
    curve = draw(grid, config, np.random.default_rng(1))
    trace = Trace(configs={0: config})
    for epoch, row in enumerate(curve.rows, start=1):
        trace.moments.append(Moment(float(epoch), epoch, 0, row))
    found = judge(grid, trace)
    enough = grid.best - grid.noise.floor
    first = next((e for e, r in enumerate(curve.rows, 1) if r["best_val_acc"] >= enough), None)
    assert found["epochs"] == first
    assert found["regret"][-1] == pytest.approx(0.0)
    late = Trace(configs={0: config})
    late.moments = [m._replace(charged=m.charged + BUDGETS[-1]) for m in trace.moments]
    found = judge(grid, late)
    assert found["epochs"] == first + BUDGETS[-1], "beyond the last budget that is looked at"
    assert found["regret"] == [grid.best] * len(BUDGETS), "there was nothing by then"


def test_a_search_is_worse_only_where_the_interval_of_the_difference_says_so() -> None:
    rng = np.random.default_rng(0)
    looks = len(BUDGETS)

    def searches(regret: float, noise: float) -> list[dict[str, Any]]:
        return [{"regret": list(regret + noise * rng.standard_normal(looks))} for _ in range(50)]

    assert worse_budgets(searches(0.05, 0.01), searches(0.03, 0.01)) == list(BUDGETS)
    assert worse_budgets(searches(0.03, 0.01), searches(0.05, 0.01)) == []
    assert len(worse_budgets(searches(0.03, 0.02), searches(0.03, 0.02))) < looks / 4


def test_misses_are_later_than_every_hit_in_a_median() -> None:
    middle, low, high = median_interval([10, 20, 30, None, None])
    assert middle == 30 and low <= 30 and math.isinf(high)
    assert math.isinf(median_interval([10, None, None])[0])
    assert median_interval([5.0] * 9) == (5.0, 5.0, 5.0)


@pytest.mark.slow
def test_a_replay_makes_every_decision_of_the_live_search_whose_curves_it_plays(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Conditions, ranges and points, of the smallest network.
    example = yaml.safe_load((ROOT / "search_spaces" / "example.yaml").read_text())
    space = tmp_path / "narrow.yaml"
    space.write_text(yaml.safe_dump(example | {"fixed": {"width": 0.125}}, sort_keys=False))
    smaller = {"DATA": "digits", "TRIALS": 14, "EPOCHS": 5, "IMAGES": 100, "SPACE": str(space)}
    for name, value in smaller.items():
        monkeypatch.setattr(live_and_replay, name, value)
    # One thread: two wait for each other where something else runs.
    monkeypatch.setitem(live_and_replay.SEARCHES, "gp", ("gp", "asha", 1, 1))
    assert said(*live_and_replay.search_arguments("gp", tmp_path))[0] == 0
    history = live_and_replay.run_live("gp", tmp_path)
    assert {t.state for t in history.trials.values()} >= {PRUNED, COMPLETED}
    data = split(load_source("digits"), limit_train=100)
    trace = live_and_replay.replay_live("gp", history, data, live_and_replay.epoch_seconds)
    found = live_and_replay.compare(history, trace)
    assert found["same configuration"] == found["same last epoch"] == found["same end"] == 14
    assert found["epochs live"] == found["epochs replayed"] and found["same incumbent"]
    rows = live_and_replay.EpochRows(
        next(t for t in history.trials.values() if t.state == PRUNED), data, threads=1
    )
    assert rows[4]["epoch"] == 5, "a trial that was stopped can be trained on"
