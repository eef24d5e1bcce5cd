"""When and where trials ran, and what the rungs made of them, from the journal alone."""

from __future__ import annotations

from typing import Any

import pandas as pd

from search_spaces import Space
from vgg6.tuning.algorithms.early_stopping import AshaRule, replay, stopping_rule, trained_whole
from vgg6.tuning.algorithms.warm_start import WarmStart
from vgg6.tuning.run.journal import History

GAP_S = 1.0  # two epochs of a trial further apart than this, over their length, are two spans


def spans(history: History) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each stretch in which a worker ran a trial, and how many ran at once.

    Returns (worker, trial, state, start, length) and (minute, count); times in minutes since the
    first trial was created.
    """
    began = min((t.created for t in history.trials.values()), default=0.0)
    found: list[dict[str, Any]] = []
    for trial in history.trials.values():
        last: dict[str, Any] | None = None
        for row in trial.curve:
            worker = f"{row.get('node', '?')} {row.get('pid', '')}"
            start, end = row["time"] - row["seconds"] - began, row["time"] - began
            if last and last["worker"] == worker and start - last["end"] < GAP_S + row["seconds"]:
                last["end"] = end
                continue
            last = {"worker": worker, "trial": trial.number, "state": trial.state,
                    "start": start, "end": end}  # fmt: skip
            found.append(last)
    table = pd.DataFrame(found, columns=["worker", "trial", "state", "start", "end"])
    steps = sorted([(t, 1) for t in table.start] + [(t, -1) for t in table.end])
    counts = pd.DataFrame(steps, columns=["second", "change"])
    running = pd.DataFrame(
        {"minute": (counts.second / 60).round(3), "count": counts.change.cumsum()}
    )
    table["length"] = (table.end - table.start) / 60
    table["start"] = table.start / 60
    return table.drop(columns="end"), running


def rung_counts(history: History, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """For each rung of each bracket of ASHA or Hyperband: its name, how many trials arrived, how
    many of them ran on past it, and the score that the scheduler would now ask for.

    The scheduler is replayed with the recorded results, as on a resume, so that trials which are
    trained whole are in no rung. Nothing where the search had no rungs.

    Args:
        facts: the search's ``search.json``.
    """
    settings = facts["settings"]
    if settings["scheduler"] not in ("asha", "hyperband"):
        return []
    space = Space.from_dict(facts["space"])
    warm = WarmStart.from_dict(facts.get("warm_start"), space)
    rule = stopping_rule(
        settings["scheduler"], epochs=settings["epochs"], grace=settings["grace"],
        reduction=settings["reduction"], seed=settings["seed"],
        whole=trained_whole(space, settings["searcher"], facts["trials"], warm.points),
    )  # fmt: skip
    assert isinstance(rule, AshaRule)
    replay(rule, history.arrivals)
    found = []
    for number, bracket in enumerate(rule.brackets):
        for milestone, recorded in bracket.scores.items():
            arrived = [int(key) for key in recorded]
            name = f"epoch {milestone:g}"
            found.append(
                {
                    "name": name if len(rule.brackets) == 1 else f"{name}, bracket {number}",
                    "arrived": len(arrived),
                    "promoted": sum(history.trials[n].epoch > milestone for n in arrived),
                    "cutoff": bracket.cutoff(recorded),
                }
            )
    return found
