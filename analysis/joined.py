"""Two searches of the same images as one, so that runs of both can be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.results import load_search
from analysis.tables import Run
from vgg6.config import FIELD_NAMES, InputError
from vgg6.tuning.recorded import read_search
from vgg6.tuning.run_folder import RunFolder


@dataclass(frozen=True)
class Repeated:
    """A configuration that both searches trained. ``apart``: the greatest difference of their
    validation accuracies at one epoch."""

    label: str
    epochs: int
    apart: float


def joined(run: RunFolder, other: RunFolder) -> tuple[Run, list[Repeated]]:
    """The trials of ``run``, then those of ``other`` that it has not, under numbers of their own.

    Raises:
        InputError: ``other`` had other images or other parameters to vary.
    """
    facts, others = read_search(run), read_search(other)
    if facts["data"]["fingerprint"] != others["data"]["fingerprint"]:
        rule = f"had other images ({_data(others)}) than {facts['name']} ({_data(facts)})"
        raise InputError("--also", other.name, rule)
    if facts["space"]["parameters"] != others["space"]["parameters"]:
        raise InputError("--also", other.name, f"varied other parameters than {facts['name']}")
    first, second = load_search(run), load_search(other)
    offset = int(first.trials.trial.max()) + 1 if len(first.trials) else 0
    trials = second.trials.assign(trial=second.trials.trial + offset)
    table = second.table.assign(trial=second.table.trial + offset)
    known = {_key(row): int(row["trial"]) for row in _dicts(first.trials)}
    twice = {int(row["trial"]): known[_key(row)] for row in _dicts(trials) if _key(row) in known}
    repeated = [_compared(first.table, table, own, again) for again, own in twice.items()]
    merged = replace(
        first,
        name=f"{first.name} and {second.name}",
        trials=pd.concat([first.trials, trials[~trials.trial.isin(twice)]], ignore_index=True),
        table=pd.concat([first.table, table[~table.trial.isin(twice)]], ignore_index=True),
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
