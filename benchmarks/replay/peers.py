"""Deciders made of other tools' own objects: Syne Tune's schedulers, and Optuna with its pruners.

Every one has the defaults of its tool where nothing else is said. These tools have no notion of a
loss that is not finite, so they are told what a careful training function would say. To Optuna the
trial is pruned. To Syne Tune its epoch has the accuracy of chance, so that a model may learn of it.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import TrialState

from benchmarks.replay.flat_space import FlatSpace
from benchmarks.replay.recorded import Searchable, config_of, recorded_points
from benchmarks.replay.simulator import Decider, Row, Start, Verdict

METRIC, TIME = "best_val_acc", "epoch"
CHANCE = 0.1  # the validation accuracy of a network whose weights are not finite


def missing(tool: str, requirements: str) -> str:
    """What to say where a tool is not installed that is only compared with."""
    return (
        f"{tool}, which is only compared with, is not installed: "
        f"pip install --no-deps --target DIR -r benchmarks/replay/{requirements}, "
        "and run with PYTHONPATH=DIR"
    )


MISSING = missing("Syne Tune", "requirements-peers.txt")
Peer = Callable[..., Decider]  # (curves, *, seed, trials, epochs)


class OnOptuna:
    """A study asked and told as Optuna's documentation shows.

    It may suggest what it has tried, which then runs, and is charged, again. A suggestion that is
    not recorded is told as failed, at no cost; after TRIES of them it is given a recorded one.

    Args:
        flat: whether the sampler, which models what every trial has, is given the space without
            its conditions.
    """

    TRIES = 20

    def __init__(
        self, curves: Searchable, sampler: BaseSampler, pruner: BasePruner, *,
        seed: int, trials: int, epochs: int, flat: bool = False,
    ) -> None:  # fmt: skip
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Hyperband draws a trial's bracket from the study's name, which is random unless given.
        self.study = optuna.create_study(
            study_name=f"peer {seed}", direction="maximize", sampler=sampler, pruner=pruner
        )
        self.curves, self.limit, self.epochs = curves, trials, epochs
        self.flat = FlatSpace(curves.space) if flat else None
        self.rng = np.random.default_rng(seed)
        self.trials: list[optuna.Trial] = []

    def ask(self) -> Start | None:
        if len(self.trials) >= self.limit:
            return None
        for _ in range(self.TRIES):
            trial, config = self._ask()
            if self.curves.allowed(config):
                return self._start(trial, config)
            self.study.tell(trial, state=TrialState.FAIL)
        self.study.enqueue_trial(self._recorded_point())
        return self._start(*self._ask())

    def _ask(self) -> tuple[optuna.Trial, dict[str, Any]]:
        if self.flat is None:
            trial = self.study.ask()
            return trial, config_of(self.curves.space.suggest(trial), self.epochs)
        trial = self.study.ask(distributions(self.flat))
        return trial, config_of(self.flat.suggest(trial.params), self.epochs)

    def _start(self, trial: optuna.Trial, config: dict[str, Any]) -> Start:
        self.trials.append(trial)
        return Start(len(self.trials) - 1, config)

    def _recorded_point(self) -> dict[str, Any]:
        points = recorded_points(self.curves.space, self.curves.allowed, self.epochs)
        point = points[self.rng.integers(len(points))]
        return self.flat.values_of(point) if self.flat else self.curves.space.params_of(point)

    def report(self, number: int, row: Row) -> Verdict:
        trial = self.trials[number]
        trial.report(row[METRIC], row[TIME])
        return "stop" if trial.should_prune() else "go on"

    def end(self, number: int, row: Row | None, state: str) -> None:
        trial = self.trials[number]
        if state == "completed":
            assert row is not None
            self.study.tell(trial, row[METRIC])
        else:
            # A loss that is not finite as pruned: samplers learn nothing of a failed trial.
            failed = state == "failed"
            self.study.tell(trial, state=TrialState.FAIL if failed else TrialState.PRUNED)


def distributions(flat: FlatSpace) -> dict[str, BaseDistribution]:
    """A flat space in Optuna's terms."""
    return {
        name: FloatDistribution(0.0, 1.0) if choices is None else CategoricalDistribution(choices)
        for name, choices in flat.choices.items()
    }


