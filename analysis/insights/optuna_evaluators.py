"""Optuna's own evaluators of importance."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import FloatDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import TrialState, create_trial

from analysis.insights.comparable_scores import Value
from analysis.insights.evaluator_names import FANOVA
from vgg6.tuning.algorithms.space_encoding import distribution_of

TREES, DEPTH = 16, 6
TOP_TRIALS = 10  # PED-ANOVA describes the best trials by a density, which needs about so many
SEED = 0
_PLACE = FloatDistribution(0.0, 1.0)


class OptunaEvaluator:
    """Assesses hyperparameters of some trials, by the rows that their values are taken from.

    Args:
        trials: the hyperparameters of each.
        evaluator: ``fanova`` or ``ped-anova``.
    """

    def __init__(self, trials: Sequence[Mapping[str, Value]], evaluator: str) -> None:
        self._trials, self._evaluator = trials, evaluator

    def shares(
        self,
        sources: Mapping[str, tuple[str, npt.NDArray[np.int64]]],
        y: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """How much each one mattered, in the order of ``sources``; 0 where Optuna says nothing.

        Args:
            sources: the name of each, and the trials (n,) that its values are taken from.
            y: (n,).
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize")
        for place, value in enumerate(y):
            mine = {
                label: own
                for label, (name, rows) in sources.items()
                if (own := self._trials[rows[place]].get(name)) is not None
            }
            study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE,
                    value=float(value),
                    params={n: v.value if v.is_choice else v.place for n, v in mine.items()},
                    distributions={
                        n: distribution_of(v.drawn_from) if v.is_choice else _PLACE
                        for n, v in mine.items()
                    },
                )
            )
        found = _importances(study, self._evaluator)
        return np.array([found.get(label, 0.0) for label in sources])


def _importances(study: optuna.Study, evaluator: str) -> dict[str, float]:
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
