"""What Optuna is told, driven through the same calls that Ray makes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search_spaces import Parameter, Space, load_space
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms.early_stopping import replay
from vgg6.tuning.algorithms.model_sampler import ModelSampler
from vgg6.tuning.algorithms.promotion import (
    NONE_SPARED,
    PromotionRule,
    Spared,
    compared_at,
)
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.algorithms.told_study import TOLD_BEST, TOLD_KEPT, TOLD_MOST, worth_telling
from vgg6.tuning.reported_keys import WHY_INFEASIBLE
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import (
    COMPLETED,
    FAILED,
    INFEASIBLE,
    METRICS,
    PAUSED,
    PRUNED,
    RUNNING,
)
from vgg6.tuning.session.trial_end import settle

BASE = {"epochs": 4, "seed": 1}
RUNGS = compared_at(4, 1, 4.0)
SMALL = Space(
    name="small",
    parameters=(
        Parameter(name="activation", choices=("relu", "gelu")),
        Parameter(name="batch_size", choices=(64, 128)),
    ),
)


def make(folder: Path, space: Space, *, limit: int, kind: str = "optuna") -> TruthfulSearcher:
    journal = Journal(RunFolder(str(folder)))
    journal.write("session", session=f"session_{len(journal.history.sessions) + 1}")
    return TruthfulSearcher(
        space, searcher=kind, seed=7, base=BASE, limit=limit, journal=journal, rungs=RUNGS
    )


def row(trial: int, epoch: int, score: float) -> dict[str, Any]:
    return {
        **dict.fromkeys(METRICS, score), "trial": trial, "epoch": epoch, "best_epoch": epoch,
    }  # fmt: skip


def play(searcher: TruthfulSearcher, ray_id: str, scores: list[float], state: str) -> int:
    """Report ``scores`` and end the trial as Ray does; the last one of a pruned trial reaches the
    searcher only through on_trial_complete."""
    assignment = searcher.suggest(ray_id)
    assert isinstance(assignment, dict)
    number = assignment["number"]
    for epoch, score in enumerate(scores, start=1):
        searcher.journal.write("epoch", **row(number, epoch, score))
        if epoch < len(scores) or state in (INFEASIBLE, FAILED):
            searcher.on_trial_result(ray_id, row(number, epoch, score))
    last: dict[str, Any] | None = row(number, len(scores), scores[-1]) if scores else None
    if state == INFEASIBLE:
        last = {"epoch": len(scores) + 1, "best_val_acc": 0.0, WHY_INFEASIBLE: "loss is nan"}
        searcher.on_trial_result(ray_id, last)
    searcher.on_trial_complete(ray_id, last, error=state == FAILED)
    searcher.journal.write("end", trial=number, state=state, reason="")
    return number


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


def test_a_long_history_is_thinned_to_the_good_trials_that_tpe_would_use_and_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = grow(tmp_path, TOLD_MOST, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setattr("vgg6.tuning.algorithms.told_study.TOLD_MOST", TOLD_MOST + 1)
    assert len(make(tmp_path, load_space("default"), limit=2000).study.trials) == TOLD_MOST
    monkeypatch.undo()
    thinned = make(tmp_path, load_space("default"), limit=2000)
    told = thinned.study.trials
    assert len(told) == TOLD_KEPT
    states = {t.state for t in told}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}, "crashed trials teach nothing"
    able = [t for t in whole.study.trials if t.state != TrialState.FAIL]
    for good in (1, 10, 25):
        expected, _ = _split_trials(whole.study, able, good)
        found, _ = _split_trials(thinned.study, told, good)
        assert [t.params for t in found] == [t.params for t in expected]
    # A uniform sample of the others: a third of them diverged, there and here.
    diverged = [sum(t.constraints.values()) > 0 for t in told]
    assert 0.2 < sum(diverged) / len(diverged) < 0.45


def grow(folder: Path, trials: int, monkeypatch: pytest.MonkeyPatch) -> TruthfulSearcher:
    """A searcher that was told ``trials`` random ends, and was never thinned."""
    monkeypatch.setattr("vgg6.tuning.algorithms.told_study.TOLD_MOST", 10**9)
    monkeypatch.setattr("vgg6.tuning.algorithms.told_study.TOLD_KEPT", 10**9)
    searcher = make(folder, load_space("default"), limit=trials, kind="random")
    scores = np.random.default_rng(0).random((trials, 4))
    for i, curve in enumerate(np.maximum.accumulate(scores, axis=1).tolist()):
        state = (COMPLETED, PRUNED, INFEASIBLE, FAILED, PRUNED, INFEASIBLE)[i % 6]
        play(searcher, f"ray{i}", curve if state == COMPLETED else curve[: 1 + i % 3], state)
    return searcher


@pytest.fixture
def few_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 ended trials a study keeps 15, the best five among them."""
    for name, count in (("TOLD_MOST", 30), ("TOLD_KEPT", 15), ("TOLD_BEST", 5)):
        monkeypatch.setattr(f"vgg6.tuning.algorithms.told_study.{name}", count)


