"""What Optuna is told of a search: how each trial ended, and no more trials than it can bear."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from search_spaces import Space
from vgg6.tuning.algorithms.model_sampler import ModelSampler
from vgg6.tuning.run.trials import (
    COMPLETED,
    FAILED,
    INFEASIBLE,
    PRUNED,
    TrialRecord,
    optunas_order,
)

# Positive in Optuna's terms means that a constraint is violated.
DIVERGED = ("diverged", 1.0)
TOLD_AS = {
    COMPLETED: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    INFEASIBLE: TrialState.PRUNED,
    FAILED: TrialState.FAIL,
}
# A suggestion costs time in proportion to the trials that are looked at. When they are TOLD_MOST
# the study is made anew of the best and of a sample of the others, TOLD_KEPT together. The best are
# few: the Gaussian process takes what is told for what is usual at a rung.
TOLD_MOST, TOLD_KEPT, TOLD_BEST = 1000, 500, 25


def told_trial(
    record: TrialRecord, space: Space, state: TrialState, *, plain: bool = False
) -> FrozenTrial:
    """A journaled trial as Optuna knows it when it has been told ``state``, with its curve.

    Args:
        plain: whether its values are scores; else their merits, of which more is always better.
    """
    metric = record.metric
    curve = {row.epoch: metric.best_of(row) for row in record.curve}
    if not plain:
        curve = {epoch: metric.merit(score) for epoch, score in curve.items()}
    fixed = FixedTrial(record.params)
    space.suggest(fixed)
    has_value = state in (TrialState.COMPLETE, TrialState.PRUNED)
    frozen = create_trial(
        state=state,
        params=fixed.params,
        distributions=fixed.distributions,
        intermediate_values=curve,
        # As study.tell does: a pruned trial's value is its last intermediate one.
        value=next(reversed(curve.values()), None) if has_value else None,
    )
    if record.state == INFEASIBLE:
        frozen.set_constraint(*DIVERGED)
    return frozen


def told_as(record: TrialRecord, lengths: Collection[int]) -> str:
    """How its end is told. One that was complete at an earlier length of the search, which is less
    than the others', was seen so far and no further: it is told as pruned."""
    shorter = record.state == COMPLETED and record.config.epochs in lengths
    return PRUNED if shorter else record.state


def worth_telling(
    ended: list[TrialRecord], rng: np.random.Generator, lengths: Collection[int] = ()
) -> list[TrialRecord]:
    """What a study needs to know of many ended trials: all of up to TOLD_KEPT, else the best and a
    sample of the others.

    TPE splits trials into at most 25 good ones and all others, and needs of the others only where
    they are dense: the good ones stay exactly the same, and a uniform sample has the others'
    density. "Best" is Optuna's order for that split, of trials as ``told_as`` says.
    """
    told = [r for r in ended if r.state != FAILED]
    if len(told) <= TOLD_KEPT:
        return ended if len(ended) <= TOLD_KEPT else told
    told.sort(key=lambda r: optunas_order(replace(r, state=told_as(r, lengths))))
    others = rng.choice(len(told) - TOLD_BEST, TOLD_KEPT - TOLD_BEST, replace=False)
    return told[:TOLD_BEST] + [told[TOLD_BEST + i] for i in others]


def build_sampler(
    searcher: str, seed: int, space: Space, rungs: Sequence[int], made: int = 0, whole: int = 0
) -> optuna.samplers.BaseSampler:
    """The sampler that ``searcher`` names, with everything set that the search relies on."""
    if searcher == "gp":
        return ModelSampler(space, rungs, seed, made, whole)
    if searcher in ("random", "grid"):  # a grid is a queue of points: nothing is sampled
        return optuna.samplers.RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=10,
            multivariate=True,
            group=True,  # conditional spaces: parameters that are active together share a model
            constant_liar=True,  # running trials count as bad: workers do not pile up on one point
        )