class OnSyneTune:
    """A Syne Tune scheduler, called in the order in which its ``Tuner`` does.

    Syne Tune has no conditions, so it is given the space as ``FlatSpace`` says. Numbers to choose
    from are ordinal on a log scale. Where a finite space was recorded in part it is given the
    recorded points as ``restrict_configurations``; like everywhere, none is suggested twice.

    Args:
        kind: the class of Syne Tune's baselines.
        search: the searcher's options.
        length: what the class calls a trial's full length.
        options: other options of the class. ``type`` is ``stopping`` (Syne Tune's default) or
            ``promotion``, which pauses every trial at every rung and resumes the best.
            ``brackets`` says from how many of its rungs a trial may begin to be compared.
    """

    def __init__(
        self, curves: Searchable, *, kind: str, seed: int, trials: int, epochs: int,
        search: dict[str, Any] | None = None, length: str = "max_t", **options: Any,
    ) -> None:  # fmt: skip
        try:
            from syne_tune.backend.trial_status import Trial
            from syne_tune.optimizer import legacy_baselines
        except ImportError as error:
            raise ImportError(MISSING) from error
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        self.flat = FlatSpace(curves.space)
        self.limit, self.epochs, self.left = trials, epochs, math.inf
        search = dict(search or {})
        if curves.space.is_finite:
            points = [
                self.flat.values_of(p)
                for p in recorded_points(curves.space, curves.allowed, epochs)
            ]
            search["restrict_configurations"], self.left = points, len(points)
        else:
            options["points_to_evaluate"] = [first_point(self.flat)]
        self.scheduler = getattr(legacy_baselines, kind)(
            config_space(self.flat), metric=METRIC, resource_attr=TIME, mode="max",
            random_seed=seed, search_options=search, **{length: epochs}, **options,
        )  # fmt: skip
        self._trial = Trial
        self.trials: list[Any] = []
        self.diverged: set[int] = set()

    def ask(self) -> Start | None:
        if len(self.trials) >= self.limit:
            return None
        while (suggestion := self._suggest()) is not None:
            if suggestion.spawn_new_trial_id:
                trial = self._trial(len(self.trials), suggestion.config, datetime.now())
                self.trials.append(trial)
                self.scheduler.on_trial_add(trial)
            else:
                trial = self.trials[suggestion.checkpoint_trial_id]
            if trial.trial_id not in self.diverged:
                values = self.flat.suggest(trial.config)
                return Start(trial.trial_id, config_of(values, self.epochs))
            self.scheduler.on_trial_error(trial)  # resumed, it would fail at once
        return None

    def _suggest(self) -> Any:
        if len(self.trials) < self.left:
            return self.scheduler.suggest(len(self.trials))
        # Its Gaussian-process searcher raises when none of restrict_configurations is left.
        with suppress(ValueError):
            return self.scheduler.suggest(len(self.trials))
        return None

    def report(self, number: int, row: Row) -> Verdict:
        trial = self.trials[number]
        decision = self.scheduler.on_trial_result(trial, dict(row))
        if decision == "CONTINUE":
            return "go on"
        self.scheduler.on_trial_remove(trial)
        return "pause" if decision == "PAUSE" else "stop"

    def end(self, number: int, row: Row | None, state: str) -> None:
        if state == "failed":
            self.scheduler.on_trial_error(self.trials[number])
        elif state == "infeasible":
            # The epoch in which it diverged has the accuracy of chance, and the script ends.
            epoch, best = (row[TIME], row[METRIC]) if row else (0, 0.0)
            last = {TIME: epoch + 1, METRIC: max(best, CHANCE)}
            self.diverged.add(number)
            if self.report(number, last) == "go on":
                self.scheduler.on_trial_complete(self.trials[number], last)
        # A trial at its full length, or stopped, has been removed with its last result.


def first_point(flat: FlatSpace) -> dict[str, Any]:
    """What Syne Tune tries first by default, the middle of a space, in plain numbers: DEHB refuses
    numpy's."""
    from syne_tune.optimizer.schedulers.searchers import impute_points_to_evaluate

    (point,) = impute_points_to_evaluate(None, config_space(flat))
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in point.items()
    }


