"""Other tools on made-up curves: each one decides by itself, and is told everything once."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from support.made.curves import quality

from benchmarks.replay import freeze_thaw
from benchmarks.replay.flat_space import FlatSpace
from benchmarks.replay.peers import (
    MISSING,
    OPTUNA_PEERS,
    PEERS,
    SYNE_TUNE_PEERS,
    OnOptuna,
    OnSyneTune,
)
from benchmarks.replay.recorded import Noise, config_of, draw
from benchmarks.replay.simulator import Conditions, Trace, replay
from search_spaces import load_space
from vgg6.config import TrialConfig

EPOCHS = 15


class Made:
    """Curves that rise to a formula's value, or fall where ``sign`` is -1; some optimizers diverge
    after so many epochs. Of a finite space one point in ``share`` is recorded."""

    def __init__(
        self, space: str = "default", *, sign: int = 1, diverging: dict[str, int] | None = None,
        share: int = 1,
    ) -> None:  # fmt: skip
        self.space, self.noise = load_space(space), Noise([])
        self.sign, self.diverging = sign, diverging or {}
        points = self.space.grid()[::share] if self.space.is_finite else []
        self.recorded = [config_of(p, EPOCHS) for p in points]

    def allowed(self, config: dict[str, Any]) -> bool:
        return not self.recorded or config in self.recorded

    def mean(self, config: dict[str, Any]) -> tuple[Any, int | None]:
        last = 0.5 + self.sign * (quality(TrialConfig.from_mapping(config)) - 0.5)
        column = last * np.linspace(0.5, 1.0, EPOCHS)
        return np.stack([column] * 4, axis=1), self.diverging.get(config["optimizer"])

    @property
    def best(self) -> float:
        return 0.75


def search(
    name: str, curves: Made, *, seed: int = 0, trials: int = 40, workers: int = 1, budget: int = 400
) -> tuple[Any, Trace]:
    """A replay of a peer; what is told to it is checked on the way."""
    decider = PEERS[name](curves, seed=seed, trials=trials, epochs=EPOCHS)
    rng = np.random.default_rng(seed)
    trace = replay(
        decider, lambda number, config: draw(curves, config, rng), Conditions(workers=workers), rng,
        epochs=EPOCHS, budget=budget,
    )  # fmt: skip
    assert all(curves.allowed(config) for config in trace.configs.values())
    return decider, trace


def epochs_of(trace: Trace) -> dict[int, list[int]]:
    told = defaultdict(list)
    for moment in trace.moments:
        told[moment.number].append(moment.row["epoch"])
    return told


def scores_of(trace: Trace) -> dict[int, list[float]]:
    """The reports of the trials that ended, in the order in which they began."""
    told = defaultdict(list)
    for moment in trace.moments:
        if trace.states[moment.number] != "running":
            told[moment.number].append(moment.row["best_val_acc"])
    return dict(sorted(told.items()))


def lengths(trace: Trace) -> Counter[int]:
    """How many of the trials that did not diverge or still run had how many epochs."""
    ended = {n for n, s in trace.states.items() if s not in ("running", "infeasible")}
    return Counter(max(epochs) for n, epochs in epochs_of(trace).items() if n in ended)


def common_start(name: str) -> tuple[int, int]:
    """How many first suggestions do not depend on what was told, and of how many."""
    configs = [
        list(search(name, Made(sign=sign), trials=25)[1].configs.values()) for sign in (1, -1)
    ]
    equal = [a == b for a, b in zip(*configs, strict=True)]
    return equal.index(False) if False in equal else len(equal), len(equal)


def test_a_flat_space_reads_a_rate_within_the_range_of_its_optimizer() -> None:
    flat = FlatSpace(load_space("default"))
    values = {"activation": "gelu", "batch_size": 64, "schedule": "cosine", "lr": 0.5,
              "momentum": 1.0, "weight_decay": 0.0}  # fmt: skip
    sgd = flat.suggest({**values, "optimizer": "sgd"})
    adam = flat.suggest({**values, "optimizer": "adam"})
    assert sgd["lr"] == pytest.approx((3e-3 * 0.2) ** 0.5) and sgd["momentum"] == 0.98
    assert adam["lr"] == pytest.approx((1e-4 * 3e-3) ** 0.5) and "momentum" not in adam
    assert sgd["batch_size"] == 64 and sgd["weight_decay"] == 1e-6
    assert set(flat.choices) == {*values, "optimizer"}


@pytest.mark.parametrize("space", ["study_grid", "default"])
@pytest.mark.parametrize("name", OPTUNA_PEERS)
def test_a_study_is_told_every_epoch_and_every_end_once(name: str, space: str) -> None:
    curves = Made(space, diverging={"adagrad": 0, "rmsprop": 2}, share=3)
    decider, trace = search(name, curves, trials=20, workers=4)
    assert isinstance(decider, OnOptuna) and len(trace.configs) == 20
    states = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED,
              "infeasible": TrialState.PRUNED, "running": TrialState.RUNNING}  # fmt: skip
    told = epochs_of(trace)
    for number, trial in enumerate(decider.trials):
        frozen = decider.study.trials[trial.number]
        assert frozen.state == states[trace.states[number]]
        assert list(frozen.intermediate_values) == told[number]
    refused = len(decider.study.trials) - len(decider.trials)
    states_of_study = Counter(t.state for t in decider.study.trials)
    assert states_of_study[TrialState.FAIL] == refused
    assert (refused > 0) == (space == "study_grid")  # two thirds of it are not recorded


def test_a_recorded_point_is_given_when_a_sampler_finds_none() -> None:
    curves = Made("study_grid", share=90)
    decider, trace = search("optuna: tpe + median", curves, trials=10)
    assert len(curves.recorded) == 2 and len(trace.configs) == 10
    assert len(decider.study.trials) <= 10 * (OnOptuna.TRIES + 1)
    assert any("fixed_params" in t.system_attrs for t in decider.study.trials)


def test_the_median_pruner_stops_what_is_below_the_median_of_five_or_more() -> None:
    _, trace = search("optuna: tpe + median", Made())
    completed: list[list[float]] = []
    for number, scores in scores_of(trace).items():
        for epoch, score in enumerate(scores[: EPOCHS - 1]):
            others = [other[epoch] for other in completed]
            below = len(others) >= 5 and score < np.median(others)
            assert below == (epoch == len(scores) - 1 and trace.states[number] == "pruned")
        completed += [scores] * (trace.states[number] == "completed")
    assert Counter(trace.states.values())["pruned"] > 5


def test_successive_halving_lets_the_best_quarter_past_its_rungs() -> None:
    _, trace = search("optuna: tpe + successive halving", Made(), trials=60)
    assert set(lengths(trace)) == {1, 4, 15}
    for rung in (1, 4):
        seen: list[float] = []
        for scores in scores_of(trace).values():
            if len(scores) >= rung:
                seen.append(scores[rung - 1])
                worst = sorted(seen, reverse=True)[max(len(seen) // 4, 1) - 1]
                assert (len(scores) > rung) == (scores[rung - 1] >= worst)


def test_hyperband_begins_to_prune_at_several_rungs_and_the_same_ones_again() -> None:
    name = "optuna: tpe + hyperband"
    (first, trace), (second, again) = search(name, Made()), search(name, Made())
    assert set(lengths(trace)) == {1, 3, 9, 15}
    brackets = {first.study.pruner._get_bracket_id(first.study, t) for t in first.study.trials}
    assert len(brackets) > 1
    assert trace.configs == again.configs and trace.states == again.states
    assert first.study.study_name == second.study.study_name


def test_tpe_follows_its_results_after_ten_random_trials() -> None:
    assert common_start("optuna: tpe + successive halving") == (10, 25)


def test_a_gaussian_process_follows_its_results_after_ten_completed_trials() -> None:
    start, of = common_start("optuna: gp + median")
    assert 10 <= start < of


def test_without_syne_tune_its_peers_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == "syne_tune"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "syne_tune", None)
    with pytest.raises(ImportError, match=r"requirements-peers\.txt"):
        PEERS["syne tune: asha"](Made(), seed=0, trials=1, epochs=EPOCHS)


@pytest.fixture
def syne_tune() -> None:
    pytest.importorskip("syne_tune", reason=MISSING)


class Spy:
    """A scheduler, and what was called of it."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler, self.calls = scheduler, list[tuple[str, int, Any]]()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            outcome = getattr(self.scheduler, name)(*arguments)
            if name == "suggest":
                resumed = None if outcome is None else outcome.checkpoint_trial_id
                self.calls.append((name, arguments[0], resumed))
            else:
                epoch = arguments[1]["epoch"] if len(arguments) > 1 else None
                self.calls.append((name, arguments[0].trial_id, (epoch, outcome)))
            return outcome

        return call


