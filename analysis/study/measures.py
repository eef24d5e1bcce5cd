"""What a trial is compared by besides its best score: how soon it scored, and how steadily."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.confirmation.paired_scores import CLEAR_GAP
from analysis.insights.comparable_scores import scores_at
from analysis.results.table_files import SearchTables
from vgg6.task import STUDY

LEAST_EPOCHS = 4  # the second half of which has three, the fewest that a curvature is of
THRESHOLD = 0.9  # of the best score at an epoch: a trial that has come so far has converged


@dataclass(frozen=True)
class Measure:
    """A number of each trial, and the words for it.

    Args:
        values: by trial.
        axis: what a figure calls it.
        more, less: how one value differs from another, with ``{gap}`` for how much.
        better: what the better of two values is or does. best: 1 where more is better, else -1.
    """

    values: pd.Series
    axis: str
    more: str
    less: str
    better: str
    best: int = 1


def accuracy(tables: SearchTables, epoch: int) -> Measure:
    """The best validation accuracy (0 to 1) up to ``epoch``, of the trials that came so far."""
    at = f"by epoch {epoch}"
    return Measure(
        scores_at(tables, epoch), f"accuracy {at}",
        f"scores {{gap}} more {at} than", f"scores {{gap}} less {at} than", "is more accurate",
    )  # fmt: skip


def speed(tables: SearchTables, epoch: int) -> Measure:
    """The mean of the best validation accuracy so far over epochs 1 to ``epoch``: the area under
    the learning curve, which is larger where the same score is reached sooner."""
    over = f"over epochs 1 to {epoch}"
    return Measure(
        _curves(tables, "best_val_acc", 1, epoch).mean(axis=1),
        "mean accuracy so far",
        f"has {{gap}} more accuracy on average {over}, and so converges faster, than",
        f"has {{gap}} less accuracy on average {over}, and so converges more slowly, than",
        "converges faster",
    )


def unsteadiness(tables: SearchTables, epoch: int, still: Collection[int] = ()) -> Measure:
    """The standard deviation of an epoch's validation accuracy about a smooth curve, in the second
    half of epochs 1 to ``epoch``, of all trials but those that stood ``still``.

    Estimated from second differences, from which a straight line drops out (Gasser, Sroka and
    Jennen-Steinmetz, 1986): their mean square is six variances.
    """
    y = _curves(tables, "val_acc", epoch // 2, epoch).drop(index=list(still), errors="ignore")
    second = np.diff(y.to_numpy(dtype=float), n=2, axis=1)
    over = f"in epochs {epoch // 2} to {epoch}"
    return Measure(
        pd.Series(np.sqrt((second**2).mean(axis=1) / 6), index=y.index),
        "sd from epoch to epoch",
        f"jumps by {{gap}} more from epoch to epoch {over}, and so is less stable, than",
        f"jumps by {{gap}} less from epoch to epoch {over}, and so is more stable, than",
        "is more stable",
        best=-1,
    )


def epochs_to(tables: SearchTables, epoch: int) -> tuple[pd.Series, float]:
    """The first epoch at which each trial had THRESHOLD of the best score of all at ``epoch``; not
    a number where it never had. With that accuracy."""
    needed = THRESHOLD * float(scores_at(tables, epoch).max())
    first = tables.epochs[tables.epochs.val_acc >= needed].groupby("trial").epoch.min()
    return first.reindex(tables.epochs.trial.unique()).astype(float), needed


def at_chance(tables: SearchTables, images: int, classes: int = STUDY.classes) -> set[int]:
    """The trials whose best score is no more than chance gives on so many validation images:
    CLEAR_GAP standard deviations above one class in ``classes``."""
    share = 1 / classes
    most = share + CLEAR_GAP * math.sqrt(share * (1 - share) / images)
    scored = tables.trials.dropna(subset=["best_val_acc"])
    return set(scored.trial[scored.best_val_acc <= most].astype(int))


def _curves(tables: SearchTables, column: str, first: int, last: int) -> pd.DataFrame:
    """A metric by trial and epoch from ``first`` to ``last``, of the trials that came so far."""
    rows = tables.epochs[tables.epochs.epoch.between(first, last)]
    return rows.pivot(index="trial", columns="epoch", values=column).dropna()
