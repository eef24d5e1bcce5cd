"""The forest sampler asked and told through Optuna, as the search does."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import Parameter, Space, load_space
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms import forest
from vgg6.tuning.algorithms.forest import ForestSampler, expected_improvement, expected_scores

LENGTH = 8
EVEN = 12  # trials of a search whose first ten are spread evenly

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


def study_of(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=sampler)


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
    monkeypatch.setattr(forest, "EXPLORE", 0.0)  # the model alone
    ends = [search(ForestSampler(SPACE, seed, 40), 40, stop_at=2)[-10:] for seed in range(3)]
    chance = [search(optuna.samplers.RandomSampler(seed), 40)[-10:] for seed in range(3)]
    assert np.mean(ends) > 0.8 > np.mean(chance) + 0.2, (np.mean(ends), np.mean(chance))


def test_every_second_suggestion_or_so_is_none_of_the_models() -> None:
    study = study_of(ForestSampler(SPACE, 0, 40))
    kinds = []
    for _ in range(60):
        trial = study.ask()
        kinds.append(SPACE.suggest(trial)["activation"])
        trial.report(score := float(kinds[-1] == "gelu"), 1)
        study.tell(trial, score)
    late = kinds[10:]
    # The model would never go back: half of the rest are spread over four, 19 of 50 elsewhere.
    assert 8 <= sum(kind != "gelu" for kind in late) <= 30, late


@pytest.mark.parametrize(("known", "share"), [(20, 0.5), (99, 0.5), (100, 0.25), (400, 0.25)])
def test_half_as_many_suggestions_are_spread_evenly_once_a_hundred_trials_are_known(
    known: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler, chosen = ForestSampler(SPACE, 0, 1000), []
    study = study_of(sampler)
    rng = np.random.default_rng(0)
    study.add_trials([told(sampler.at(rng.random(5)), SPACE, rng.random()) for _ in range(known)])

    def most_improving(*_: Any) -> dict[str, Any]:  # the model itself is not of this test
        chosen.append(1)
        return sampler.at([0.5] * 5)

    monkeypatch.setattr(sampler, "_most_improving", most_improving)
    study.ask()
    asked = study.trials[-1]
    for _ in range(399):  # the same question, so that no more trials become known
        sampler.sample_relative(study, asked, {})
    assert abs(1 - len(chosen) / 400 - share) < 0.08, len(chosen)


@pytest.mark.parametrize("name", ["default", "wide", "study_grid"])
def test_every_suggestion_is_a_valid_configuration_of_the_space(name: str) -> None:
    space = load_space(name)
    study = study_of(ForestSampler(space, 3, 40))
    rng = np.random.default_rng(0)
    for _ in range(16):
        trial = study.ask()
        values = space.suggest(trial)
        config = TrialConfig.from_mapping(values)
        assert all(p.contains(values[p.name]) for p in space.parameters if p.active(values))
        assert trial.params == space.params_of(config.to_dict())
        assert trial.params == trial.relative_params, "nothing was left to chance"
        trial.report(score := float(rng.random()), 1)
        study.tell(trial, score)


def test_the_first_trials_are_spread_evenly_over_every_parameter() -> None:
    space = load_space("study_grid")
    sampler = ForestSampler(space, 5, 160)
    study = study_of(sampler)
    trials = []
    for _ in range(sampler.start):
        trials.append(trial := study.ask())
        space.suggest(trial)
        trial.report(0.5, 1)
        study.tell(trial, 0.5)
    assert sampler.start == 20
    for p in space.parameters:
        assert p.choices is not None
        counts = [sum(t.params[p.key] == c for t in trials) for c in p.choices]
        assert max(counts) - min(counts) <= 3, (p.name, counts)


def test_places_give_back_the_point_that_lies_there() -> None:
    sampler = ForestSampler(SPACE, 0, 40)
    rng = np.random.default_rng(1)
    for _ in range(50):
        params = sampler.at(rng.random(5))
        places = sampler.places(params)
        assert np.isnan(places).tolist() == [*[False] * 3, params["optimizer"] == "adam", False]
        again = sampler.at(np.nan_to_num(places))
        assert again.keys() == params.keys()
        assert all(again[k] == (pytest.approx(v) if "lr" in k or k == "momentum" else v)
                   for k, v in params.items())  # fmt: skip


def test_a_point_to_evaluate_is_left_as_it_is_and_what_it_leaves_open_is_drawn() -> None:
    study = study_of(ForestSampler(SPACE, 0, 40))
    study.enqueue_trial({"activation": "tanh", "optimizer": "adam"})
    trial = study.ask()
    values = SPACE.suggest(trial)
    assert (values["activation"], values["optimizer"]) == ("tanh", "adam")
    assert "momentum" not in values and 1e-5 <= values["lr"] <= 1e-2


def test_what_runs_unreported_is_believed_to_come_out_as_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forest, "EXPLORE", 0.0)
    fitted: list[int] = []
    fit = ForestSampler._fit
    monkeypatch.setattr(
        ForestSampler, "_fit", lambda self, x, y: (fitted.append(len(y)), fit(self, x, y))[1]
    )
    study = study_of(ForestSampler(SPACE, 0, EVEN))
    for _ in range(10):
        trial = study.ask()
        SPACE.suggest(trial)
        trial.report(worth(trial.params), 1)
        study.tell(trial, worth(trial.params))
    params = [SPACE.suggest(study.ask()) for _ in range(3)]
    assert fitted == [10, 10, 11, 10, 12], "without those that run, then with them"
    assert len({tuple(p.items()) for p in params}) == 3


def test_the_same_seed_suggests_the_same_and_another_seed_others() -> None:
    assert search(ForestSampler(SPACE, 1, EVEN), 14) == search(ForestSampler(SPACE, 1, EVEN), 14)
    assert search(ForestSampler(SPACE, 1, EVEN), 14) != search(ForestSampler(SPACE, 2, EVEN), 14)


def test_a_finite_space_is_not_asked_twice_for_one_point() -> None:
    space = Space(
        name="six",
        parameters=(
            Parameter(name="activation", choices=("relu", "gelu", "tanh")),
            Parameter(name="batch_size", choices=(64, 128)),
        ),
    )
    study = study_of(ForestSampler(space, 0, 8))
    for activation in ("relu", "gelu", "tanh"):
        for batch in (64, 128):
            if (activation, batch) != ("tanh", 64):
                study.add_trial(told({"activation": activation, "batch_size": batch}, space, 0.5))
    sampler = study.sampler
    assert isinstance(sampler, ForestSampler)
    sampler.start = 0
    trial = study.ask()
    assert space.suggest(trial) == {"activation": "tanh", "batch_size": 64}


def told(params: dict[str, Any], space: Space, score: float) -> FrozenTrial:
    trial = optuna.trial.FixedTrial(params)
    space.suggest(trial)
    return create_trial(
        params=params, distributions=trial.distributions, value=score,
        intermediate_values={LENGTH: score},
    )  # fmt: skip


def curve(state: TrialState, *scores: float, number: int, diverged: bool = False) -> FrozenTrial:
    trial = create_trial(
        state=state, value=scores[-1] if state == TrialState.COMPLETE else None,
        intermediate_values={i + 1: s for i, s in enumerate(scores)},
        constraints={"diverged": 1.0} if diverged else None,
    )  # fmt: skip
    trial.number = number
    return trial


def test_an_early_stopped_trial_counts_by_what_the_better_ones_gained_from_there() -> None:
    trials = [
        curve(TrialState.COMPLETE, 0.3, 0.5, 0.6, number=0),
        curve(TrialState.COMPLETE, 0.4, 0.6, 0.8, number=1),
        curve(TrialState.COMPLETE, 0.5, 0.7, 0.9, number=2),
        curve(TrialState.COMPLETE, 0.1, 0.1, 0.1, number=3),
        curve(TrialState.PRUNED, 0.2, number=4),
        curve(TrialState.RUNNING, 0.5, 0.65, number=5),
        curve(TrialState.PRUNED, 0.9, number=6, diverged=True),
        curve(TrialState.FAIL, 0.9, number=7),
        curve(TrialState.RUNNING, number=8),
    ]
    found = expected_scores(trials)
    # From the first epoch to the second the better half gained 0.2, 0.2 and 0.15: the median is
    # 0.2. From the second to the third it gained 0.1, 0.2 and 0.2: again 0.2.
    expected = {0: 0.6, 1: 0.8, 2: 0.9, 3: 0.1, 4: 0.6, 5: 0.85, 6: 0.1}
    assert found == pytest.approx(expected)


def test_expected_improvement_is_that_of_a_normal_variable() -> None:
    draws = np.random.default_rng(0).normal(0.4, 0.2, 400_000)
    sampled = np.maximum(draws - 0.5, 0.0).mean()
    found = expected_improvement(np.array([0.4, 0.7]), np.array([0.2, 0.0]), 0.5)
    assert found == pytest.approx([sampled, 0.2], rel=0.02)
