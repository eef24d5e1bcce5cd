"""What Optuna is told, driven through the same calls that Ray makes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from support.made.searchers import BASE, RUNGS, SMALL, make, play, row

from search_spaces import Parameter, Space, load_space
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms.promotion import compared_at
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.reported_keys import WHY_INFEASIBLE
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, PRUNED

ENDS = [
    ([0.2, 0.4, 0.5, 0.6], COMPLETED, TrialState.COMPLETE, 0.6),
    ([0.2, 0.3], PRUNED, TrialState.PRUNED, None),
    ([0.2], INFEASIBLE, TrialState.PRUNED, None),
    ([], INFEASIBLE, TrialState.PRUNED, None),
    ([0.3], FAILED, TrialState.FAIL, None),
]


def test_optuna_is_told_how_each_trial_really_ended(tmp_path: Path) -> None:
    searcher = make(tmp_path, load_space("default"), limit=len(ENDS))
    for number, (scores, state, _, _) in enumerate(ENDS):
        assert play(searcher, f"ray{number}", scores, state) == number
    trials = searcher.study.trials
    for trial, (scores, state, told, value) in zip(trials, ENDS, strict=True):
        assert trial.state == told
        assert trial.value == value or told == TrialState.PRUNED
        if state != FAILED:
            assert list(trial.intermediate_values.values()) == scores
        assert (sum(v for v in trial.constraints.values() if v > 0) > 0) == (state == INFEASIBLE)
    assert searcher.suggest("one more") == Searcher.FINISHED


def test_a_resumed_study_equals_the_one_that_was_never_stopped(tmp_path: Path) -> None:
    live = make(tmp_path, load_space("default"), limit=20)
    for number, (scores, state, _, _) in enumerate(ENDS):
        play(live, f"ray{number}", scores, state)
    running = live.suggest("unfinished")
    assert isinstance(running, dict)
    live.journal.write("epoch", **row(running["number"], 1, 0.25))
    live.on_trial_result("unfinished", row(running["number"], 1, 0.25))
    live.journal.close()

    again = make(tmp_path, load_space("default"), limit=20)
    assert len(again.study.trials) == len(live.study.trials)
    for a, b in zip(again.study.trials, live.study.trials, strict=True):
        assert (a.state, a.params, a.distributions) == (b.state, b.params, b.distributions)
        assert (a.value, a.intermediate_values) == (b.value, b.intermediate_values)
        assert a.constraints == b.constraints
    assert again.suggest("ray again") == running, "the unfinished trial comes first, unchanged"
    assert again.suggest("new")["number"] == len(ENDS) + 1  # type: ignore[index]


def test_points_come_first_and_are_not_repeated_after_a_resume(tmp_path: Path) -> None:
    space = load_space("default")
    first = make(tmp_path, space, limit=10)
    play(first, "a", [0.1], PRUNED)
    first.journal.close()
    second = make(tmp_path, space, limit=10)
    play(second, "b", [0.1], PRUNED)
    play(second, "c", [0.1], PRUNED)
    configs = [t.config for t in second.journal.history.trials.values()]
    for point, config in zip(space.points, configs, strict=False):
        assert config.to_dict().items() >= point.items()
    assert len({c.fingerprint for c in configs}) == 3


@pytest.mark.parametrize("kind", ["gp", "optuna"])
def test_the_same_seed_suggests_the_same_and_another_seed_others(tmp_path: Path, kind: str) -> None:
    def configs(folder: str, seed: int) -> list[TrialConfig]:
        journal = Journal(RunFolder(str(tmp_path / folder)))
        searcher = TruthfulSearcher(
            load_space("wide"), searcher=kind, seed=seed, base=BASE, limit=14, journal=journal,
            rungs=RUNGS,
        )  # fmt: skip
        for i in range(14):
            play(searcher, str(i), [0.1 + 0.01 * (i % 5)] * 4, COMPLETED)
        return [t.config for t in journal.history.trials.values()]

    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    assert configs("a", 1) == (same := configs("b", 1))
    assert configs("c", 2) != same


@pytest.mark.parametrize("kind", ["gp", "optuna", "random", "grid"])
def test_a_finite_space_is_walked_once_and_then_said_to_be_exhausted(
    tmp_path: Path, kind: str
) -> None:
    searcher = make(tmp_path, SMALL, limit=10, kind=kind)
    for i in range(4):
        play(searcher, str(i), [0.5] * 4, COMPLETED)
    assert searcher.suggest("fifth") == Searcher.FINISHED
    assert searcher.exhausted
    seen = {(t.config.activation, t.config.batch_size)
            for t in searcher.journal.history.trials.values()}  # fmt: skip
    assert len(seen) == 4


@pytest.mark.parametrize("kind", ["gp", "optuna", "random"])
def test_every_whole_number_of_a_range_is_found_before_a_space_is_given_up(
    tmp_path: Path, kind: str
) -> None:
    space = Space(name="whole", parameters=(Parameter(name="cutout", low=0, high=32),))
    assert space.size == math.inf
    searcher = make(tmp_path, space, limit=50, kind=kind)
    for i in range(33):
        play(searcher, str(i), [0.5] * 4, COMPLETED)
    assert searcher.suggest("one more") == Searcher.FINISHED and searcher.exhausted
    found = {t.config.cutout for t in searcher.journal.history.trials.values()}
    assert found == set(range(33))


def test_grid_takes_the_studys_35_rows_each_with_its_own_length(tmp_path: Path) -> None:
    journal = Journal(RunFolder(str(tmp_path)))
    searcher = TruthfulSearcher(
        load_space("study"), searcher="grid", seed=0, base={"epochs": 30, "seed": 42}, limit=35,
        journal=journal, rungs=compared_at(30, 1, 4.0),
    )  # fmt: skip
    for i in range(35):
        assert isinstance(searcher.suggest(str(i)), dict)
    configs = [t.config for t in journal.history.trials.values()]
    assert sum(c.epochs for c in configs) == 800
    assert {c.epochs for c in configs} == {10, 20, 30}
    assert searcher.suggest("36") == Searcher.FINISHED


@pytest.mark.parametrize("kind", ["gp", "optuna"])
def test_a_model_learns_from_pruned_and_infeasible_trials(tmp_path: Path, kind: str) -> None:
    """Where one activation is always pruned and one always diverges, the third is preferred."""
    space = Space(
        name="three",
        parameters=(
            Parameter(name="activation", choices=("relu", "gelu", "tanh")),
            Parameter(name="lr", low=1e-4, high=1e-1, log=True),
        ),
    )
    searcher = make(tmp_path, space, limit=60, kind=kind)
    chosen = []
    for i in range(60):
        number = len(searcher.journal.history.trials)
        assignment = searcher.suggest(str(i))
        assert isinstance(assignment, dict)
        activation = assignment["config"]["activation"]
        chosen.append(activation)
        if activation == "relu":
            last = {"epoch": 1, "best_val_acc": 0.0, WHY_INFEASIBLE: "nan"}
        elif activation == "gelu":
            last = row(number, 1, 0.1)
        else:
            score = 0.8 + 0.05 * math.log10(assignment["config"]["lr"])  # better at a higher rate
            searcher.on_trial_result(str(i), row(number, 1, score))
            last = row(number, 4, score)
        searcher.on_trial_complete(str(i), last)
    late = chosen[30:]
    # Ten of thirty by chance, with a standard deviation of 2.6.
    assert late.count("tanh") >= 15, late


def test_nothing_of_a_search_is_ever_unpickled(tmp_path: Path) -> None:
    searcher = make(tmp_path, SMALL, limit=2)
    play(searcher, "a", [0.5] * 4, COMPLETED)
    files = [p.name for p in tmp_path.iterdir()]
    assert files == ["journal.jsonl"]
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        json.loads(line)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_finite_space_too_large_to_list_goes_on_with_a_random_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = tuple(0.001 * i for i in range(1, 401))
    space = Space(
        name="large",
        parameters=tuple(Parameter(name=n, choices=rates) for n in ("lr", "weight_decay")),
        fixed={"optimizer": "adam"},
    )
    assert space.is_finite and space.size == math.inf
    always = {"lr": rates[0], "weight_decay": rates[0]}
    monkeypatch.setattr(
        "vgg6.tuning.algorithms.searcher.build_sampler",
        lambda *_: optuna.samplers.PartialFixedSampler(always, optuna.samplers.RandomSampler(0)),
    )
    searcher = make(tmp_path, space, limit=3)
    for i in range(3):
        assert isinstance(searcher.suggest(str(i)), dict)
    assert len({t.config.fingerprint for t in searcher.journal.history.trials.values()}) == 3
    assert not searcher.exhausted
