"""A search as tidy tables: one row a (trial, epoch), and one row a trial."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pandas as pd

from analysis.results.output_formats import TABLE_FORMATS
from analysis.results.table_files import SearchTables, columns_of, encoded, typed
from vgg6.config import FIELD_NAMES
from vgg6.tuning.run.folder import TABLE
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import TrialRecord
from vgg6.tuning.settings import FOLLOWING

TRIALS_TABLE = "trials.csv"
EPOCH_COLUMNS = (
    "trial", "epoch", "state", "label", "data", *FIELD_NAMES, "train_loss", "train_acc",
    "val_loss", "val_acc", "best_val_acc", "best_epoch", "epoch_lr", "seconds", "node", "time",
    "reason",
)  # fmt: skip
BALANCED = "val_balanced_acc"  # which the first recorded searches lack
FINAL = ("train_loss", "train_acc", "val_loss", "val_acc")
TRIAL_COLUMNS = (
    "trial", "state", "label", "data", *FIELD_NAMES, "reason", "epochs_run", "best_val_acc",
    "best_epoch", *(f"final_{k}" for k in FINAL), "train_seconds", "created", "ended",
)  # fmt: skip


def tables_of(search: Search) -> SearchTables:
    """All trials and epochs of a search."""
    facts, history, notes = search.facts, search.history, []
    if history.torn_lines:
        notes.append(f"{history.torn_lines} unfinished lines of the journal were left out")
    return SearchTables(
        name=search.name, data=facts.data.name,
        epochs=epochs_table(search), trials=trials_table(search),
        parameters=search.space.names, space=search.space,
        follows=facts.settings.searcher in FOLLOWING, notes=tuple(notes), metric=search.metric,
    )  # fmt: skip


def write_tables(search: Search) -> None:
    """Write ``results`` and ``trials`` into the run folder, each as CSV and as parquet."""
    for name, frame in ((TABLE, epochs_table(search)), (TRIALS_TABLE, trials_table(search))):
        for suffix in TABLE_FORMATS:
            search.folder.write(name.removesuffix(".csv") + suffix, encoded(frame, suffix))


def epochs_table(search: Search) -> pd.DataFrame:
    """One row a finished epoch of every trial, each (trial, epoch) once, sorted by both.

    ``epochs`` and ``lr`` are the configuration's; ``epoch_lr`` is the rate that the schedule had
    reached. ``seconds`` is the epoch's duration, ``time`` when it was reported (Unix seconds). A
    search by another metric than accuracy has its best score so far too, such as ``best_val_loss``;
    ``best_val_acc`` is then the accuracy of the best epoch.
    """
    best = _best(search)
    more = ((BALANCED,) if _has_balanced(search) else ()) + best
    columns: dict[str, list[Any]] = {name: [] for name in (*EPOCH_COLUMNS, *more)}
    own = {"epoch_lr": "lr", **dict.fromkeys(best, search.metric.best_key)}
    for _, trial in sorted(search.history.trials.items()):
        about, epochs = _about(trial, search.facts.data.name), trial.curve
        for name, values in columns.items():
            if name in about:
                values.extend([about[name]] * len(epochs))
            else:
                values.extend(map(attrgetter(own.get(name, name)), epochs))
    return typed(columns)


def trials_table(search: Search) -> pd.DataFrame:
    """One row a trial, those without a finished epoch included: their scores are missing values.

    ``final_*`` are the last epoch's metrics, ``train_seconds`` the sum of all epochs, ``created``
    and ``ended`` Unix seconds.
    """
    rows, best = [], _best(search)
    more = ((f"final_{BALANCED}",) if _has_balanced(search) else ()) + best
    for _, trial in sorted(search.history.trials.items()):
        last = trial.last
        rows.append(
            {
                **_about(trial, search.facts.data.name),
                "epochs_run": trial.epoch,
                "best_val_acc": trial.best_val_acc,
                f"final_{BALANCED}": last and last.val_balanced_acc,
                **dict.fromkeys(best, trial.score),
                "best_epoch": last and last.best_epoch,
                **{f"final_{name}": last and getattr(last, name) for name in FINAL},
                "train_seconds": trial.seconds,
                "created": trial.created,
                "ended": trial.ended,
            }
        )
    # The columns are named so that a search without a trial still has a table that reads back.
    return typed(columns_of(rows, (*TRIAL_COLUMNS, *more)))


def _has_balanced(search: Search) -> bool:
    """Whether a search recorded balanced accuracy, at least of its newest epochs."""
    trials = search.history.trials.values()
    return any(t.last is not None and t.last.val_balanced_acc is not None for t in trials)


def _best(search: Search) -> tuple[str, ...]:
    """The column of the best score so far, where it is another one than accuracy's."""
    return () if search.metric.is_accuracy else (search.metric.best_column,)


def _about(trial: TrialRecord, data: str) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state,
        "label": trial.config.label,
        "data": data,
        **trial.config.to_dict(),
        "reason": trial.reason,
    }
