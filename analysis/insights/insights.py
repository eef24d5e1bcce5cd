"""What mattered in a search, what early stopping saved, and why trials diverged."""

from __future__ import annotations

import re
from io import StringIO
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.insights.importance import FANOVA, importance
from analysis.insights.matched_pairs import MIN_PAIRS, REFERENCE, interaction, matched_effects
from analysis.results.tables import Run
from analysis.winner.ranking import shown
from vgg6.tuning.run import journal as j

NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[+-]?\d+)?(?![\w.]*\w)", re.IGNORECASE)


def insights(run: Run, evaluator: str = FANOVA) -> dict[str, Any]:
    """What mattered, as plain JSON values; ``notes`` say how each part was made, or why it is not.

    The parts: ``importance`` (see importance.py), ``interaction`` and ``effects`` (see
    matched_pairs.py), ``saved`` and ``infeasible`` (here).
    """
    mattered, why = importance(run, evaluator)
    layout, layout_note = interaction(run)
    effects = {factor: matched_effects(run, factor) for factor in REFERENCE}
    return {
        "importance": mattered,
        "interaction": layout,
        "effects": {factor: rows for factor, (rows, _) in effects.items()},
        "saved": saved(run),
        "infeasible": infeasible(run),
        "notes": {
            "importance": why,
            "interaction": layout_note,
            **{factor: note for factor, (_, note) in effects.items()},
            "saved": "the epochs that pruned trials were spared, each at its own mean seconds;"
            " a trial that diverged, crashed or has not ended counts as it ran",
        },
    }


def saved(run: Run) -> dict[str, Any]:
    """The epochs that were run, against those had no trial been stopped early.

    Only pruned trials could have gone on: a diverged one had no more epochs to run, and of one
    that crashed or has not ended nobody decided that it should stop.
    """
    trials = run.trials
    pruned = trials[(trials.state == j.PRUNED) & (trials.epochs_run > 0)]
    spared = (pruned.epochs - pruned.epochs_run).clip(lower=0)
    ran = int(trials.epochs_run.sum())
    full = ran + int(spared.sum())
    seconds = float((spared * pruned.train_seconds / pruned.epochs_run).sum())
    return {
        "epochs_run": ran,
        "epochs_full": full,
        "share": 1 - ran / full if full else 0.0,
        "seconds_saved": seconds,
    }


def infeasible(run: Run) -> dict[str, Any]:
    """The share of the ended trials whose loss diverged, and their reasons without the numbers."""
    ended = run.trials[~run.trials.state.isin((j.RUNNING, j.STOPPED))]
    diverged = ended[ended.state == j.INFEASIBLE]
    reasons = diverged.groupby(diverged.reason.map(without_numbers)).trial.agg(list)
    grouped = sorted(reasons.items(), key=lambda item: (-len(item[1]), str(item[0])))
    return {
        "count": len(diverged),
        "share": len(diverged) / len(ended) if len(ended) else 0.0,
        "reasons": [
            {"reason": str(reason), "count": len(numbers), "trials": [int(n) for n in numbers]}
            for reason, numbers in grouped
        ],
    }


def without_numbers(reason: str) -> str:
    """A reason with ``N`` for each number, so that the same one of two epochs is one."""
    return NUMBER.sub("N", reason)


def render(run: Run, found: dict[str, Any]) -> str:
    """The insights for a person."""
    out = Console(file=StringIO(), width=100, highlight=False)
    out.print(f"{run.name} on {shown(run.data)}: {len(run.trials)} trials by val_acc", markup=False)
    _importance(out, found)
    _interaction(out, found)
    for factor, rows in found["effects"].items():
        _effects(out, factor, rows, found["notes"][factor])
    _cost(out, found)
    return out.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def _importance(out: Console, found: dict[str, Any]) -> None:
    mattered, note = found["importance"], found["notes"]["importance"]
    if mattered is None:
        out.print(f"\nImportance: none, {note}", markup=False)
        return
    out.print(f"\nImportance ({mattered['evaluator']}, {mattered['trials']} trials): {note}")
    table = Table("", "share", "95 %", "p by chance", box=None)
    for name, value in mattered["values"].items():
        table.add_row(
            name.replace("[", r"\["), f"{value['mean']:.2f}",
            f"{value['low']:.2f} to {value['high']:.2f}", f"{value['p']:.2f}",
        )  # fmt: skip
    out.print(table)
    chance = 1 - sum(value["mean"] for value in mattered["values"].values())
    out.print(f"  the rest, {chance:.2f}, is what chance gives too, and interactions")
    if mattered["left_out"]:
        out.print(f"  left out: {', '.join(mattered['left_out'])}", markup=False)


def _interaction(out: Console, found: dict[str, Any]) -> None:
    layout, note = found["interaction"], found["notes"]["interaction"]
    if layout is None:
        out.print(f"\nLearning rate and optimizer: {note}", markup=False)
        return
    out.print(f"\nLearning rate and optimizer: {note}", markup=False)
    edges = layout["lr_bins"]
    heads = [f"{np.sqrt(a * b):.2g}" for a, b in pairwise(edges)]
    table = Table("mean at lr about", *heads, box=None)
    for name, means, counts in zip(
        layout["optimizers"], layout["mean_val_acc"], layout["count"], strict=True
    ):
        cells = ["" if m is None else f"{m:.3f} ({n})" for m, n in zip(means, counts, strict=True)]
        table.add_row(name, *cells)
    out.print(table)
    if layout["strength"] is not None:
        low, high = layout["interval"].values()
        out.print(
            f"  their interaction explains {layout['strength']:.0%} of the variance"
            f" (95 %: {low:.0%} to {high:.0%}; p {layout['p']:.3f})"
        )


def _effects(out: Console, factor: str, rows: list[dict[str, Any]], note: str) -> None:
    if not rows:
        out.print(f"\nEffect of {factor}: none, {note}", markup=False)
        return
    out.print(f"\nEffect of {factor} against {rows[0]['against']}: {note}", markup=False)
    table = Table("", "difference", "95 %", "pairs", box=None)
    for row in rows:
        if row["difference"] is None:
            cells = ["", f"too few pairs (of {MIN_PAIRS})"]
        else:
            cells = [f"{row['difference']:+.4f}", f"{row['low']:+.4f} to {row['high']:+.4f}"]
        table.add_row(str(row["value"]), *cells, str(row["pairs"]))
    out.print(table)


def _cost(out: Console, found: dict[str, Any]) -> None:
    cost, bad = found["saved"], found["infeasible"]
    out.print(
        f"\nEarly stopping: {cost['epochs_run']} epochs run of {cost['epochs_full']},"
        f" {cost['share']:.0%} spared, about {cost['seconds_saved'] / 60:.1f} minutes of trials"
    )
    out.print(f"Diverged: {bad['count']} trials, {bad['share']:.0%} of those that ended")
    for reason in bad["reasons"]:
        out.print(f"  {reason['count']} x {reason['reason']}", markup=False)
