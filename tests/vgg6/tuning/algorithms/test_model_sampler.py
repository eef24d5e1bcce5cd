"""The model's sampler asked and told through Optuna, as the search does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import Parameter, Space, load_space
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms import model_sampler
from vgg6.tuning.algorithms.model_sampler import (
    GATE,
    NEAR,
    START,
    ModelSampler,
    expected_improvement,
)
from vgg6.tuning.algorithms.rung_scores import population

LENGTH = 8
RUNGS = [1, 4, LENGTH]

# Two optimizers, of which each has its best learning rate at the same place of its own range.
SPACE = Space(
    name="two",
    parameters=(
        Parameter(name="activation", choices=("relu", "gelu", "tanh", "silu")),
        Parameter(name="optimizer", choices=("sgd", "adam")),
        Parameter(name="lr", low=1e-2, high=1.0, log=True, when={"optimizer": ("sgd",)}),
        Parameter(name="lr", low=1e-5, high=1e-2, log=True, when={"optimizer": ("adam",)}),
        Parameter(name="momentum", low=0.5, high=0.9, when={"optimizer": ("sgd",)}),
        Parameter(name="batch_size", low=32, high=256, step=32),
    ),
)


def worth(params: dict[str, Any]) -> float:
    """The score of a configuration of SPACE; the best is about 0.9."""
    sgd = params["optimizer"] == "sgd"
    key, low, high = ("lr[sgd]", 1e-2, 1.0) if sgd else ("lr[adam]", 1e-5, 1e-2)
    place = float(np.log(params[key] / low) / np.log(high / low))
    kind = {"relu": 0.0, "gelu": 0.3, "tanh": 0.1, "silu": 0.2}[params["activation"]]
    return 0.5 + kind - (place - 0.7) ** 2 + (0.0 if sgd else 0.1)


def numbered(trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
    return {trial.number: trial for trial in trials}


def study_of(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=sampler)


def run(study: optuna.Study, score: float | None = None, last: int = LENGTH) -> optuna.Trial:
    """Ask for a trial, and tell that it ran to epoch ``last``."""
    trial = study.ask()
    SPACE.suggest(trial)
    value = worth(trial.params) if score is None else score
    for epoch in range(1, last + 1):
        trial.report(value * (1 - 0.5**epoch), epoch)
    if last == LENGTH:
        study.tell(trial, value * (1 - 0.5**LENGTH))
    elif last:
        study.tell(trial, state=TrialState.PRUNED)
    return trial


def search(sampler: optuna.samplers.BaseSampler, trials: int, stop_at: int = LENGTH) -> list[float]:
    """Worths of a search's suggestions in turn; those of less than 0.6 are stopped early."""
    study, found = study_of(sampler), []
    for _ in range(trials):
        trial = study.ask()
        SPACE.suggest(trial)
        score = worth(trial.params)
        found.append(score)
        last = LENGTH if score >= 0.6 else stop_at
        for epoch in range(1, last + 1):
            trial.report(score * (1 - 0.5**epoch), epoch)
        if last == LENGTH:
            study.tell(trial, score * (1 - 0.5**LENGTH))
        else:
            study.tell(trial, state=TrialState.PRUNED)
    return found


def test_the_model_finds_what_random_sampling_does_not_though_most_trials_are_stopped_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_sampler, "RANDOM_SHARE", 0.0)  # the model alone
    found = [sorted(search(ModelSampler(SPACE, RUNGS, s), 40, 1)[-20:])[10:] for s in range(3)]
    chance = [sorted(search(optuna.samplers.RandomSampler(s), 40)[-20:])[10:] for s in range(3)]
    assert np.mean(found) > 0.85 > np.mean(chance) + 0.1, (np.mean(found), np.mean(chance))


@pytest.mark.parametrize("name", ["default", "wide", "study_grid"])
def test_every_suggestion_is_a_valid_configuration_of_the_space(name: str) -> None:
    space = load_space(name)
    sampler = ModelSampler(space, RUNGS, 3)
    study = study_of(sampler)
    rng = np.random.default_rng(0)
    for _ in range(18):
        trial = study.ask()
        values = space.suggest(trial)
        config = TrialConfig.from_mapping(values)
        assert all(p.contains(values[p.name]) for p in space.parameters if p.active(values))
        assert trial.params == space.params_of(config.to_dict())
        assert trial.params == trial.relative_params, "nothing was left to chance"
        score = float(rng.random())
        for epoch in RUNGS:
            trial.report(score, epoch)
        study.tell(trial, score)
    assert sampler.made > 1, "the model was asked"


