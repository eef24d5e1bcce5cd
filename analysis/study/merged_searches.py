"""Searches of the same images as one, so that runs of all of them can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.results.search_tables import load_search
from analysis.results.tables import Run
from vgg6.common.checks import InputError
from vgg6.config import FIELD_NAMES
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import FAILED
from vgg6.tuning.run.records import read_search


@dataclass(frozen=True)
class Repeated:
    """A configuration that two of the searches trained. ``apart``: the greatest difference of their
    validation accuracies at one epoch."""

    label: str
    epochs: int
    apart: float


def joined(run: RunFolder, others: Sequence[RunFolder]) -> tuple[Run, list[Repeated]]:
    """The trials of ``run``, then those that each of the ``others`` adds, under numbers of their
    own. A trial that crashed gives way to the same configuration in a later search.

    Raises:
        InputError: one of the others had other images or other parameters to vary.
    """
    merged, repeated = load_search(run), []
    facts = read_search(run)
    for other in others:
        _check(facts, read_search(other), other.name)
        merged, again = _merged(merged, load_search(other))
        repeated += again
    return merged, repeated


def _check(facts: dict[str, Any], others: dict[str, Any], name: str) -> None:
    if facts["data"]["fingerprint"] != others["data"]["fingerprint"]:
        rule = f"had other images ({_data(others)}) than {facts['name']} ({_data(facts)})"
        raise InputError("also", name, rule)
    if facts["space"]["parameters"] != others["space"]["parameters"]:
        raise InputError("also", name, f"varied other parameters than {facts['name']}")


def _merged(first: Run, second: Run) -> tuple[Run, list[Repeated]]:
    offset = int(first.trials.trial.max()) + 1 if len(first.trials) else 0
    trials = second.trials.assign(trial=second.trials.trial + offset)
    table = second.table.assign(trial=second.table.trial + offset)
    coming = {_key(row) for row in _dicts(trials)}
    crashed = {
        int(row["trial"])
        for row in _dicts(first.trials)
        if row["state"] == FAILED and _key(row) in coming
    }
    own_trials = first.trials[~first.trials.trial.isin(crashed)]
    own_table = first.table[~first.table.trial.isin(crashed)]
    known = {_key(row): int(row["trial"]) for row in _dicts(own_trials)}
    twice = {int(row["trial"]): known[_key(row)] for row in _dicts(trials) if _key(row) in known}
    repeated = [_compared(own_table, table, own, again) for again, own in twice.items()]
    merged = replace(
        first,
        name=f"{first.name} and {second.name}",
        trials=pd.concat([own_trials, trials[~trials.trial.isin(twice)]], ignore_index=True),
        table=pd.concat([own_table, table[~table.trial.isin(twice)]], ignore_index=True),
        follows=first.follows or second.follows,
    )
    return merged, [r for r in repeated if r is not None]


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


def _data(facts: dict[str, Any]) -> str:
    return f"{facts['data']['train_images']:,} of {facts['data']['name']}"