@pytest.mark.usefixtures("few_told")
def test_running_trials_outlive_a_thinning_and_are_told_once(
    tmp_path: Path,
) -> None:
    searcher = make(tmp_path, load_space("default"), limit=100)
    long = searcher.suggest("long")
    assert isinstance(long, dict)
    searcher.journal.write("epoch", **row(long["number"], 1, 0.3))
    searcher.on_trial_result("long", row(long["number"], 1, 0.3))
    first = searcher.study
    for i in range(80):
        play(searcher, f"ray{i}", [0.1 + 0.001 * i] * 4, COMPLETED)
    assert searcher.study is not first
    assert len(searcher.study.trials) <= 31
    searcher.on_trial_result("long", row(long["number"], 2, 0.4))
    searcher.on_trial_complete("long", row(long["number"], 4, 0.9))
    best = searcher.study.best_trial
    assert (best.value, best.intermediate_values) == (0.9, {1: 0.3, 2: 0.4, 4: 0.9})
    assert best.params == searcher.journal.history.trials[long["number"]].params
    assert TrialState.RUNNING not in [t.state for t in searcher.study.trials]
    configs = [t.config for t in searcher.journal.history.trials.values()]
    assert len({c.fingerprint for c in configs}) == 81, "a forgotten trial is not run again"


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


@pytest.mark.usefixtures("few_told")
def test_the_model_is_asked_as_often_when_most_trials_are_forgotten(
    tmp_path: Path,
) -> None:
    searcher = make(tmp_path, load_space("default"), limit=200, kind="gp")
    for i in range(100):
        play(searcher, f"ray{i}", [0.1 + 0.001 * i] * 4, COMPLETED)
    resumed = make(tmp_path, load_space("default"), limit=200, kind="gp")
    for i in range(40):
        play(resumed, f"later{i}", [0.3 + 0.001 * i] * 4, COMPLETED)
    assert len(resumed.study.trials) <= 31
    trials = resumed.journal.history.trials
    for late in (range(60, 100), range(100, 140)):
        # Two thirds of forty, with a standard deviation of 3.
        assert sum(trials[number].by_model for number in late) >= 18


@pytest.mark.usefixtures("few_told")
def test_a_diverged_trial_counts_for_the_gate_as_it_did_before_it_was_forgotten(
    tmp_path: Path,
) -> None:
    live = make(tmp_path, load_space("default"), limit=200, kind="gp")
    for i in range(29):
        state = (COMPLETED, INFEASIBLE)[i % 2]
        play(live, f"ray{i}", [0.1 + 0.001 * i] * (4 if state == COMPLETED else 1 + i % 3), state)
    told = live.study.get_trials(deepcopy=False)
    known = make(tmp_path, load_space("default"), limit=200, kind="gp")
    play(known, "one more", [0.5], INFEASIBLE)
    thinned = make(tmp_path, load_space("default"), limit=200, kind="gp")
    assert len(thinned.study.trials) == 15 < len(told)

    def above(searcher: TruthfulSearcher) -> int:
        sampler = searcher.study.sampler
        assert isinstance(sampler, ModelSampler)
        scores = sampler._rung_scores({t.number: t for t in searcher.study.trials})
        return sampler.forgotten + sum(map(len, scores[1:]))

    assert above(thinned) == above(known)


def test_trials_of_an_earlier_length_take_no_place_of_the_best(tmp_path: Path) -> None:
    searcher = make(tmp_path, load_space("default"), limit=700, kind="random")
    for i in range(600):
        play(searcher, f"ray{i}", [0.001 * i] * 4, COMPLETED)
    records = list(searcher.journal.history.trials.values())
    for record in records[560:]:  # the forty best, of the earlier length
        record.config = replace(record.config, epochs=2)
    told = worth_telling(records, np.random.default_rng(0), lengths=(2,))
    best = {record.number for record in records[560 - TOLD_BEST : 560]}
    assert best <= {record.number for record in told}


def promoting(
    folder: Path,
    limit: int,
    kind: str = "random",
    trials: int = 0,
    spared: Spared = NONE_SPARED,
) -> TruthfulSearcher:
    """As ``make``, with trials that pause at the first epoch of four; a journal is settled."""
    journal = Journal(RunFolder(str(folder)))
    journal.write("session", session=f"session_{len(journal.history.sessions) + 1}")
    rule = PromotionRule(max_t=4, grace=1, reduction=4.0, trials=trials or limit, spared=spared)
    settle(RunFolder(str(folder)), journal, replay(rule, journal.history.arrivals), promotions=rule)
    return TruthfulSearcher(
        load_space("default"), searcher=kind, seed=7, base=BASE, limit=limit, journal=journal,
        rungs=RUNGS, rule=rule,
    )  # fmt: skip


