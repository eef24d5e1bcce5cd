"""What else a search found: accuracy against cost (the Pareto front), and the best of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vgg6.config import TrialConfig
from vgg6.model import count_parameters
from vgg6.tuning.run.journal import TrialRecord

KINDS = ("activation", "optimizer")


def cost_of(trial: TrialRecord) -> dict[str, Any]:
    """A trial's score and what it took: seconds of training up to its best epoch, parameters."""
    config = TrialConfig.from_mapping(trial.config)
    best = trial.rows[trial.epoch]["best_epoch"]
    return {
        "trial": trial.number,
        "label": config.label,
        "best_val_acc": trial.best_val_acc,
        "seconds": sum(row["seconds"] for epoch, row in trial.rows.items() if epoch <= best),
        "parameters": count_parameters(config),
    }


def pareto_front(ranked: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """The trials that no other one beats: none is as accurate, as quick to train and as small, and
    better in one of the three. The most accurate first.

    Args:
        ranked: trials with a score, as ``History.ranking`` gives them.
    """
    front: list[dict[str, Any]] = []
    for row in map(cost_of, ranked):  # the best first: a later one cannot be more accurate
        beaten = any(
            other["seconds"] <= row["seconds"] and other["parameters"] <= row["parameters"]
            for other in front
        )
        if not beaten:
            front.append(row)
    return front


def best_of_each(ranked: Sequence[TrialRecord], kind: str) -> list[dict[str, Any]]:
    """The best trial of each value of ``kind`` (a field such as ``optimizer``) and how many trials
    had that value, the best value first."""
    found: dict[str, dict[str, Any]] = {}
    for trial in ranked:
        value = trial.config[kind]
        found.setdefault(value, {kind: value, **cost_of(trial), "trials": 0})["trials"] += 1
    return list(found.values())
