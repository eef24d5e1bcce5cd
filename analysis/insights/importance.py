"""How much each hyperparameter mattered, and how much of that chance gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.insights.additive_model import AdditiveModel
from analysis.insights.comparable_scores import Value, hyperparameters, standings
from analysis.insights.evaluator_names import ADDITIVE, EVALUATORS, FANOVA, PED_ANOVA
from analysis.results.table_files import SearchTables
from vgg6.common.checks import check_choice

MIN_TRIALS, MOST_TRIALS = 20, 1000  # of a search; of a part of it that is assessed at a time
DRAWS = {ADDITIVE: 99, FANOVA: 39, PED_ANOVA: 99}  # of shadows; a forest is slow
HALVES = 20  # random halves, whose spread gives the intervals
SEED = 0
Sources = Mapping[str, tuple[str, npt.NDArray[np.int64]]]


class Evaluator(Protocol):
    """Assesses hyperparameters, each by its name and by the trials that its values come from."""

    def shares(self, sources: Sources, y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]: ...


@dataclass(frozen=True)
class ImportanceShare:
    """How much one hyperparameter mattered: its share with the 95 % interval, and how often chance
    gives as much."""

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Importance:
    """``values``: by hyperparameter, the greatest first; ``trials``: behind them; ``left_out``:
    hyperparameters that did not vary, or that the evaluator cannot take."""

    evaluator: str
    values: dict[str, ImportanceShare]
    trials: int
    left_out: list[str]


def importance(tables: SearchTables, evaluator: str = ADDITIVE) -> tuple[Importance | None, str]:
    """The share of each hyperparameter in how trials stand (``standings``).

    ``additive`` is the share of variance that an additive model puts down to each one alone. It
    takes milliseconds (``AdditiveModel``). ``fanova`` (Hutter et al., 2014) asks a forest of trees
    for the same. It sees those that every trial has; the others are named in ``left_out``.
    ``ped-anova`` (Watanabe et al., 2023, with Optuna's conditional regimes) measures how the best
    trials' values differ from all trials' values. Optuna's version overlooks a choice that all of
    the best share. A number counts by its place in the range that its trial drew it from: two
    optimizers' learning rates are comparable so.

    All of them find something in noise, and more of it where there is more to choose from. So each
    hyperparameter is assessed beside a shadow of itself, its values dealt to the trials at random
    (Kursa and Rudnicki, 2010). What the shadows get is taken off, and ``p`` is how often a shadow
    gets as much as the hyperparameter does. The shares add up to less than 1 where chance or
    interactions had a part. Of more than MOST_TRIALS trials, random parts of so many are assessed.
    ``low`` and ``high`` are 1.96 standard errors away, which the spread of random halves gives (the
    delete-d jackknife: Shao and Wu, 1989).

    Returns the importance, and a remark or why there is none.

    Raises:
        InputError: there is no such evaluator.
    """
    check_choice("evaluator", evaluator, EVALUATORS)
    standing = standings(tables)
    given = {t: p for t, p in hyperparameters(tables).items() if t in standing.index}
    if len(given) < MIN_TRIALS:
        return None, f"needs {MIN_TRIALS} trials that have ended, and has {len(given)}"
    names = list(dict.fromkeys(name for own in given.values() for name in own))
    able = [n for n in names if evaluator != FANOVA or all(n in v for v in given.values())]
    varied = [n for n in able if len({v[n].value for v in given.values() if n in v}) > 1]
    if len(varied) < 2:
        return None, f"{evaluator} needs two hyperparameters that varied"
    rng = np.random.default_rng(SEED)
    trials = [{n: v for n, v in values.items() if n in varied} for values in given.values()]
    order = standing.loc[list(given)].to_numpy()
    assess = _evaluator(evaluator, trials, varied)

    def draws(size: int, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What hyperparameters get, and what their shadows do, in each of ``count`` draws."""
        found = np.array([assess.shares(*_part(order, varied, size, rng)) for _ in range(count)])
        if evaluator == PED_ANOVA:  # divergences, of which only the proportions say something
            total = found[:, : len(varied)].sum(axis=1, keepdims=True)
            found = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
        real, shadow = (pd.DataFrame(side, columns=varied) for side in np.split(found, 2, axis=1))
        return real, shadow

    half = min(len(trials), MOST_TRIALS) // 2
    with threadpool_limits(1, "blas"):  # small matrices, for which threads only wait
        real, shadow = draws(min(len(trials), MOST_TRIALS), DRAWS[evaluator])
        of_halves, by_chance = draws(half, HALVES)
    spread = (of_halves - by_chance.mean()).clip(lower=0).std()
    reach = 1.96 * spread * math.sqrt(half / (len(trials) - half))
    means = (real.mean() - shadow.mean()).clip(lower=0)
    exceeded = (shadow >= real.mean()).sum()
    values = {
        name: ImportanceShare(
            mean=float(means[name]),
            low=float(max(0.0, means[name] - reach[name])),
            high=float(min(1.0, means[name] + reach[name])),
            p=float((1 + exceeded[name]) / (1 + len(real))),
        )
        for name in sorted(varied, key=lambda name: -means[name])
    }
    left_out = [n for n in names if n not in varied]
    return Importance(evaluator, values, len(given), left_out), (
        "trials are ranked, completed ones by score, then pruned ones by how far they came,"
        " diverged ones last"
    )


def _evaluator(name: str, trials: Sequence[Mapping[str, Value]], names: list[str]) -> Evaluator:
    if name == ADDITIVE:
        return AdditiveModel(trials, names)
    from analysis.insights.optuna_evaluators import OptunaEvaluator  # imports scikit-learn

    return OptunaEvaluator(trials, name)


def _part(
    standing: npt.NDArray[np.float64], names: list[str], size: int, rng: np.random.Generator
) -> tuple[Sources, npt.NDArray[np.float64]]:
    """``size`` random trials: each hyperparameter, then the shadow of each; and how they stand."""
    part = rng.choice(len(standing), size, replace=False)
    real = {name: (name, part) for name in names}
    shadow = {f"shadow of {name}": (name, rng.permutation(part)) for name in names}
    return real | shadow, standing[part]