LOG_STEPS = Space(
    name="log", parameters=(Parameter(name="batch_size", low=1, high=6, log=True),)
)  # of which 1 and 2 lie far apart


@pytest.mark.parametrize(
    "space",
    [*map(load_space, ("default", "study_grid", "wide")), SPACE, LOG_STEPS],
    ids=lambda space: space.name,
)  # fmt: skip
def test_inputs_of_many_points_are_those_of_each(space: Space) -> None:
    sampler = ModelSampler(space, RUNGS, 3)
    places = np.random.default_rng(0).random((30, len(sampler.space.names)))
    assert sampler.encoding.inputs_at(places) == pytest.approx(
        np.array([sampler.encoding.inputs(sampler.encoding.at(at)) for at in places])
    )


def test_the_first_trials_are_spread_evenly_over_every_parameter() -> None:
    space = load_space("study_grid")
    study = study_of(ModelSampler(space, RUNGS, 5))
    trials = []
    for _ in range(START):
        trials.append(trial := study.ask())
        space.suggest(trial)
        for epoch in RUNGS:
            trial.report(0.5, epoch)
        study.tell(trial, 0.5)
    for p in space.parameters:
        assert p.choices is not None
        counts = [sum(t.params[p.key] == c for t in trials) for c in p.choices]
        assert max(counts) - min(counts) <= 3, (p.name, counts)
    assert isinstance(study.sampler, ModelSampler) and study.sampler.made == 0


def test_a_third_of_the_suggestions_is_none_of_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = ModelSampler(SPACE, RUNGS, 0)
    study = study_of(sampler)
    for _ in range(START + 1):
        run(study)
    monkeypatch.setattr(model_sampler, "GATE", 1000.0)
    monkeypatch.setattr(sampler, "_most_improving", lambda *_: sampler.encoding.at([0.5] * 5))
    asked = study.trials[-1]
    before = sampler.made
    chosen = 0
    for _ in range(600):  # the same question
        sampler.sample_relative(study, asked, {})
        chosen += sampler.asked_model
    assert sampler.made - before == chosen
    assert abs(chosen / 600 - 2 / 3) < 0.06, chosen


def test_no_suggestion_is_the_models_before_a_trial_was_seen_above_the_first_rung() -> None:
    sampler = ModelSampler(SPACE, [1, 4, 16, 64], 0)
    study = study_of(sampler)
    for _ in range(30):
        run(study, last=1)
    assert sampler.made == 0
    trial = study.ask()
    SPACE.suggest(trial)
    for epoch in (1, 4):
        trial.report(0.5, epoch)
    for _ in range(30):
        run(study, last=1)
    assert sampler.made == GATE == 2, "two for the one that was"
    trial.report(0.6, 16)
    for _ in range(30):
        run(study, last=1)
    assert sampler.made == 4, "and two more now that it was seen at the next"
    resumed = ModelSampler(SPACE, [1, 4, 16, 64], 0, made=4)
    for _ in range(12):
        resumed.sample_relative(study, study.trials[-1], {})
    assert resumed.made == 4 and not resumed.asked_model


def test_points_that_are_evaluated_are_none_of_the_models() -> None:
    sampler = ModelSampler(SPACE, RUNGS, 0)
    study = study_of(sampler)
    for _ in range(START + 5):
        run(study)
    made = sampler.made
    study.enqueue_trial({"activation": "tanh", "optimizer": "adam"})
    trial = study.ask()
    values = SPACE.suggest(trial)
    assert (values["activation"], values["optimizer"]) == ("tanh", "adam")
    assert "momentum" not in values and 1e-5 <= values["lr"] <= 1e-2, "what is open is drawn"
    assert sampler.made == made > 0 and not sampler.asked_model