def asha_cqr(curves: Searchable, *, seed: int, trials: int, epochs: int) -> Decider:
    """ASHA with conformal quantile regression (Salinas et al., 2023).

    Syne Tune's model draws from numpy's global generator, which is therefore seeded. Its regression
    does not say that it is fitted, which scikit-learn has asked of every model since.
    """
    try:
        from syne_tune.optimizer.schedulers.searchers.conformal.surrogate import (
            symmetric_conformalized_quantile_regression_model as models,
        )
    except ImportError as error:
        raise ImportError(MISSING) from error
    regression = models.SymmetricConformalizedGradientBoostingQuantileRegressor
    regression.__sklearn_is_fitted__ = lambda self: True
    np.random.seed(seed % 2**32)
    return OnSyneTune(
        curves, kind="ASHACQR", seed=seed, trials=trials, epochs=epochs,
        search={"update_frequency": AFFORDABLE["opt_skip_period"]},
    )  # fmt: skip


def config_space(flat: FlatSpace) -> dict[str, Any]:
    """A flat space in Syne Tune's terms."""
    from syne_tune.config_space import choice, logordinal, uniform

    return {
        name: uniform(0.0, 1.0)
        if choices is None
        else choice(list(choices))
        if isinstance(choices[0], str)
        else logordinal(sorted(choices))
        for name, choices in flat.choices.items()
    }


def optuna_peer(
    make_sampler: Callable[[int], BaseSampler],
    make_pruner: Callable[[int], BasePruner],
    *,
    flat: bool = False,
) -> Peer:
    """A peer of a sampler, made of a seed, and of a pruner, made of a trial's full length."""

    def make(curves: Searchable, *, seed: int, trials: int, epochs: int) -> Decider:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler, pruner = make_sampler(seed), make_pruner(epochs)
        return OnOptuna(
            curves, sampler, pruner, seed=seed, trials=trials, epochs=epochs, flat=flat
        )  # fmt: skip

    return make


def tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


def gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed)


# CMA-ES has no categories, which are most of both spaces, and is left out; AutoSampler is no
# package but a file that OptunaHub downloads when it is called.
OPTUNA_PEERS: dict[str, Peer] = {
    "optuna: tpe + median": optuna_peer(tpe, lambda epochs: MedianPruner()),
    # From the first epoch on; by default it prunes nothing until a trial has completed.
    "optuna: tpe + successive halving": optuna_peer(
        tpe, lambda epochs: SuccessiveHalvingPruner(min_resource=1)
    ),
    "optuna: tpe + hyperband": optuna_peer(
        tpe, lambda epochs: HyperbandPruner(max_resource=epochs)
    ),
    "optuna: gp + median": optuna_peer(gp, lambda epochs: MedianPruner(), flat=True),
}
# Beyond 20 results a model is fitted anew for every third suggestion only, as by default in Syne
# Tune's DyHPO, and it averages over 5 fantasies of what is running, not 20: by its defaults a
# replay takes minutes, and hundreds are wanted. Not fewer starts of a fit: from one, the first
# model takes all that it was told for noise.
AFFORDABLE = {"opt_skip_init_length": 20, "opt_skip_period": 3, "num_fantasy_samples": 5}
MOBSTER = partial(OnSyneTune, kind="MOBSTER", search=AFFORDABLE)
# Several brackets are what it is about, and its default is one: as many as its rungs allow.
HYPER_TUNE = partial(OnSyneTune, kind="HyperTune", search=AFFORDABLE, brackets=4)
SYNE_TUNE_PEERS: dict[str, Peer] = {
    "syne tune: asha": partial(OnSyneTune, kind="ASHA"),
    "syne tune: mobster": MOBSTER,
    "syne tune: hyper-tune": HYPER_TUNE,
    "syne tune: asha, promotion": partial(OnSyneTune, kind="ASHA", type="promotion"),
    "syne tune: mobster, promotion": partial(MOBSTER, type="promotion"),
    "syne tune: hyper-tune, promotion": partial(HYPER_TUNE, type="promotion"),
}
# Compared where a space is not finite: DEHB and ASHA-CQR cannot be told which points were recorded,
# and of few points PASHA and DyHPO may train none in full.
SYNE_TUNE_NOT_FINITE: dict[str, Peer] = {
    "syne tune: pasha": partial(OnSyneTune, kind="PASHA"),
    "syne tune: dyhpo": partial(OnSyneTune, kind="DyHPO", search=AFFORDABLE),
    "syne tune: asha-cqr": asha_cqr,
    "syne tune: dehb": partial(OnSyneTune, kind="DEHB", length="max_resource_level"),
}
PEERS = OPTUNA_PEERS | SYNE_TUNE_PEERS | SYNE_TUNE_NOT_FINITE
