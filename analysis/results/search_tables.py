"""A run folder as tidy tables: one row a (trial, epoch), and one row a trial."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.results.ray_files import is_experiment
from analysis.results.ray_results import read_experiment
from analysis.results.tables import FORMATS, SEARCH_KIND, Run, columns_of, encoded, typed
from search_spaces import Space
from vgg6.config import FIELD_NAMES, InputError, TrialConfig
from vgg6.tuning.run.folder import SEARCH, TABLE, RunFolder, open_run
from vgg6.tuning.run.journal import History, TrialRecord, read_history
from vgg6.tuning.run.records import read_search
from vgg6.tuning.settings import FOLLOWING

TRIALS_TABLE = "trials.csv"
METRIC = "val_acc"
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


def load_run(
    location: str, storage: str = "runs", *, metric: str | None = None, mode: str | None = None
) -> Run:
    """Read a search of this tool, or a stock Ray Tune experiment, finished or not.

    Args:
        location: a folder, a storage URI, or a name below ``storage``.
        metric: for a Ray Tune experiment, what its trials are judged by; ``ray_results``
            says what is taken without it.
        mode: whether ``max`` or ``min`` of that is best.

    Raises:
        InputError: there is neither there, its files are damaged, or it has no such metric.
    """
    places = [location] if "://" in location else [location, f"{storage.rstrip('/')}/{location}"]
    for folder in map(RunFolder, places):
        if folder.exists(SEARCH):
            break
        if is_experiment(folder):
            return read_experiment(folder, metric, mode)
    else:
        folder = open_run(location, storage)
    if metric not in (None, METRIC) or mode not in (None, "max"):
        rule = f"is for Ray Tune experiments: this search is judged by the highest {METRIC}"
        raise InputError("--metric", metric or mode, rule)
    return load_search(folder)


def load_search(folder: RunFolder) -> Run:
    """Read a search of this tool.

    Raises:
        InputError: the journal is damaged in its middle.
    """
    facts, history = read_search(folder), read_history(folder)
    space = Space.from_dict(facts["space"]) if facts["space"] else None
    data, notes = facts["data"]["name"], []
    if history.torn_lines:
        notes.append(f"{history.torn_lines} unfinished lines of the journal were left out")
    return Run(
        name=facts["name"], kind=SEARCH_KIND, data=data,
        table=_epochs(history, data), trials=_trials(history, data),
        metric=METRIC, mode="max", metric_name=METRIC, parameters=space.names if space else (),
        follows=facts["settings"].get("searcher") in FOLLOWING, space=space,
        notes=tuple(notes),
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
        for suffix in FORMATS:
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