def test_places_give_back_the_point_that_lies_there() -> None:
    sampler = ModelSampler(SPACE, RUNGS, 0)
    rng = np.random.default_rng(1)
    for _ in range(50):
        params = sampler.encoding.at(rng.random(5))
        places = sampler.encoding.places(params)
        assert np.isnan(places).tolist() == [*[False] * 3, params["optimizer"] == "adam", False]
        again = sampler.encoding.at(np.nan_to_num(places))
        assert again.keys() == params.keys()
        assert all(again[k] == (pytest.approx(v) if "lr" in k or k == "momentum" else v)
                   for k, v in params.items())  # fmt: skip


def test_learning_rates_of_two_optimizers_lie_side_by_side_at_one_place() -> None:
    sampler = ModelSampler(SPACE, RUNGS, 0)
    sgd, adam = (sampler.encoding.at([0.1, kind, 0.7, 0.5, 0.2]) for kind in (0.1, 0.9))
    assert "lr[sgd]" in sgd and "lr[adam]" in adam
    one, other = sampler.encoding.inputs(sgd), sampler.encoding.inputs(adam)
    names = 4 + 2  # one-hot
    assert one[:4] == other[:4] and sorted(one[4:names]) == sorted(other[4:names]) == [0, 0.7]
    assert one[4:names] != other[4:names]
    assert one[names:] == pytest.approx(other[names:])
    assert other[names + 1] == 0.5, "momentum, which adam has not, lies in the middle"


def test_the_same_seed_suggests_the_same_and_another_seed_others() -> None:
    def found(seed: int) -> list[float]:
        return search(ModelSampler(SPACE, RUNGS, seed), 16)

    assert found(1) == found(1)
    assert found(1) != found(2)


def test_a_finite_space_is_not_asked_twice_for_one_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_sampler, "START", 1)
    monkeypatch.setattr(model_sampler, "RANDOM_SHARE", 0.0)
    space = Space(
        name="six",
        parameters=(
            Parameter(name="activation", choices=("relu", "gelu", "tanh")),
            Parameter(name="batch_size", choices=(64, 128)),
        ),
    )
    study = study_of(ModelSampler(space, RUNGS, 0))
    for activation in ("relu", "gelu", "tanh"):
        for batch in (64, 128):
            if (activation, batch) != ("tanh", 64):
                study.add_trial(told({"activation": activation, "batch_size": batch}, space, 0.5))
    trial = study.ask()
    assert space.suggest(trial) == {"activation": "tanh", "batch_size": 64}


def told(params: dict[str, Any], space: Space, score: float) -> FrozenTrial:
    trial = optuna.trial.FixedTrial(params)
    space.suggest(trial)
    return create_trial(
        params=params, distributions=trial.distributions, value=score,
        intermediate_values=dict.fromkeys(RUNGS, score),
    )  # fmt: skip


def test_workers_that_ask_side_by_side_are_sent_to_different_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_sampler, "RANDOM_SHARE", 0.0)
    study = study_of(ModelSampler(SPACE, RUNGS, 0))
    for _ in range(START):
        run(study)
    together = [run(study, last=0).params for _ in range(4)]
    assert len({tuple(p.items()) for p in together}) == 4


