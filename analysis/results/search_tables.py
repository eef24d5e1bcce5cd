"""A search as tidy tables: one row a (trial, epoch), and one row a trial."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pandas as pd

from analysis.results.tables import SearchTables, columns_of, encoded, typed
from analysis.results.targets import TABLE_FORMATS
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
        follows=facts.settings.searcher in FOLLOWING, notes=tuple(notes),
    )  # fmt: skip


def write_tables(search: Search) -> None:
    """Write ``results`` and ``trials`` into the run folder, each as CSV and as parquet."""
    for name, frame in ((TABLE, epochs_table(search)), (TRIALS_TABLE, trials_table(search))):
        for suffix in TABLE_FORMATS:
            search.folder.write(name.removesuffix(".csv") + suffix, encoded(frame, suffix))


def epochs_table(search: Search) -> pd.DataFrame:
    """One row a finished epoch of every trial, each (trial, epoch) once, sorted by both.

    ``epochs`` and ``lr`` are the configuration's; ``epoch_lr`` is the rate that the schedule had
    reached. ``seconds`` is the epoch's duration, ``time`` when it was reported (Unix seconds).
    """
    columns: dict[str, list[Any]] = {name: [] for name in EPOCH_COLUMNS}
    for _, trial in sorted(search.history.trials.items()):
        about, epochs = _about(trial, search.facts.data.name), trial.curve
        for name, values in columns.items():
            if name in about:
                values.extend([about[name]] * len(epochs))
            else:
                values.extend(map(attrgetter("lr" if name == "epoch_lr" else name), epochs))
    return typed(columns)


def trials_table(search: Search) -> pd.DataFrame:
    """One row a trial, those without a finished epoch included: their scores are missing values.

    ``final_*`` are the last epoch's metrics, ``train_seconds`` the sum of all epochs, ``created``
    and ``ended`` Unix seconds.
    """
    rows = []
    for _, trial in sorted(search.history.trials.items()):
        last = trial.last
        rows.append(
            {
                **_about(trial, search.facts.data.name),
                "epochs_run": trial.epoch,
                "best_val_acc": trial.best_val_acc,
                "best_epoch": last and last.best_epoch,
                **{f"final_{name}": last and getattr(last, name) for name in FINAL},
                "train_seconds": trial.seconds,
                "created": trial.created,
                "ended": trial.ended,
            }
        )
    # The columns are named so that a search without a trial still has a table that reads back.
    return typed(columns_of(rows, TRIAL_COLUMNS))


def _about(trial: TrialRecord, data: str) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state,
        "label": trial.config.label,
        "data": data,
        **trial.config.to_dict(),
        "reason": trial.reason,
    }
