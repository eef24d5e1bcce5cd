"""How much each hyperparameter mattered, by Optuna's own evaluators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.fidelity import Value, hyperparameters, standings
from analysis.tables import Run
from vgg6.config import check_choice

PED_ANOVA, FANOVA = EVALUATORS = ("ped-anova", "fanova")
MIN_TRIALS = 20
DRAWS = {PED_ANOVA: 100, FANOVA: 19}
TREES = 16  # of a forest; as many take seconds for hundreds of trials
TOP_TRIALS = 10  # PED-ANOVA describes the best trials by a density, which needs about so many
SEED = 0


def importance(run: Run, evaluator: str = PED_ANOVA) -> tuple[dict[str, Any] | None, str]:
    """The share of each hyperparameter in how trials stand (``standings``).

    ``ped-anova`` (Watanabe et al., 2023, with Optuna's conditional regimes) measures how the best
    trials' values differ from all trials' values, also of hyperparameters that only some trials
    have. ``fanova`` (Hutter et al., 2014) is the share of variance that a forest of trees puts
    down to each one alone; it sees only those that all trials drew from one range, and what it
    left out is named in ``left_out``.

    Both find something in noise, and more of it in a hyperparameter with more to choose from. What
    shuffled standings give is therefore taken off (Altmann et al., 2010), and what is left is
    divided by all that was found: the shares add up to less than 1 where chance had a part, and
    ``p`` is how often shuffling gives as much as the search did. ``mean`` is over random halves of
    the trials; ``low`` and ``high`` enclose 95 % of them, which vary as much as samples of the
    whole size do (the delete-half jackknife: Shao and Wu, 1989).

    Returns the importance, and a remark or why there is none.

    Raises:
        InputError: there is no such evaluator.
    """
    check_choice("--evaluator", evaluator, EVALUATORS)
    value = standings(run)
    given = {t: p for t, p in hyperparameters(run).items() if t in value.index}
    if len(given) < MIN_TRIALS:
        return None, f"needs {MIN_TRIALS} trials that ended, has {len(given)}"
    names = list(dict.fromkeys(name for values in given.values() for name in values))
    kept = names if evaluator == PED_ANOVA else _everywhere(given, names)
    varied = [n for n in kept if len({v[n].value for v in given.values() if n in v}) > 1]
    if len(varied) < 2:
        return None, "needs two hyperparameters that varied"
    study = _study(given, varied)
    rng = np.random.default_rng(SEED)
    numbers = list(given)
    order = value.loc[numbers].to_numpy()

    def assess(standing: np.ndarray, part: np.ndarray) -> dict[str, float]:
        # Optuna leaves out trials whose target is not finite, and takes a low target as good.
        target = np.full(len(standing), np.nan)
        target[part] = -standing[part]
        return _assess(study, _evaluator(evaluator, len(part)), lambda t: float(target[t.number]))

    everyone, draws = np.arange(len(order)), DRAWS[evaluator]

    def half() -> np.ndarray:
        return rng.choice(everyone, len(order) // 2, replace=False)

    halves = pd.DataFrame([assess(order, half()) for _ in range(draws)])
    chance = pd.DataFrame([assess(rng.permutation(order), half()) for _ in range(draws)]).mean()
    shares = (halves - chance).clip(lower=0).div(halves.sum(axis=1), axis=0).fillna(0.0)
    whole = pd.Series(assess(order, everyone))
    shuffled = pd.DataFrame([assess(rng.permutation(order), everyone) for _ in range(draws)])
    p = (1 + (shuffled[whole.index] >= whole).sum()) / (1 + draws)
    values = {
        name: {
            "mean": float(shares[name].mean()),
            "low": float(shares[name].quantile(0.025)),
            "high": float(shares[name].quantile(0.975)),
            "p": float(p[name]),
        }
        for name in shares.mean().sort_values(ascending=False).index
    }
    left_out = [n for n in names if n not in varied]
    found = {"evaluator": evaluator, "values": values, "trials": len(given), "left_out": left_out}
    return found, (
        "how trials stand: completed ones by their score, then pruned ones by how far they came,"
        " last the diverged"
    )


def _everywhere(given: dict[int, dict[str, Value]], names: list[str]) -> list[str]:
    """The hyperparameters that every trial drew from the same distribution."""
    drawn: dict[str, set[Any]] = {n: set() for n in names}
    for values in given.values():
        for name in names:
            drawn[name].add(values[name].drawn_from if name in values else None)
    return [n for n in names if len(drawn[n]) == 1]


def _study(given: dict[int, dict[str, Value]], names: list[str]) -> optuna.Study:
    """A study of the trials in the given order. Values come later, as targets."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for values in given.values():
        mine = {n: values[n] for n in names if n in values}
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=0.0,
                params={n: v.value for n, v in mine.items()},
                distributions={n: v.drawn_from for n, v in mine.items()},
            )
        )
    return study


def _evaluator(name: str, trials: int) -> BaseImportanceEvaluator:
    if name == FANOVA:
        return FanovaImportanceEvaluator(n_trees=TREES, seed=SEED)
    return PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, TOP_TRIALS / trials)))


def _assess(
    study: optuna.Study,
    evaluator: BaseImportanceEvaluator,
    target: Callable[[FrozenTrial], float],
) -> dict[str, float]:
    with warnings.catch_warnings():
        # Of a target that must be low, and of ranges that few trials drew from; of `normalize`.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return get_param_importances(study, evaluator=evaluator, target=target, normalize=False)