def test_the_model_does_not_suggest_again_what_waits_at_a_rung(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Away by more than nothing: what the model likes best is what has just been paused."""

    def away(near: float) -> list[float]:
        monkeypatch.setattr(model_sampler, "NEAR", near)
        sampler = ModelSampler(SPACE, RUNGS, 0)
        study, found = study_of(sampler), []
        for _ in range(START):
            run(study)
        for _ in range(12):
            early = [t for t in study.trials if LENGTH not in t.intermediate_values]
            waiting = [np.array(sampler.encoding.inputs(t.params)) for t in early]
            trial = study.ask()
            SPACE.suggest(trial)
            inputs = np.array([sampler.encoding.inputs(trial.params)])
            assert sampler.asked_model and sampler._process is not None
            found.append(
                float(sampler._process.apart(inputs, sampler._process.neighbours(waiting))[0])
            )
            trial.report(worth(trial.params) * 0.5, 1)
            study.tell(trial, state=TrialState.PRUNED)
        assert found[0] == np.inf, "all of the first ones were trained whole"
        return found

    monkeypatch.setattr(model_sampler, "RANDOM_SHARE", 0.0)
    assert min(away(NEAR)) >= NEAR > 0.05 > min(away(0.0))


def test_a_point_that_is_trained_whole_is_not_modelled_and_another_is() -> None:
    own = {"activation": "gelu", "optimizer": "sgd", "lr": 0.1, "momentum": 0.7, "batch_size": 64}
    space = replace(SPACE, points=(own, own | {"activation": "relu"}))
    params = [space.params_of(point) for point in space.points]
    sampler = ModelSampler(space, RUNGS, 0, whole=1)
    study = study_of(sampler)
    for point in params:
        study.enqueue_trial(point)
        assert run(study).params == point
    assert [list(seen) for seen in sampler._rung_scores(numbered(study.trials))] == [[1]] * len(
        RUNGS
    )
    every = ModelSampler(space, RUNGS, 0)._rung_scores(numbered(study.trials))
    assert [list(seen) for seen in every] == [[0, 1]] * len(RUNGS)


def curve(state: TrialState, scores: dict[int, float], number: int, diverged: bool = False) -> Any:
    trial = create_trial(
        state=state, value=0.5 if state == TrialState.COMPLETE else None,
        intermediate_values=scores, constraints={"diverged": 1.0} if diverged else None,
    )  # fmt: skip
    trial.number = number
    return trial


def test_scores_of_a_rung_are_of_those_that_were_there_and_a_diverged_trial_has_its_worst() -> None:
    trials = [
        curve(TrialState.COMPLETE, {1: 0.3, 2: 0.9, 4: 0.5, 8: 0.6}, 0),
        curve(TrialState.RUNNING, {1: 0.4, 3: 0.8}, 1),
        curve(TrialState.PRUNED, {1: 0.2, 4: 0.7}, 2),
        curve(TrialState.PRUNED, {1: 0.9, 3: 0.95}, 3, diverged=True),
        curve(TrialState.PRUNED, {}, 4, diverged=True),
        curve(TrialState.FAIL, {1: 0.9}, 5),
        curve(TrialState.RUNNING, {}, 6),
    ]
    found = ModelSampler(SPACE, RUNGS, 0)._rung_scores(numbered(trials))
    assert found == [{0: 0.3, 1: 0.4, 2: 0.2, 3: 0.9, 4: 0.2}, {0: 0.5, 2: 0.7, 3: 0.5}, {0: 0.6}]


def test_the_population_of_a_rung_is_told_from_those_that_were_selected_for_it() -> None:
    """Two thousand trials, of which the best eighth and of them the best eighth go on."""
    rng = np.random.default_rng(0)
    first = rng.normal(0.5, 0.1, 4000)
    second = 0.2 + 1.2 * first + rng.normal(0, 0.05, 4000)
    third = 0.1 + 0.9 * second + rng.normal(0, 0.02, 4000)
    passed = np.argsort(-first)[:500]
    on = passed[np.argsort(-second[passed])[:60]]
    scores = [dict(enumerate(first)), {n: second[n] for n in passed}, {n: third[n] for n in on}]
    means, spreads = population(scores)
    assert means == pytest.approx([x.mean() for x in (first, second, third)], abs=0.04)
    assert spreads == pytest.approx([x.std() for x in (first, second, third)], rel=0.15)
    assert np.mean(list(scores[2].values())) > third.mean() + 0.2, "else this would be no test"


def test_a_rung_that_hardly_anybody_has_reached_is_taken_to_spread_as_the_one_below() -> None:
    means, spreads = population([{0: 0.2, 1: 0.4, 2: 0.6}, {2: 0.7}, {}])
    assert means == pytest.approx([0.4, 0.5, 0.5])
    assert spreads == pytest.approx([np.std([0.2, 0.4, 0.6])] * 3)


def test_expected_improvement_is_that_of_a_normal_variable() -> None:
    draws = np.random.default_rng(0).normal(0.4, 0.2, 400_000)
    sampled = np.maximum(draws - 0.5, 0.0).mean()
    found = expected_improvement(np.array([0.4, 0.7]), np.array([0.2, 0.0]), 0.5)
    assert found == pytest.approx([sampled, 0.2], rel=0.02)
