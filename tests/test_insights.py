"""What mattered: constructed searches whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import made_run

from analysis.effects import CALLIPER, effects, match
from analysis.insights import (
    importance,
    infeasible,
    insights,
    interaction,
    render,
    saved,
    standing_of,
)
from vgg6.config import TrialConfig
from vgg6.tuning import journal as j

OPTIMIZERS = ("sgd", "adam", "nadam")


def trial(
    number: int, score: float, epochs: int = 1, full: int = 8, **config: Any
) -> j.TrialRecord:
    values = TrialConfig(epochs=full, **config).to_dict()
    rows = {
        e: {"val_acc": score, "best_val_acc": score, "best_epoch": 1, "seconds": 2.0}
        for e in range(1, epochs + 1)
    }
    state = j.COMPLETED if epochs == full else j.PRUNED
    return j.TrialRecord(number, values, {}, 0.0, rows, state)


def drawn(count: int, seed: int, score: Any) -> list[j.TrialRecord]:
    """Trials of random configurations, scored by ``score(config, noise)``."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        config = {
            "lr": float(10 ** draw.uniform(-4, -1)),
            "optimizer": str(draw.choice(OPTIMIZERS)),
            "activation": str(draw.choice(["relu", "gelu", "tanh"])),
            "batch_size": int(draw.choice([64, 128, 256])),
        }
        found.append(trial(number, float(score(config, draw.normal())), 8, **config))
    return found


def test_what_decides_alone_gets_nearly_all_the_importance() -> None:
    trials = drawn(150, 0, lambda c, noise: 0.8 - 0.1 * abs(np.log10(c["lr"]) + 2) + 0.002 * noise)
    found = importance(trials)
    assert found is not None
    first = next(iter(found["values"]))
    assert first == "lr" and found["values"]["lr"]["mean"] > 0.7
    assert found["fanova"]["lr"] > 0.7
    assert sum(row["mean"] for row in found["values"].values()) == pytest.approx(1)
    row = found["values"]["lr"]
    assert row["low"] <= row["mean"] <= row["high"] and row["low"] > 0.4


def test_too_few_trials_or_only_one_value_have_no_importance() -> None:
    assert importance(drawn(9, 0, lambda c, noise: 0.5 + 0.1 * noise)) is None
    assert importance([trial(n, 0.5) for n in range(20)]) is None


def test_a_hyperparameter_that_not_all_trials_have_is_named_as_left_out() -> None:
    trials = drawn(60, 1, lambda c, noise: 0.5 + 0.1 * noise)
    for t in trials:
        t.config["momentum"] = 0.9 if t.config["optimizer"] == "sgd" else None
    trials[0].config["momentum"] = 0.8
    found = importance(trials)
    assert found is not None and "momentum" in found["left_out"]
    assert "momentum" not in found["values"]


def test_trials_are_ordered_by_how_far_they_came_and_then_by_score() -> None:
    trials = [trial(0, 0.9, 1), trial(1, 0.5, 4), trial(2, 0.6, 4), trial(3, 0.1, 1)]
    assert list(np.argsort(standing_of(trials))) == [3, 0, 1, 2]


def test_an_interaction_is_found_where_there_is_one_and_not_where_there_is_none() -> None:
    best = {"sgd": -1.5, "adam": -3.0, "nadam": -3.2}
    with_it = drawn(
        200, 2, lambda c, n: 0.8 - 0.1 * abs(np.log10(c["lr"]) - best[c["optimizer"]]) + 0.005 * n
    )
    shift = {"sgd": 0.0, "adam": 0.05, "nadam": -0.05}
    without = drawn(
        200, 3, lambda c, n: 0.8 + 0.05 * np.log10(c["lr"]) + shift[c["optimizer"]] + 0.06 * n
    )
    found, none = interaction(with_it), interaction(without)
    assert found is not None and none is not None
    assert found["p"] < 0.01 and found["strength"] > 0.2
    assert none["p"] > 0.05 and none["strength"] < 0.05
    assert sum(map(sum, found["count"])) == 200
    cells = found["mean_val_acc"][found["optimizers"].index("sgd")]
    assert cells[-1] > cells[0], "sgd wants the large rates"


