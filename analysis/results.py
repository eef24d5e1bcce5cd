"""A run folder as tidy tables: one row a (trial, epoch), and one row a trial."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from vgg6.config import FIELD_NAMES, TrialConfig, check_choice
from vgg6.files import write_atomic
from vgg6.tuning.journal import TrialRecord, read_history
from vgg6.tuning.run_folder import SEARCH, TABLE, RunFolder

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


def load_table(run: RunFolder) -> pd.DataFrame:
    """One row a finished epoch of every trial, each (trial, epoch) once, sorted by both.

    ``epochs`` and ``lr`` are the configuration's; ``epoch_lr`` is the rate that the schedule had
    reached. ``seconds`` is the epoch's duration, ``time`` when it was reported (Unix seconds).

    Raises:
        InputError: the journal is damaged in its middle.
    """
    history, data = read_history(run), run.read_json(SEARCH)["data"]["name"]
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
    return pd.DataFrame(columns)


def load_trials(run: RunFolder) -> pd.DataFrame:
    """One row a trial, those without a finished epoch included: their scores are missing values.

    ``final_*`` are the last epoch's metrics, ``train_seconds`` the sum of all epochs, ``created``
    and ``ended`` Unix seconds.

    Raises:
        InputError: the journal is damaged in its middle.
    """
    history, data = read_history(run), run.read_json(SEARCH)["data"]["name"]
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
    return pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))


def write_table(run: RunFolder) -> None:
    """Write ``results`` and ``trials`` into the run folder, each as CSV and as parquet."""
    for name, table in ((TABLE, load_table(run)), (TRIALS_TABLE, load_trials(run))):
        run.write(name, table.to_csv(index=False).encode())
        run.write(str(Path(name).with_suffix(".parquet")), _parquet(table))


def save_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table to a file whose name ends in ``.csv`` or ``.parquet``.

    Raises:
        InputError: it ends in something else.
    """
    check_choice("--out", file.suffix, (".csv", ".parquet"))
    content = _parquet(table) if file.suffix == ".parquet" else table.to_csv(index=False).encode()
    write_atomic(file, content)


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


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
