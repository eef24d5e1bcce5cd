"""The winner of a search, confirmed or not, its curve and the ranking, for people and programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.packages.train_command import train_command
from analysis.winner.pareto import KINDS, best_of_each, pareto_front
from analysis.winner.test_looks import looks_in_words, recorded
from vgg6.common.checks import InputError
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.run_record import DataFacts, RuntimeFacts
from vgg6.tuning.run.folder import RunFolder, confirmed_file
from vgg6.tuning.run.journal import (
    RUNNING,
    STOPPED,
    History,
    TrialRecord,
    read_history,
)
from vgg6.tuning.run.records import confirmed_winner, read_confirmation, read_search

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 60
CURVE = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc")


def winner_of(run: RunFolder, history: History) -> TrialRecord:
    """The first of the ranking.

    Raises:
        InputError: no trial has a score; says how they stand and the first one's reason.
    """
    ranked = history.ranking()
    if not ranked:
        why = _states(history) or "none has begun"
        if failed := next((t for t in history.trials.values() if t.reason), None):
            why += f"; the first, trial {failed.number}: {failed.reason}"
        raise InputError("run", run.name, f"has no trial with a validation score: {why}")
    return ranked[0]


def summary(run: RunFolder, top: int) -> dict[str, Any]:
    """The winner, its curve and the ``top`` of the ranking as plain JSON values.

    The winner is the confirmed one where there is one, with the curve and the command of its median
    run over the fresh seeds; else the first of the ranking.

    ``complete``: the search ended as it was asked to, or all its trials ended and only the
    driver died before it could say so.

    Raises:
        InputError: no trial has a score, or the journal is damaged in its middle.
    """
    facts, history = read_search(run), read_history(run)
    ranked, confirmed = history.ranking(), read_confirmation(run)
    winner = winner_of(run, history)
    config, length = TrialConfig.from_mapping(winner.config), stop_after(winner)
    curve = winner.curve
    if confirmed:
        chosen = confirmed_winner(confirmed)
        seed = confirmed["representative_seed"]
        winner = history.trials[confirmed["winner"]]
        config, length = replace(TrialConfig.from_mapping(chosen["config"]), seed=seed), None
        curve = next(run["history"] for run in chosen["runs"] if run["seed"] == seed)
    ended = sum(t.state not in (RUNNING, STOPPED) for t in history.trials.values())
    outcome = history.sessions[-1].get("outcome") if history.sessions else None
    return {
        "search": facts["name"],
        "data": facts["data"]["name"],
        "complete": outcome == "complete" or ended >= facts["trials"],
        "trials_asked": facts["trials"],
        "trials_ended": ended,
        "trials": dict(Counter(t.state for t in history.trials.values())),
        "trials_scored": len(ranked),
        "epochs_run": len(history.arrivals),
        "winner": {
            **row_of(winner),
            "config": config.to_dict(),
            "train_command": train_command(
                config,
                read_record(DataFacts, facts["data"]),
                read_record(RuntimeFacts, facts["runtime"]),
                length,
            ),
            "curve": [{k: row[k] for k in CURVE} for row in curve],
        },
        "confirmation": confirmed,
        "unconfirmed": _unconfirmed(ranked, confirmed),
        "test": _test_of(run, winner.number, config.seed) if confirmed else None,
        "ranking": [row_of(t) for t in ranked[:top]],
        "pareto": pareto_front(ranked),
        **{f"best_by_{kind}": best_of_each(ranked, kind) for kind in KINDS},
    }


def _test_of(run: RunFolder, trial: int, seed: int) -> dict[str, Any] | None:
    return recorded(run, confirmed_file(trial, seed), what=f"trial {trial} seed {seed}")


def _unconfirmed(ranked: list[TrialRecord], confirmed: dict[str, Any] | None) -> list[int]:
    """Trials that a confirmation asked for now would take, and the one there is has not."""
    if confirmed is None:
        return []
    known = {row["trial"] for row in confirmed["candidates"]}
    floor = min(row["search_score"] for row in confirmed["candidates"])
    return [
        t.number
        for t in ranked[: confirmed["top"]]
        if t.number not in known and (t.best_val_acc or 0.0) > floor
    ]


def row_of(trial: TrialRecord) -> dict[str, Any]:
    """One line of the ranking."""
    return {
        "trial": trial.number,
        "label": TrialConfig.from_mapping(trial.config).label,
        "best_val_acc": trial.best_val_acc,
        "best_epoch": trial.rows[trial.epoch]["best_epoch"],
        "epochs_run": trial.epoch,
        "state": trial.state,
        "fingerprint": TrialConfig.from_mapping(trial.config).fingerprint,
    }


def stop_after(trial: TrialRecord) -> int | None:
    """How many epochs a re-run must stop after, if the trial was not run to its full length."""
    return trial.epoch if trial.epoch < trial.config["epochs"] else None


def render(found: dict[str, Any]) -> str:
    """The summary for a person: what won, how good it is or looks, and how to run it again."""
    out = Console(file=StringIO(), width=100, highlight=False, markup=False)
    best, confirmed = found["winner"], found["confirmation"]
    name = shown(found["data"])
    state = "" if found["complete"] else ", not complete"
    counts = ", ".join(f"{n} {state}" for state, n in sorted(found["trials"].items()))
    out.print(f"{found['search']} on {name}{state}: {counts}; {found['epochs_run']} epochs run\n")
    out.print(f"Best on {name}: trial {best['trial']}, {best['label']}")
    out.print(
        f"  val_acc {best['best_val_acc']:.4f} at epoch {best['best_epoch']}: the best single"
        f" validation score of {found['trials_scored']}, and so optimistic"
        if confirmed is None
        else confirmed_line(confirmed)
    )
    settings = [f"{k} {v}" for k, v in best["config"].items() if v is not None]
    for start in range(0, len(settings), 5):
        out.print("  " + ", ".join(settings[start : start + 5]))
    scores = [row["val_acc"] for row in best["curve"]]
    out.print(f"  val_acc by epoch {sparkline(scores)} {scores[0]:.3f} to {scores[-1]:.3f}\n")
    if confirmed:
        out.print(_confirmed_table(confirmed))
        out.print(f"{confirmed['why']}\n")
        if newer := found["unconfirmed"]:
            names = ", ".join(map(str, newer))
            out.print(f"Since then trial {names} came among the best: confirm again.\n")
    if tested := found["test"]:
        out.print(
            f"Test accuracy of the run in the middle: {tested['accuracy']:.4f}{_interval(tested)}"
            f" on {tested['images']:,} images;\n{looks_in_words(tested['looks'])}\n"
        )
    table = Table("rank", "trial", "configuration", "val_acc", "epoch", "epochs", "ended", box=None)
    for place, row in enumerate(found["ranking"], start=1):
        table.add_row(
            str(place), str(row["trial"]), row["label"], f"{row['best_val_acc']:.4f}",
            str(row["best_epoch"]), str(row["epochs_run"]), row["state"],
        )  # fmt: skip
    out.print(table)
    for kind in KINDS:
        each = (f"{row[kind]} {row['best_val_acc']:.4f}" for row in found[f"best_by_{kind}"])
        out.print(f"\nBest by {kind}: {', '.join(each)}")
    out.print("\nMost accurate for their training time and size (Pareto front):")
    for row in found["pareto"]:
        out.print(
            f"  trial {row['trial']}, {row['label']}: val_acc {row['best_val_acc']:.4f},"
            f" {row['seconds']:.0f} s, {row['parameters']:,} parameters"
        )
    out.print("\nTo train it again:")
    out.file.write(f"  {best['train_command']}\n")  # never wrapped: it is there to be copied
    return out.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def confirmed_line(confirmed: dict[str, Any]) -> str:
    """The winner's mean with its interval, its single score beside it, and the difference."""
    row = confirmed_winner(confirmed)
    n = sum(run["val_acc"] is not None for run in row["runs"])
    return (
        f"  val_acc {row['mean']:.4f}{_interval(row)}: the mean of {n} fresh"
        f" seed{'s' * (n > 1)}\n  in the search it scored {row['search_score']:.4f}: an optimism of"
        f" {row['optimism']:+.4f}"
    )


