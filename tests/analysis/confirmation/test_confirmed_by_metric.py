"""A confirmation by another metric than accuracy: what wins, what it says, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.made.runs import made_run

from analysis.confirmation.confirmed_result import verdict
from analysis.confirmation.contest import conclude
from analysis.confirmation.intervals import pooled_means, shown_intervals
from analysis.confirmation.paired_scores import PairedScores
from analysis.confirmation.winner_rule import decide, standing
from analysis.winner.ranking import beats_chance, summary
from analysis.winner.render_ranking import render
from vgg6.common.checks import InputError
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, BALANCED_ACCURACY, VAL_LOSS, Metric
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.folder import CONFIRMATION
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, TrialRecord, scored

OTHERS = (BALANCED_ACCURACY, VAL_LOSS)


def concluded(metric: Metric, scores: dict[int, list[float]], search: float) -> Confirmation:
    """Of made-up runs over seeds 50 and on, whose trials scored ``search``."""
    history = History(metric=metric)

    def record(number: int, config: TrialConfig, score: float, **params: int) -> TrialRecord:
        known = dict.fromkeys(("train_loss", "train_acc", "lr"), 0.5)
        known |= {"val_acc": 0.5, "val_loss": 0.5, "val_balanced_acc": 0.5, "best_val_acc": 0.5}
        known |= {metric.column: score, metric.best_key: score}
        row = replace(scored(1, score, score, metric), seconds=1.0, **known)
        return TrialRecord(number, config, params, 0.0, {1: row}, COMPLETED, metric=metric)

    trials = []
    for candidate, own in scores.items():
        config = TrialConfig(epochs=1)
        trials.append(record(candidate, config, search))
        for seed, score in enumerate(own, 50):
            number = len(history.trials)
            run = replace(config, seed=seed)
            history.trials[number] = record(number, run, score, candidate=candidate, seed=seed)
    return conclude(history, trials, [50 + i for i in range(len(own))], images=5000)


def test_losses_are_compared_as_their_mirror_image_is() -> None:
    losses = {4: [0.52, 0.53, 0.51], 6: [0.95, 0.97, 0.93], 8: [0.525, 0.53, 0.512]}
    now = standing(losses, 3, 5000, metric=VAL_LOSS)
    assert now.alive == [4, 8] and now.behind[6][0] == 4
    assert now.behind[6][1].gap == pytest.approx(0.435)
    paired = PairedScores({c: losses[c] for c in now.alive}, 5000, VAL_LOSS)
    assert paired.order == [4, 8]
    assert decide(paired, {4: 2.0, 8: 1.0}, margin=0.1).winner == 8, "cheaper, and within 0.1 nats"
    assert decide(paired, {4: 2.0, 8: 1.0}, margin=0.0).winner == 4
    turned = {c: [1 - x for x in own] for c, own in losses.items()}
    assert standing(turned, 3, 5000).alive == now.alive, "as the accuracies that rank like this"


def test_one_seed_of_a_loss_drops_nobody_that_a_nat_may_separate() -> None:
    assert standing({4: [0.5], 6: [1.2]}, 3, 5000, metric=VAL_LOSS).alive == [4, 6]
    assert standing({4: [0.5], 6: [2.3]}, 3, 5000, metric=VAL_LOSS).alive == [4]


def test_a_mean_of_losses_may_lie_above_1_and_not_below_0() -> None:
    found = pooled_means({4: [2.0, 2.6], 6: [0.01, 0.9]}, 50, VAL_LOSS)
    assert found[4].high > 1 and found[6].low == 0
    assert pooled_means({4: [0.98, 0.9]}, 50, BALANCED_ACCURACY)[4].high == 1


@pytest.mark.parametrize("metric", OTHERS)
def test_what_is_concluded_names_the_metric_and_survives_its_file(metric: Metric) -> None:
    good, bad = (0.20, 0.60) if metric.lower_is_better else (0.80, 0.40)
    scores = {4: [bad, bad + 0.01, bad + 0.02], 6: [good + 0.02, good, good + 0.01]}
    optimistic = good - 0.05 if metric.lower_is_better else good + 0.05
    found = concluded(metric, scores, optimistic)
    assert found.winner == 6 and found.metric == metric.name
    best = "lowest" if metric.lower_is_better else "highest"
    assert f"trial 6 has the {best} mean {metric.label} over 3 fresh seeds" in found.why
    assert found.chosen.mean == pytest.approx(good + 0.01)
    assert found.chosen.optimism is not None and found.chosen.optimism > 0
    assert found.representative.result == pytest.approx(good + 0.01), "the run in the middle"
    assert [run.val_acc for run in found.chosen.runs] == [0.5] * 3, "which is no score here"
    assert found.candidates[0].trial == 6 and verdict(found.candidates[1], 6).startswith("at least")
    low, high = shown_intervals(found, 5000)[6]
    assert low is not None and high is not None and low < good + 0.01 < high
    again = read_record(Confirmation, json.loads(json.dumps(found.to_dict())))
    assert again == found


def test_a_recorded_score_outside_of_its_metric_is_refused() -> None:
    found = concluded(BALANCED_ACCURACY, {4: [0.5, 0.6], 6: [0.7, 0.8]}, 0.8).to_dict()
    found["candidates"][0]["search_score"] = 1.4
    with pytest.raises(InputError, match=r"candidates\[0\].search_score: 1.4 is not in \[0, 1\]"):
        read_record(Confirmation, found)
    found["metric"] = "f1"
    with pytest.raises(InputError, match="metric: 'f1' is not one of accuracy"):
        read_record(Confirmation, found)


def test_a_confirmation_by_another_metric_than_the_searchs_is_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path, 8, 2, metric=VAL_LOSS)
    read_search(run)
    found = concluded(ACCURACY, {0: [0.5, 0.6], 1: [0.7, 0.8]}, 0.8)
    run.write_json(CONFIRMATION, found.to_dict())
    with pytest.raises(InputError, match="metric: 'accuracy' is not what .*which is val_loss"):
        read_search(run)


def test_chance_is_each_metrics_own() -> None:
    # 3 classes: a third is right by chance, and the loss of equal shares is the logarithm of 3.
    assert not beats_chance(0.40, 41, 9, 3, BALANCED_ACCURACY)
    assert beats_chance(0.80, 41, 9, 3, BALANCED_ACCURACY)
    assert not beats_chance(1.09, 500, 9, 3, VAL_LOSS) and not beats_chance(
        2.0, 500, 9, 3, VAL_LOSS
    )
    assert beats_chance(0.6, 500, 9, 3, VAL_LOSS)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (BALANCED_ACCURACY, "guessing is right once in 10 whatever the sizes of the classes"),
        (VAL_LOSS, "guessing has a validation loss of 2.3026, and the lowest of 8 scores is"),
    ],
)
def test_a_search_at_chance_says_so_in_its_metric(
    tmp_path: Path, metric: Metric, said: str
) -> None:
    run = made_run(tmp_path, 4, 2, metric=metric)
    search = read_search(run)
    for trial in search.history.trials.values():
        trial.score = metric.chance(10)
    found = replace(summary(search, 5), epochs_run=8)
    assert not found.beats_chance and said in render(found).replace("\n", " ")