@pytest.fixture
def spied(syne_tune: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = OnSyneTune.__init__

    def make(self: Any, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        self.scheduler = Spy(self.scheduler)

    monkeypatch.setattr(OnSyneTune, "__init__", make)


@pytest.mark.parametrize("space", ["study_grid", "default"])
@pytest.mark.parametrize("name", SYNE_TUNE_PEERS)
def test_a_scheduler_is_told_every_epoch_once_and_nothing_of_an_ended_trial(
    spied: None, name: str, space: str
) -> None:
    curves = Made(space, diverging={"adagrad": 0, "rmsprop": 1, "nadam": 4}, share=9)
    decider, trace = search(name, curves, trials=21, workers=4)
    assert "infeasible" in trace.states.values() and "completed" in trace.states.values()
    told = epochs_of(trace)
    for number in trace.configs:
        calls = [c for c in decider.scheduler.calls if c[1] == number and c[0] != "suggest"]
        assert calls[0][0] == "on_trial_add" and [c[0] for c in calls].count("on_trial_add") == 1
        results = [c[2][0] for c in calls if c[0] == "on_trial_result"]
        diverged = trace.states[number] == "infeasible"
        assert results == told[number] + [len(told[number]) + 1] * diverged
        # Every result after which it does not go on is followed by its removal.
        for (name_, _, outcome), (after, _, _) in zip(calls, [*calls[1:], ("", 0, 0)], strict=True):
            if name_ == "on_trial_result" and outcome[1] != "CONTINUE":
                assert after == "on_trial_remove"
        ended = trace.states[number] in ("completed", "pruned")
        assert not ended or calls[-1][0] == "on_trial_remove"


def test_asha_stops_at_its_rungs_about_two_thirds(syne_tune: None) -> None:
    _, trace = search("syne tune: asha", Made(), trials=100)
    ends = lengths(trace)
    assert set(ends) == {1, 3, 9, 15}
    assert 0.25 < 1 - ends[1] / ends.total() < 0.5
    assert common_start("syne tune: asha") == (25, 25)  # random: results change no suggestion


def test_promotion_pauses_every_trial_and_resumes_about_a_third(syne_tune: None) -> None:
    _, trace = search("syne tune: asha, promotion", Made(), trials=60, budget=1000)
    ends = lengths(trace)
    assert set(trace.states.values()) == {"paused", "completed"} and set(ends) == {1, 3, 9, 15}
    assert 0.25 < 1 - ends[1] / ends.total() < 0.5
    # Resumed, and not begun again.
    assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in epochs_of(trace).values())


def test_pasha_goes_on_beyond_its_second_rung_only_when_the_order_changes(syne_tune: None) -> None:
    # Made curves never cross: the order at the second rung is that at the first.
    _, trace = search("syne tune: pasha", Made(), trials=60, budget=1000)
    assert set(lengths(trace)) == {1, 3}


def test_dyhpo_pauses_at_every_second_epoch_and_resumes(syne_tune: None) -> None:
    _, trace = search("syne tune: dyhpo", Made(), trials=7, budget=24)
    ends = lengths(trace)
    assert len(ends) > 1 and all(end % 2 == 1 for end in ends)
    assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in epochs_of(trace).values())


