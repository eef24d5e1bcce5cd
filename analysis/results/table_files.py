"""A search as tables, and its columns' types in CSV and parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.results.output_formats import check_table_file
from search_spaces import Space
from vgg6.common.files import write_atomic
from vgg6.config import CHOICES, INT_RANGES
from vgg6.metric import ACCURACY, Metric

_TEXTS = {"state", "label", "data", "reason", "node", *CHOICES}
_COUNTS = {"trial", "epoch", "best_epoch", "epochs_run", *INT_RANGES}


@dataclass(frozen=True)
class SearchTables:
    """A search as tables.

    Args:
        name: of the search.
        data: the data set's name.
        epochs: one row a (trial, epoch), sorted by both.
        trials: one row a trial, sorted by its number.
        parameters: the columns of ``trials`` that the search varied.
        space: the search space.
        follows: whether the searcher chose trials by what earlier ones scored.
        notes: what was left out while reading, a sentence each.
        metric: what its trials were ranked by. Both tables have its best score so far, as
            ``Metric.best_column``.
    """

    name: str
    data: str
    epochs: pd.DataFrame
    trials: pd.DataFrame
    parameters: tuple[str, ...]
    space: Space
    follows: bool = False
    notes: tuple[str, ...] = ()
    metric: Metric = ACCURACY


def typed(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """A frame whose columns have the types that they are read back with from parquet.

    A column has one type whatever it holds, an empty one too. Whole numbers are nullable where one
    is missing.
    """
    return pd.DataFrame({name: _column(name, values) for name, values in columns.items()})


def _column(name: str, values: list[Any]) -> pd.Series:
    if name in _TEXTS:
        return pd.Series(values, dtype="str")
    if name in _COUNTS:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    return pd.Series(values, dtype="float64")


def encoded(frame: pd.DataFrame, suffix: str) -> bytes:
    """A frame as the content of a ``.csv`` or ``.parquet`` file."""
    if suffix == ".csv":
        return frame.to_csv(index=False).encode()
    content = BytesIO()
    frame.to_parquet(content, index=False)
    return content.getvalue()


def save(frame: pd.DataFrame, out: Path) -> None:
    """Write a frame in the format that its file's name ends with, in a folder that is made where
    there is none.

    Raises:
        InputError: the name ends otherwise, or the folder cannot be made.
    """
    check_table_file(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, encoded(frame, out.suffix))


def columns_of(rows: list[dict[str, Any]], names: Iterable[str]) -> dict[str, list[Any]]:
    """Rows as columns in the order of ``names``; None where a row has no such value."""
    return {name: [row.get(name) for row in rows] for name in names}
