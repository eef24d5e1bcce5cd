"""How much each hyperparameter mattered, by Optuna's own evaluators."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import TrialState, create_trial

from analysis.insights.comparable import Value, hyperparameters, standings
from analysis.insights.evaluators import EVALUATORS, FANOVA, PED_ANOVA
from analysis.results.tables import SearchTables
from vgg6.common.checks import check_choice

MIN_TRIALS, MOST_TRIALS = 20, 500  # of a search; of a part of it that is assessed at a time
DRAWS = {FANOVA: 39, PED_ANOVA: 99}  # of a random part; a forest takes a tenth of a second
TREES, DEPTH = 16, 6
TOP_TRIALS = 10  # PED-ANOVA describes the best trials by a density, which needs about so many
SEED = 0
_PLACE = FloatDistribution(0.0, 1.0)


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


def importance(tables: SearchTables, evaluator: str = FANOVA) -> tuple[Importance | None, str]:
    """The share of each hyperparameter in how trials stand (``standings``).

    ``fanova`` (Hutter et al., 2014) is the share of variance that a forest of trees puts down to
    each one alone, whatever the others are. It sees those that every trial has; the others are
    named in ``left_out``. ``ped-anova`` (Watanabe et al., 2023, with Optuna's conditional regimes)
    measures how the best trials' values differ from all trials' values, also of hyperparameters
    that only some trials have; Optuna's version smooths a choice that all of the best share so
    much that it overlooks it, which is why it is not the default. A number counts by its place in
    the range that its trial drew it from: two optimizers' learning rates are comparable so.

    Both find something in noise, and more of it where there is more to choose from. So each
    hyperparameter is assessed beside a shadow of itself, its values dealt to the trials at random
    (Kursa and Rudnicki, 2010): what the shadows get is taken off, and ``p`` is how often a shadow
    gets as much as the hyperparameter does. The shares add up to less than 1 where chance or, for
    fanova, interactions had a part. ``mean`` is over random halves of the trials, or parts of
    MOST_TRIALS where these are smaller; ``low`` and ``high`` are 1.96 standard errors away, which
    the spread of the parts gives (the delete-d jackknife: Shao and Wu, 1989).

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
    able = [n for n in names if evaluator == PED_ANOVA or all(n in v for v in given.values())]
    varied = [n for n in able if len({v[n].value for v in given.values() if n in v}) > 1]
    if len(varied) < 2:
        return None, f"{evaluator} needs two hyperparameters that varied"
    rng = np.random.default_rng(SEED)
    trials = [{n: v for n, v in values.items() if n in varied} for values in given.values()]
    order = standing.loc[list(given)].to_numpy()
    size = min(len(trials) // 2, MOST_TRIALS)
    draws = pd.DataFrame(
        [
            _assess(_part_study(trials, order, varied, size, rng), evaluator)
            for _ in range(DRAWS[evaluator])
        ]
    )
    real = draws[varied]
    shadow = draws[[_shadow(n) for n in varied]].set_axis(varied, axis=1)
    shares = (real - shadow.mean()).clip(lower=0)
    if evaluator == PED_ANOVA:  # divergences, of which only the proportions say something
        shares = shares.div(real.sum(axis=1), axis=0).fillna(0.0)
    values: dict[str, ImportanceShare] = {}
    for name, mean in shares.mean().sort_values(ascending=False).items():
        reach = 1.96 * shares[name].std() * math.sqrt(size / (len(given) - size))
        exceeded = (shadow[name] >= real[name].mean()).sum()
        values[str(name)] = ImportanceShare(
            mean=float(mean),
            low=float(max(0.0, mean - reach)),
            high=float(min(1.0, mean + reach)),
            p=float((1 + exceeded) / (1 + len(draws))),
        )
    left_out = [n for n in names if n not in varied]
    return Importance(evaluator, values, len(given), left_out), (
        "trials are ranked, completed ones by score, then pruned ones by how far they came,"
        " diverged ones last"
    )


def _shadow(name: str) -> str:
    return f"shadow of {name}"


def _part_study(
    trials: list[dict[str, Value]],
    standing: np.ndarray,
    names: list[str],
    size: int,
    rng: np.random.Generator,
) -> optuna.Study:
    """A study of ``size`` random trials, each hyperparameter beside its shadow."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    part = rng.choice(len(trials), size, replace=False)
    dealt = {n: rng.permutation(part) for n in names}
    for place, index in enumerate(part):
        mine = dict(trials[index])
        for name in names:
            if name in (other := trials[dealt[name][place]]):
                mine[_shadow(name)] = other[name]
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=float(standing[index]),
                params={n: v.value if v.is_choice else v.place for n, v in mine.items()},
                distributions={n: v.drawn_from if v.is_choice else _PLACE for n, v in mine.items()},
            )
        )
    return study


def _assess(study: optuna.Study, evaluator: str) -> dict[str, float]:
    chosen: BaseImportanceEvaluator
    if evaluator == FANOVA:
        chosen = FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=SEED)
    else:
        top = min(0.5, max(0.1, TOP_TRIALS / len(study.get_trials(deepcopy=False))))
        chosen = PedAnovaImportanceEvaluator(target_quantile=top)
    with warnings.catch_warnings():
        # Of ranges that few trials drew from, and of `normalize`.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return get_param_importances(study, evaluator=chosen, normalize=False)
