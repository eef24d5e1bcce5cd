"""A run folder as tidy tables: one row a (trial, epoch), and one row a trial."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.results.tables import Run, columns_of, encoded, typed
from analysis.results.targets import TABLE_FORMATS
from search_spaces import Space
from vgg6.config import FIELD_NAMES, TrialConfig
from vgg6.tuning.run.folder import TABLE, RunFolder
from vgg6.tuning.run.journal import History, TrialRecord, read_history
from vgg6.tuning.run.records import read_search
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


def load_search(folder: RunFolder) -> Run:
    """Read a search of this tool.

    Raises:
        InputError: the journal is damaged in its middle.
    """
    facts, history = read_search(folder), read_history(folder)
    space = Space.from_dict(facts["space"])
    data, notes = facts["data"]["name"], []
    if history.torn_lines:
        notes.append(f"{history.torn_lines} unfinished lines of the journal were left out")
    return Run(
        name=facts["name"], data=data,
        table=_epochs(history, data), trials=_trials(history, data),
        parameters=space.names, space=space,
        follows=facts["settings"].get("searcher") in FOLLOWING, notes=tuple(notes),
    )  # fmt: skip


def load_table(run: RunFolder) -> pd.DataFrame:
    """One row a finished epoch of every trial, each (trial, epoch) once, sorted by both.

    ``epochs`` and ``lr`` are the configuration's; ``epoch_lr`` is the rate that the schedule had
    reached. ``seconds`` is the epoch's duration, ``time`` when it was reported (Unix seconds).

    Raises:
        InputError: the journal is damaged in its middle.
    """
    return _epochs(read_history(run), read_search(run)["data"]["name"])


def load_trials(run: RunFolder) -> pd.DataFrame:
    """One row a trial, those without a finished epoch included: their scores are missing values.

    ``final_*`` are the last epoch's metrics, ``train_seconds`` the sum of all epochs, ``created``
    and ``ended`` Unix seconds.

    Raises:
        InputError: the journal is damaged in its middle.
    """
    return _trials(read_history(run), read_search(run)["data"]["name"])


def write_table(run: RunFolder) -> None:
    """Write ``results`` and ``trials`` into the run folder, each as CSV and as parquet."""
    history, data = read_history(run), read_search(run)["data"]["name"]
    for name, frame in ((TABLE, _epochs(history, data)), (TRIALS_TABLE, _trials(history, data))):
        for suffix in TABLE_FORMATS:
            run.write(name.removesuffix(".csv") + suffix, encoded(frame, suffix))


def _epochs(history: History, data: str) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {name: [] for name in EPOCH_COLUMNS}
    for number in sorted(history.trials):
        trial = history.trials[number]
        facts = _facts(trial, data)
        epochs = sorted(trial.rows)
        for name, values in columns.items():
            if name in facts:
                values.extend([facts[name]] * len(epochs))
            else:
                key = "lr" if name == "epoch_lr" else name
                values.extend([trial.rows[epoch].get(key) for epoch in epochs])
    return typed(columns)


def _trials(history: History, data: str) -> pd.DataFrame:
    rows = []
    for number in sorted(history.trials):
        trial = history.trials[number]
        last = trial.rows.get(trial.epoch, {})
        rows.append(
            {
                **_facts(trial, data),
                "epochs_run": trial.epoch,
                "best_val_acc": trial.best_val_acc,
                "best_epoch": last.get("best_epoch"),
                **{f"final_{k}": last.get(k) for k in FINAL},
                "train_seconds": sum(row["seconds"] for row in trial.rows.values()),
                "created": trial.created,
                "ended": trial.ended,
            }
        )
    # The columns are named so that a search without a trial still has a table that reads back.
    return typed(columns_of(rows, TRIAL_COLUMNS))


def _facts(trial: TrialRecord, data: str) -> dict[str, Any]:
    label = TrialConfig.from_mapping(trial.config).label
    return {
        "trial": trial.number,
        "state": trial.state,
        "label": label,
        "data": data,
        **{name: trial.config[name] for name in FIELD_NAMES},
        "reason": trial.reason,
    }