def test_dehb_pauses_in_its_first_bracket_and_stops_in_the_others(syne_tune: None) -> None:
    _, trace = search("syne tune: dehb", Made(), trials=40, workers=4, budget=1000)
    states = Counter(trace.states.values())
    assert states["paused"] and states["pruned"] and set(lengths(trace)) <= {1, 3, 9, 15}
    # Those of the first bracket are random.
    assert common_start("syne tune: dehb")[0] > 1


@pytest.mark.slow
def test_conformal_regression_follows_its_results_after_five(syne_tune: None) -> None:
    pytest.importorskip("xgboost", reason=MISSING)
    curves = [Made(sign=sign) for sign in (1, -1)]
    first, second = (
        list(search("syne tune: asha-cqr", c, trials=8)[1].configs.values()) for c in curves
    )
    assert first[:5] == second[:5] and first != second


@pytest.mark.parametrize("name", ["syne tune: mobster", "syne tune: mobster, promotion"])
def test_mobster_follows_its_results_after_six_random_trials(syne_tune: None, name: str) -> None:
    assert common_start(name) == (6, 25)


def test_hyper_tune_begins_its_trials_in_several_brackets(syne_tune: None) -> None:
    decider, trace = search("syne tune: hyper-tune", Made(), trials=30)
    brackets = Counter(t.bracket for t in decider.scheduler._active_trials.values())
    assert len(brackets) >= 3 and brackets.total() == len(trace.configs)


