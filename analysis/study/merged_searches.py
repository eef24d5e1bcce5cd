"""Searches of the same images as one, so that runs of all of them can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.results.search_tables import tables_of
from analysis.results.table_files import SearchTables
from vgg6.common.checks import InputError
from vgg6.config import FIELD_NAMES
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import FAILED


@dataclass(frozen=True)
class Repeated:
    """A configuration that two of the searches trained. ``apart``: the greatest difference of their
    validation accuracies at one epoch."""

    label: str
    epochs: int
    apart: float


def merged(
    search: Search, tables: SearchTables, others: Sequence[Search]
) -> tuple[SearchTables, list[Repeated]]:
    """The trials of ``search``, then those that each of the ``others`` adds, under numbers of their
    own. A trial that crashed gives way to the same configuration in a later search.

    Raises:
        InputError: one of the others had other images or other parameters to vary, or goes by
            another metric.
    """
    repeated: list[Repeated] = []
    for other in others:
        _check(search, other)
        tables, again = _with(tables, tables_of(other))
        repeated += again
    return tables, repeated


def _check(search: Search, other: Search) -> None:
    name = other.folder.name
    if search.facts.data.fingerprint != other.facts.data.fingerprint:
        rule = f"had other images ({_images(other)}) than {search.name} ({_images(search)})"
        raise InputError("also", name, rule)
    if search.metric != other.metric:
        rule = f"goes by {other.metric.name}, and {search.name} by {search.metric.name}"
        raise InputError("also", name, rule)
    if search.space.parameters != other.space.parameters:
        raise InputError("also", name, f"varied other parameters than {search.name}")


def _with(first: SearchTables, second: SearchTables) -> tuple[SearchTables, list[Repeated]]:
    offset = int(first.trials.trial.max()) + 1 if len(first.trials) else 0
    trials = second.trials.assign(trial=second.trials.trial + offset)
    epochs = second.epochs.assign(trial=second.epochs.trial + offset)
    coming = {_key(row) for row in _dicts(trials)}
    crashed = {
        int(row["trial"])
        for row in _dicts(first.trials)
        if row["state"] == FAILED and _key(row) in coming
    }
    own_trials = first.trials[~first.trials.trial.isin(crashed)]
    own_epochs = first.epochs[~first.epochs.trial.isin(crashed)]
    known = {_key(row): int(row["trial"]) for row in _dicts(own_trials)}
    twice = {int(row["trial"]): known[_key(row)] for row in _dicts(trials) if _key(row) in known}
    repeated = [_compared(own_epochs, epochs, own, again) for again, own in twice.items()]
    both = replace(
        first,
        name=f"{first.name} and {second.name}",
        trials=pd.concat([own_trials, trials[~trials.trial.isin(twice)]], ignore_index=True),
        epochs=pd.concat([own_epochs, epochs[~epochs.trial.isin(twice)]], ignore_index=True),
        follows=first.follows or second.follows,
    )
    return both, [r for r in repeated if r is not None]


def _compared(first: pd.DataFrame, second: pd.DataFrame, own: int, again: int) -> Repeated | None:
    a = first[first.trial == own].set_index("epoch")
    b = second[second.trial == again].set_index("epoch")
    gaps = (a.val_acc - b.val_acc).dropna().abs()
    if not len(gaps):
        return None
    return Repeated(str(a.label.iloc[0]), len(gaps), float(gaps.max()))


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in FIELD_NAMES)


def _dicts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _images(search: Search) -> str:
    data = search.facts.data
    return f"{data.train_images:,} of {data.name}"
