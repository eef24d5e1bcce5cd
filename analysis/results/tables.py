"""What every run folder is read into, and its columns' types in CSV and parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from search_spaces import Space
from vgg6.common.files import write_atomic
from vgg6.config import CHOICES, FLOAT_RANGES, INT_RANGES, InputError

SEARCH_KIND, RAY_KIND = "search", "ray"
FORMATS = (".csv", ".parquet")
_TEXTS = {"state", "label", "data", "reason", "node", "ray_id", *CHOICES}
_COUNTS = {"trial", "epoch", "best_epoch", "epochs_run", *INT_RANGES}
_REALS = {
    *FLOAT_RANGES, *(f"{part}_{what}" for part in ("train", "val") for what in ("loss", "acc")),
    "best_val_acc", "epoch_lr", "seconds", "time", "train_seconds", "created", "ended",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run folder as read, whoever wrote it: this tool's search or a Ray Tune experiment.

    Args:
        name: of the folder.
        kind: SEARCH_KIND or RAY_KIND.
        data: the data set's name; empty where it is not known.
        table: one row a (trial, epoch), sorted by both.
        trials: one row a trial, sorted by its number.
        metric: the column of ``table`` that a trial is judged by; ``best_METRIC`` is the best of it
            so far in ``table``, and of the whole trial in ``trials``.
        mode: whether ``max`` or ``min`` of it is best.
        metric_name: what the metric was reported as.
        parameters: the columns of ``trials`` that the search varied.
        follows: whether the searcher chose trials by what earlier ones scored.
        space: the search space; None where the folder holds none.
        notes: what was left out or guessed while reading, a sentence each.
    """

    name: str
    kind: str
    data: str
    table: pd.DataFrame
    trials: pd.DataFrame
    metric: str
    mode: str
    metric_name: str
    parameters: tuple[str, ...]
    follows: bool = False
    space: Space | None = None
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The column of the best score so far."""
        return f"best_{self.metric}"


def typed(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """A frame whose columns have the types that they are read back with from parquet.

    A known column has one type whatever it holds, an empty one too (whole numbers are nullable
    where one is missing). Any other has the type of its values; where these are mixed, or lists,
    it is their JSON text.
    """
    return pd.DataFrame({name: _column(name, values) for name, values in columns.items()})


def _column(name: str, values: list[Any]) -> pd.Series:
    kinds = {type(v) for v in values if v is not None}
    missing = any(v is None for v in values)
    if name in _TEXTS or kinds == {str}:
        return pd.Series(values, dtype="str")
    if not kinds:
        kinds = {int if name in _COUNTS else float}
    if kinds == {int} and name not in _REALS and all(v is None or abs(v) < 2**63 for v in values):
        return pd.Series(values, dtype="Int64" if missing else "int64")
    if kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if missing else "bool")
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pd.Series(texts, dtype="str")


def encoded(frame: pd.DataFrame, suffix: str) -> bytes:
    """A frame as the content of a ``.csv`` or ``.parquet`` file."""
    if suffix == ".csv":
        return frame.to_csv(index=False).encode()
    content = BytesIO()
    frame.to_parquet(content, index=False)
    return content.getvalue()


def check_table_file(out: Path) -> None:
    """Raise InputError unless a table can be written as ``out``."""
    if out.suffix not in FORMATS:
        raise InputError("--out", str(out), f"does not end with {' or '.join(FORMATS)}")
    if not out.absolute().parent.is_dir():
        raise InputError("--out", str(out), "is in no folder that exists")


def save(frame: pd.DataFrame, out: Path) -> None:
    """Write a frame in the format that its file's name ends with.

    Raises:
        InputError: the name ends otherwise, or there is no such folder.
    """
    check_table_file(out)
    write_atomic(out, encoded(frame, out.suffix))


def columns_of(rows: list[dict[str, Any]], first: Iterable[str]) -> dict[str, list[Any]]:
    """Rows as columns: those named ``first``, then others as they appear; None where absent."""
    names = dict.fromkeys(first)
    for row in rows:
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}