def _interval(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f" (95 % {row['low']:.4f} to {row['high']:.4f})"


def _confirmed_table(confirmed: dict[str, Any]) -> Table:
    table = Table(
        "trial", "configuration", "search", "seeds", "mean", "95 % interval", "", box=None
    )
    for row in confirmed["candidates"]:
        runs = len(row["runs"])
        verdict = "behind"
        if row["trial"] == confirmed["winner"]:
            verdict = "winner"
        elif row["eliminated_after"]:
            verdict = "dropped"
        elif row["tied"]:
            verdict = "tied"
        table.add_row(
            str(row["trial"]), row["label"], f"{row['search_score']:.4f}", str(runs),
            "-" if row["mean"] is None else f"{row['mean']:.4f}",
            "-" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}", verdict,
        )  # fmt: skip
    return table


def shown(data: str) -> str:
    """A data set's name in a headline: nobody shall take the embedded digits for CIFAR-10."""
    return "digits (not CIFAR-10)" if data == "digits" else data


def sparkline(values: list[float], width: int = CURVE_WIDTH) -> str:
    """Values as a row of bars between their least and their greatest.

    More than ``width`` values are thinned evenly; the first and the last always stay.
    """
    if len(values) > width:
        values = [values[i * (len(values) - 1) // (width - 1)] for i in range(width)]
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((v - low) * scale)] for v in values)


def _states(history: History) -> str:
    counts = Counter(t.state for t in history.trials.values())
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
