"""What trials of different lengths are compared by, and the hyperparameters that each one had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.results.table_files import SearchTables
from search_spaces.parameter import Parameter
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PRUNED

REACHED = 0.9  # of the scored trials must have come to the epoch at which they are compared


@dataclass(frozen=True)
class Value:
    """One hyperparameter of one trial: its value and what it was drawn from."""

    value: Any
    drawn_from: Parameter

    @property
    def place(self) -> float:
        """Where in its range it lies, from 0 to 1, by the logarithm in a log range."""
        return min(1.0, max(0.0, self.drawn_from.place(self.value)))  # rounding can carry it over

    @property
    def is_choice(self) -> bool:
        return self.drawn_from.choices is not None


def common_epoch(tables: SearchTables) -> int:
    """The last epoch that REACHED of the scored trials came to; 0 where none has a score.

    Later ones have only the trials that a scheduler let live: among these every effect looks
    smaller than it is, for a bad choice that survived has been lucky in all else. Under ASHA this
    is the first rung.
    """
    reached = tables.epochs.groupby("epoch").trial.nunique()
    enough = reached[reached >= REACHED * tables.epochs.trial.nunique()]
    return int(max(enough.index, default=0))


def scores_at(tables: SearchTables, epoch: int) -> pd.Series:
    """The best score of each trial up to ``epoch``, of those that came so far, by trial."""
    rows = tables.epochs[tables.epochs.epoch == epoch]
    return rows.set_index("trial")[tables.metric.best_column].dropna()


def standings(tables: SearchTables) -> pd.Series:
    """How each trial stands among all, from 0 (worst) to 1, by trial.

    Completed trials stand by their best score, behind them pruned ones by how far they came and
    then by score, last the diverged, which are all equal: Optuna's own order for TPE. A one-epoch
    score is never compared with one of full length. Trials that crashed or have not ended are not
    among them.
    """
    rank = {COMPLETED: 2, PRUNED: 1, INFEASIBLE: 0}
    able = tables.trials[tables.trials.state.isin(rank)]
    best = tables.metric.best_column
    able = able[able[best].notna() | (able.state == INFEASIBLE)].set_index("trial")
    score = -able[best] if tables.metric.lower_is_better else able[best]
    keys = pd.DataFrame(
        {
            "state": able.state.map(rank),
            "epoch": able.epochs_run.where(able.state == PRUNED, 0),
            "score": score.where(able.state != INFEASIBLE, 0.0),
        }
    )
    order = keys.groupby(["state", "epoch", "score"]).ngroup().rank()
    return (order - 1) / max(1, len(order) - 1)


def hyperparameters(tables: SearchTables) -> dict[int, dict[str, Value]]:
    """What was varied of each trial, by trial and name; what had no meaning for it is not there."""
    space, found = tables.space, {}
    columns = sorted({p.name for p in space.parameters})
    rows = tables.trials[columns].to_dict("records")
    values_of = [{str(k): v for k, v in row.items()} for row in rows]
    # What Optuna can keep under one name: of choices it wants the same ones in every trial.
    choices = {p.name for p in space.parameters if p.choices is not None}
    labelled = [(p, p.key if p.name in choices else p.name) for p in space.parameters]
    for trial, values in zip(tables.trials.trial, values_of, strict=True):
        found[int(trial)] = {
            label: Value(values[p.name], p) for p, label in labelled if p.active(values)
        }
    return found