def test_a_known_effect_lies_in_its_interval_in_95_of_100_searches() -> None:
    held = rows = 0
    for seed in range(200):
        trials = drawn(
            60, 100 + seed,
            lambda c, n: 0.7 + 0.03 * (c["activation"] == "gelu") + 0.02 * n,
        )  # fmt: skip
        row = next(r for r in effects(trials, "activation") if r["value"] == "gelu")
        if row["difference"] is not None:
            rows += 1
            held += row["low"] <= 0.03 <= row["high"]
    assert rows > 190 and 0.90 <= held / rows <= 0.99


def test_pairs_are_compared_at_the_last_epoch_that_nearly_all_came_to() -> None:
    trials = []
    for n in range(12):
        activation = "gelu" if n % 2 else "relu"
        record = trial(n, 0.5, 8 if activation == "gelu" else 1, activation=activation)
        for epoch in range(2, record.epoch + 1):
            record.rows[epoch]["val_acc"] = 0.9
        trials.append(record)
    row = effects(trials, "activation")[0]
    assert (row["pairs"], row["difference"], row["epoch"]) == (6, 0.0, 1)


def test_the_survivors_of_a_rung_do_not_shrink_an_effect() -> None:
    differences = []
    for seed in range(30):
        trials = drawn(
            120, 900 + seed, lambda c, n: 0.6 + 0.1 * (c["activation"] == "gelu") + 0.1 * n
        )
        cut = sorted(t.rows[1]["val_acc"] for t in trials)[90]
        for t in trials:  # ASHA: one in four goes on
            if t.rows[1]["val_acc"] < cut:
                t.rows, t.epoch, t.state = {1: t.rows[1]}, 1, j.PRUNED
        row = next(r for r in effects(trials, "activation") if r["value"] == "gelu")
        differences.append(row["difference"])
    assert np.mean(differences) == pytest.approx(0.1, abs=0.012)


def test_trials_that_are_not_alike_are_not_paired() -> None:
    features = np.array([[0.0, 0.0], [1.0, 1.0], [0.05, 0.0], [0.9, 0.0]])
    numeric = np.array([True, True])
    assert CALLIPER < 0.4
    assert match(features, numeric, [0, 1], [2, 3]) == [(0, 2)]


def test_too_few_pairs_give_a_row_without_a_difference() -> None:
    trials = [trial(n, 0.5, activation="gelu" if n % 2 else "relu") for n in range(6)]
    row = effects(trials, "activation")[0]
    assert row["pairs"] == 3 and row["difference"] is None and row["low"] is None


def test_nothing_matters_where_scores_are_noise() -> None:
    wrong = 0
    for seed in range(20):
        found = interaction(drawn(80, 500 + seed, lambda c, n: 0.5 + 0.05 * n))
        assert found is not None
        wrong += found["p"] < 0.05
    assert wrong <= 4


def test_what_early_stopping_saved_counts_no_epoch_that_could_not_have_been_run() -> None:
    trials = [trial(0, 0.8, 8), trial(1, 0.5, 1), trial(2, 0.1, 2)]
    trials[2].state, trials[2].reason = j.INFEASIBLE, "training loss is nan at epoch 3, step 17"
    found = saved(trials)
    assert (found["epochs_run"], found["epochs_full"]) == (11, 18)
    assert found["share"] == pytest.approx(7 / 18) and found["seconds_saved"] == 14.0


def test_reasons_that_differ_in_their_numbers_are_one() -> None:
    trials = [trial(n, 0.5) for n in range(4)]
    for t in trials[:2]:
        t.state, t.reason = j.INFEASIBLE, f"training loss is nan at epoch {t.number + 1}"
    found = infeasible(trials)
    assert (found["count"], found["share"]) == (2, 0.5)
    assert found["reasons"] == [
        {"reason": "training loss is nan at epoch N", "count": 2, "trials": [0, 1]}
    ]


def test_all_of_it_is_found_in_a_run_folder_and_said(tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=120, epochs=8)
    found = insights(run)
    assert found["importance"] and found["interaction"]
    assert found["saved"]["epochs_run"] == len(j.read_history(run).arrivals)
    text = render(found)
    assert "Importance (PED-ANOVA" in text and "gelu against relu" in text
    assert "Diverged: " in text and "epoch N, step N" in text


def test_a_search_of_two_trials_is_answered_without_figures(tmp_path: Path) -> None:
    found = insights(made_run(tmp_path, trials=2, epochs=2))
    assert found["importance"] is None and found["interaction"] is None
    assert "too few trials" in render(found)