def step(searcher: TruthfulSearcher, ray_id: str, number: int, epoch: int, score: float) -> None:
    """An epoch of a trial, in the order in which Ray tells it."""
    result = row(number, epoch, score)
    searcher.journal.write("epoch", **result)
    assert searcher.rule is not None
    if searcher.rule.stops(number, epoch, score):
        searcher.on_trial_complete(ray_id, result)
        if epoch == 4:
            searcher.rule.end(number)
            searcher.journal.write("end", trial=number, state=COMPLETED, reason="")
        else:
            searcher.journal.write("pause", trial=number)
    else:
        searcher.on_trial_result(ray_id, result)


def begin(searcher: TruthfulSearcher, ray_id: str) -> int:
    assignment = searcher.suggest(ray_id)
    assert isinstance(assignment, dict), assignment
    return int(assignment["number"])


def early(number: int) -> float:
    """The score after the first epoch: of twelve, the last one and the first two are best."""
    return {0: 0.91, 1: 0.9, 11: 0.95}.get(number, 0.5 - number / 1000)


def with_paused(searcher: TruthfulSearcher) -> None:
    """Eight trials that pass the first epoch and complete, then four that are paused there, of
    which the last one may go on."""
    for number in range(12):
        ray_id = f"ray{number}"
        assert begin(searcher, ray_id) == number
        step(searcher, ray_id, number, 1, early(number))
        for epoch in (2, 3, 4) if number < 8 else ():
            step(searcher, ray_id, number, epoch, 0.6 + number / 1000)