@pytest.mark.slow
def test_a_frozen_curve_goes_on_where_the_model_sees_more_in_it_than_in_others() -> None:
    pytest.importorskip("botorch", reason=freeze_thaw.MISSING)
    curves = Made()
    decider = freeze_thaw.FreezeThaw(curves, seed=0, trials=14, epochs=EPOCHS)
    rng = np.random.default_rng(0)
    trace = replay(
        decider, lambda number, config: draw(curves, config, rng), Conditions(workers=2), rng,
        epochs=EPOCHS, budget=90,
    )  # fmt: skip
    told = epochs_of(trace)
    assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in told.values())
    assert {len(told[n]) for n, state in trace.states.items() if state == "paused"} <= {1, 2, 4, 8}
    whole = {n for n, state in trace.states.items() if state == "completed"}
    ends = {n: curves.mean(config)[0][-1, 0] for n, config in trace.configs.items()}
    short = [ends[n] for n, epochs in told.items() if len(epochs) <= 2]
    assert whole and min(ends[n] for n in whole) > np.mean(short)


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "workers"), [(3, 2), (24, 16)])
def test_freeze_thaw_begins_no_trial_too_many_and_waits_for_no_score(
    trials: int, workers: int
) -> None:
    pytest.importorskip("botorch", reason=freeze_thaw.MISSING)
    curves = Made()
    decider = freeze_thaw.FreezeThaw(curves, seed=0, trials=trials, epochs=EPOCHS)
    begun = [start for _ in range(workers) if (start := decider.ask())]
    assert len(begun) == min(trials, workers)


@pytest.mark.parametrize("name", SYNE_TUNE_PEERS)
def test_every_recorded_point_is_run_once(syne_tune: None, name: str) -> None:
    curves = Made("study_grid", share=9)
    _, trace = search(name, curves, trials=100, workers=64, budget=1000)
    assert len(trace.configs) == len(curves.recorded) == 20
    assert len({str(c) for c in trace.configs.values()}) == 20
    assert "running" not in trace.states.values() and "completed" in trace.states.values()


@pytest.mark.parametrize("name", ["syne tune: mobster", "syne tune: hyper-tune"])
def test_the_same_seed_gives_the_same_search_of_a_grid(syne_tune: None, name: str) -> None:
    # Of a grid: sums are rounded by how arrays lie in memory, which a fit to few results enlarges
    # to a hundredth of a rate.
    curves = Made("study_grid", share=9)
    first, second = (search(name, curves, trials=9, workers=4)[1].configs for _ in range(2))
    assert len(first) == 9 and first == second
    assert first != search(name, curves, seed=1, trials=9, workers=4)[1].configs
