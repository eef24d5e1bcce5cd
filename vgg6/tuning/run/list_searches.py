"""The searches that lie side by side in one storage, and how each stands."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyarrow import fs as pafs
from rich.table import Table

from vgg6.common.checks import InputError
from vgg6.common.numbers_in_words import counted, duration
from vgg6.common.plain_text import PlainText
from vgg6.metric import ACCURACY, metric_named
from vgg6.tuning.run.driver_lock import is_starting
from vgg6.tuning.run.folder import SEARCH, RunFolder, names_of
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.status import STARTING, ConfirmedWinner, Incumbent, status_of
from vgg6.tuning.run.trials import PAUSED, RUNNING

WIDTH = 200  # of a table that is never wrapped
DAMAGED = "damaged"


@dataclass(frozen=True)
class Listed:
    """One search. ``state``: as ``status`` says it, or damaged; ``ended``: of its ``trials``;
    ``age_s``: seconds since it was created, None where that was not recorded; ``problem``: why it
    cannot be read."""

    name: str
    state: str
    trials: int | None = None
    ended: int | None = None
    incumbent: Incumbent | None = None
    confirmed: ConfirmedWinner | None = None
    age_s: float | None = None
    problem: str = ""
    metric: str = ACCURACY.name

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def searches_in(storage: str) -> list[Listed]:
    """All searches of a storage, the newest first. One that is damaged is listed with its problem.

    Raises:
        InputError: it is no storage that pyarrow can open.
    """
    place, now = RunFolder(storage), time.time()
    below = pafs.FileSelector(place.path, allow_not_found=True)
    names = names_of(place.fs.get_file_info(below))
    folders = [RunFolder(f"{storage.rstrip('/')}/{name}") for name in sorted(names)]
    found = [_starting(folder) for folder in folders if is_starting(folder)]
    found += [_listed(folder, now) for folder in folders if folder.exists(SEARCH)]
    return sorted(found, key=lambda one: float("inf") if one.age_s is None else one.age_s)


def _starting(folder: RunFolder) -> Listed:
    """A search that has no file yet: see ``is_starting``."""
    made = folder.fs.get_file_info(folder.path).mtime
    return Listed(folder.name, STARTING, age_s=max(0.0, round(time.time() - made.timestamp())))


def _listed(folder: RunFolder, now: float) -> Listed:
    try:
        search = read_search(folder)
    except InputError as error:
        return Listed(folder.name, DAMAGED, problem=str(error))
    status = status_of(search)
    return Listed(
        name=folder.name,
        state=status.state,
        trials=status.trials,
        ended=sum(
            n for state, n in search.history.states.items() if state not in (RUNNING, PAUSED)
        ),
        incumbent=status.incumbent,
        confirmed=status.confirmed,
        age_s=_age(search.facts.created, now),
        metric=status.metric,
    )


def _age(created: str, now: float) -> float | None:
    try:
        return max(0.0, round(now - datetime.strptime(created, "%Y-%m-%dT%H:%M:%S%z").timestamp()))
    except ValueError:  # of an early format, or edited
        return None


def render(found: list[Listed], storage: str) -> str:
    """A line a search."""
    if not found:
        return f"no search in {storage}"
    columns = {metric_named(one.metric).column for one in found if not one.problem}
    score = columns.pop() if len(columns) == 1 else "score"
    table = Table("search", "state", "trials", score, "best trial", "age", box=None, pad_edge=False)
    for one in found:
        trials = "" if one.trials is None else f"{one.ended} of {one.trials}"
        age = "" if one.age_s is None else duration(one.age_s)
        best, whose = _best(one)
        if best and columns:  # of several metrics, each figure names its own
            best = f"{metric_named(one.metric).column} {best}"
        table.add_row(one.name, one.state, trials, best, whose, age)
    out = PlainText(WIDTH, markup=False)
    out.print(table)
    for one in found:
        if one.problem:
            out.file.write(f"{one.name}: {one.problem}\n")
    return "\n".join(line.rstrip() for line in out.text.splitlines())


def _best(one: Listed) -> tuple[str, str]:
    """The confirmed mean where there is one, else the best score so far; and whose it is."""
    if winner := one.confirmed:
        seeds = counted(winner.seeds, "seed")
        return f"{winner.mean:.4f}", f"trial {winner.trial} {winner.label}, mean of {seeds}"
    if best := one.incumbent:
        return f"{best.score:.4f}", f"trial {best.trial} {best.label}"
    return "", ""