def test_a_paused_trial_stays_running_for_optuna_and_goes_on_when_it_is_promoted(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=30)
    with_paused(searcher)
    history = searcher.journal.history
    told = searcher.study.trials
    assert [t.state for t in told[:8]] == [TrialState.COMPLETE] * 8
    paused = [n for n, t in history.trials.items() if t.state == PAUSED]
    assert paused == [8, 9, 10, 11]
    assert all(told[n].state == TrialState.RUNNING for n in paused)
    assert all(told[n].intermediate_values == {1: early(n)} for n in paused)
    promoted = 11
    assert begin(searcher, "again") == promoted
    events = [json.loads(x) for x in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "promotion" and events[-1]["trial"] == promoted
    assert history.trials[promoted].state == RUNNING
    for epoch in (2, 3, 4):
        step(searcher, "again", promoted, epoch, 0.9)
    frozen = searcher.study.trials[promoted]
    assert (frozen.state, frozen.value) == (TrialState.COMPLETE, 0.9)
    assert frozen.intermediate_values == {1: 0.95, 2: 0.9, 3: 0.9, 4: 0.9}


def test_a_paused_trial_that_will_not_go_on_is_told_as_pruned_with_its_curve(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=30)
    with_paused(searcher)
    paused = [n for n, t in searcher.journal.history.trials.items() if t.state == PAUSED]
    lost = paused[0]
    assert searcher.rule is not None
    searcher.rule.end(lost)
    searcher.journal.write("end", trial=lost, state=PRUNED, reason="behind the others")
    begin(searcher, "next")
    frozen = searcher.study.trials[lost]
    assert frozen.state == TrialState.PRUNED
    assert frozen.intermediate_values == {1: early(lost)}
    others = [searcher.study.trials[n].state for n in paused[1:]]
    assert set(others) == {TrialState.RUNNING}
    begin(searcher, "it is told once")


@pytest.mark.parametrize("kind", ["gp", "optuna"])
def test_a_resumed_study_with_paused_and_promoted_trials_equals_the_one_never_stopped(
    tmp_path: Path, kind: str
) -> None:
    live = promoting(tmp_path, limit=30, kind=kind)
    with_paused(live)
    promoted, fresh = begin(live, "promoted"), begin(live, "fresh")
    step(live, "promoted", promoted, 2, 0.7)
    live.journal.close()
    paused = {n for n, t in live.journal.history.trials.items() if t.state == PAUSED}
    assert paused

    again = promoting(tmp_path, limit=30, kind=kind)
    assert live.rule is not None and again.rule is not None
    assert again.rule.by_hope() == live.rule.by_hope()
    assert again.rule.promotable() == live.rule.promotable()
    assert {n for n, t in again.journal.history.trials.items() if t.state == PAUSED} == paused
    assert len(again.study.trials) == len(live.study.trials)
    for a, b in zip(again.study.trials, live.study.trials, strict=True):
        assert (a.state, a.params, a.distributions) == (b.state, b.params, b.distributions)
        assert (a.value, a.intermediate_values) == (b.value, b.intermediate_values)
    assert again.study.trials[promoted].state == TrialState.RUNNING
    assert {begin(again, "a"), begin(again, "b")} == {promoted, fresh}, "unfinished ones first"


@pytest.mark.parametrize("state", [INFEASIBLE, FAILED])
def test_a_trial_that_was_promoted_and_lost_is_known_as_promoted_after_a_resume(
    tmp_path: Path, state: str
) -> None:
    live = promoting(tmp_path, limit=30)
    with_paused(live)
    assert begin(live, "promoted") == 11 and live.rule is not None
    live.rule.end(11)
    live.journal.write("end", trial=11, state=state, reason="lost before its next epoch")
    live.journal.close()
    again = promoting(tmp_path, limit=30)
    assert again.rule is not None
    assert again.rule._promoted == live.rule._promoted == {1: {11}}
    assert again.rule.by_hope() == live.rule.by_hope()


def test_a_search_waits_while_a_running_trial_may_let_a_paused_one_go_on_and_then_is_finished(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=13)
    with_paused(searcher)
    going = {}
    while isinstance(found := searcher.suggest(name := f"more{len(going)}"), dict):
        going[name] = int(found["number"])
    assert found is None, "what runs may change who is among the best"
    assert sorted(searcher.journal.history.trials) == list(range(13))
    assert not searcher.exhausted
    while going:
        name, number = going.popitem()
        record = searcher.journal.history.trials[number]
        while record.state == RUNNING:
            step(searcher, name, number, record.epoch + 1, 0.3)
        found = searcher.suggest(f"after {name}")
        if isinstance(found, dict):
            going[f"after {name}"] = int(found["number"])
        else:
            assert (found is None) == bool(going)
    assert found == Searcher.FINISHED
    assert any(t.state == PAUSED for t in searcher.journal.history.trials.values())


def test_when_no_trial_is_left_to_begin_the_best_paused_ones_go_on_until_three_are_whole(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=11)
    for number in range(11):
        assert begin(searcher, f"ray{number}") == number
        if number < 8:
            searcher.journal.write("epoch", **row(number, 1, 0.9))
            assert searcher.rule is not None and not searcher.rule.stops(number, 1, 0.9)
            searcher.on_trial_complete(f"ray{number}", None, error=True)
            searcher.rule.end(number)
            searcher.journal.write("end", trial=number, state=FAILED, reason="crash")
        else:
            step(searcher, f"ray{number}", number, 1, 0.1 + number / 100)
    assert searcher.rule is not None and searcher.rule.promotable() is None
    assert [begin(searcher, str(i)) for i in range(3)] == [10, 9, 8]
    assert searcher.suggest("no more") is None
    for i, number in enumerate((10, 9, 8)):
        for epoch in (2, 3, 4):
            step(searcher, str(i), number, epoch, 0.5)
    assert searcher.suggest("no more") == Searcher.FINISHED


def test_the_journal_says_which_trials_the_model_chose_and_a_resume_counts_them(
    tmp_path: Path,
) -> None:
    searcher = promoting(tmp_path, limit=60, kind="gp")
    for i in range(30):
        number = begin(searcher, str(i))
        record = searcher.journal.history.trials[number]
        while record.state == RUNNING:
            step(searcher, str(i), number, record.epoch + 1, 0.2 + 0.02 * (number % 7))
    chosen = [n for n, t in searcher.journal.history.trials.items() if t.by_model]
    sampler = searcher.study.sampler
    assert isinstance(sampler, ModelSampler) and sampler.made == len(chosen) > 3
    assert min(chosen) >= 10
    searcher.journal.close()
    again = promoting(tmp_path, limit=60, kind="gp").study.sampler
    assert isinstance(again, ModelSampler) and again.made == len(chosen)


def test_the_model_is_not_told_of_the_points_that_are_trained_whole_also_after_a_resume(
    tmp_path: Path,
) -> None:
    def modelled(searcher: TruthfulSearcher) -> list[int]:
        sampler = searcher.study.sampler
        assert isinstance(sampler, ModelSampler)
        return list(sampler._rung_scores({t.number: t for t in searcher.study.trials})[0])

    searcher = promoting(tmp_path, limit=60, kind="gp", spared=Spared(first=1))
    for i in range(3):
        number = begin(searcher, str(i))
        step(searcher, str(i), number, 1, 0.1)
    assert len(searcher.space.points) == 2, "the second one is judged, and modelled"
    assert modelled(searcher) == [1, 2]
    searcher.journal.close()
    assert modelled(promoting(tmp_path, limit=60, kind="gp", spared=Spared(first=1))) == [1, 2]
