"""What else a search found: scores against cost (the Pareto front), and the best of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vgg6.architecture import count_parameters
from vgg6.task import STUDY, Task
from vgg6.tuning.run.trials import COMPLETED, TrialRecord

KINDS = ("activation", "optimizer")


@dataclass(frozen=True)
class TrialCost:
    """A trial's score and what it took: seconds of training up to its best epoch, parameters; and
    how many of its ``epochs`` it ran. ``score``: its best by the search's metric; ``best_val_acc``:
    its accuracy in that epoch."""

    trial: int
    label: str
    best_val_acc: float
    seconds: float
    parameters: int
    epochs_run: int
    epochs: int
    score: float

    @classmethod
    def of(cls, trial: TrialRecord, task: Task = STUDY) -> TrialCost:
        """Of a trial with a score. ``task``: what its network is made for."""
        best = trial.best_epoch
        return cls(
            trial=trial.number,
            label=trial.config.label,
            best_val_acc=trial.best_val_acc or 0.0,
            seconds=sum(row.seconds for row in trial.rows.values() if row.epoch <= best),
            parameters=count_parameters(trial.config, task=task),
            epochs_run=trial.epoch,
            epochs=trial.config.epochs,
            score=trial.metric.worst if trial.score is None else trial.score,
        )


@dataclass(frozen=True)
class BestOfValue:
    """The best trial of those with one value of a hyperparameter; ``trials``: how many had it."""

    value: str
    best: TrialCost
    trials: int

    def to_dict(self, kind: str) -> dict[str, Any]:
        return {kind: self.value, **asdict(self.best), "trials": self.trials}


def pareto_front(ranked: Sequence[TrialRecord], task: Task = STUDY) -> list[TrialCost]:
    """The completed trials that no other one beats: none scores as well, is as quick to train and
    as small, and better in one of the three. The best score first.

    Args:
        ranked: trials with a score, as ``History.ranking`` gives them.
        task: what their networks are made for.
    """
    front: list[TrialCost] = []
    whole = [(trial, TrialCost.of(trial, task)) for trial in ranked if trial.state == COMPLETED]
    # The best first, and of equal scores the quickest: a later one beats none before it.
    whole.sort(key=lambda one: (-one[0].gain, one[1].seconds, one[1].parameters))
    for _, cost in whole:
        beaten = any(
            other.seconds <= cost.seconds and other.parameters <= cost.parameters for other in front
        )
        if not beaten:
            front.append(cost)
    return front


def best_of_each(ranked: Sequence[TrialRecord], kind: str, task: Task = STUDY) -> list[BestOfValue]:
    """The best trial of each value of ``kind``, a field such as ``optimizer``; the best first."""
    trials: dict[str, list[TrialRecord]] = {}
    for trial in ranked:
        trials.setdefault(getattr(trial.config, kind), []).append(trial)
    return [
        BestOfValue(value, TrialCost.of(own[0], task), len(own)) for value, own in trials.items()
    ]
