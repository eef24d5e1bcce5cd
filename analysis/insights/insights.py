"""What mattered in a search, what early stopping saved, and why trials diverged."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from rich.table import Table

from analysis.insights.evaluator_names import ADDITIVE
from analysis.insights.importance import Importance, importance
from analysis.insights.interaction import Interaction, interaction
from analysis.insights.matched_pairs import MIN_PAIRS, REFERENCE, Effect, matched_effects
from analysis.results.table_files import SearchTables
from analysis.winner.ranking import data_title
from vgg6.common.numbers_in_words import counted, roughly
from vgg6.common.plain_text import PlainText
from vgg6.metric import ACCURACY, ByMetric, Metric
from vgg6.tuning.run.trials import INFEASIBLE, OPEN, PRUNED

NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[+-]?\d+)?(?![\w.]*\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Saved:
    """The epochs that were run, those had no trial been stopped early, the share that was spared
    and the seconds of training that it would have taken."""

    epochs_run: int
    epochs_full: int
    share: float
    seconds_saved: float


@dataclass(frozen=True)
class Reason:
    """Why trials diverged, without the numbers; their count and their numbers."""

    reason: str
    count: int
    trials: list[int]


@dataclass(frozen=True)
class Infeasible:
    """How many trials diverged, as a share of those that ended, and why."""

    count: int
    share: float
    reasons: list[Reason]


@dataclass(frozen=True)
class Insights(ByMetric):
    """What mattered. ``effects``: of the values of an activation and of an optimizer; ``notes``:
    how each part was made, or why it is not there; ``metric``: what scores are of."""

    importance: Importance | None
    interaction: Interaction | None
    effects: dict[str, list[Effect]]
    saved: Saved
    infeasible: Infeasible
    notes: dict[str, str]
    metric: str = ACCURACY.name

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = asdict(self)
        if layout := found["interaction"]:
            layout[f"mean_{self.measure.column}"] = layout.pop("mean_score")
        return found


def insights(
    tables: SearchTables,
    evaluator: str = ADDITIVE,
    known: tuple[Importance | None, str] | None = None,
) -> Insights:
    """What mattered in a search, by the ``evaluator`` of importance.

    ``known``: what ``importance`` gave before.
    """
    shares, why = known or importance(tables, evaluator)
    layout, layout_note = interaction(tables)
    effects = {name: matched_effects(tables, name) for name in REFERENCE}
    return Insights(
        importance=shares,
        interaction=layout,
        effects={name: found for name, (found, _) in effects.items()},
        saved=saved(tables),
        infeasible=infeasible(tables),
        notes={
            "importance": why,
            "interaction": layout_note,
            **{name: note for name, (_, note) in effects.items()},
            "saved": "the epochs that pruned trials were spared, each at its own mean seconds;"
            " a trial that diverged, crashed or has not ended counts as it ran",
        },
        metric=tables.metric.name,
    )


def saved(tables: SearchTables) -> Saved:
    """The epochs that were run, against those had no trial been stopped early.

    Only pruned trials could have gone on: a diverged one had no more epochs to run, and of one
    that crashed or has not ended nobody decided that it should stop.
    """
    trials = tables.trials
    pruned = trials[(trials.state == PRUNED) & (trials.epochs_run > 0)]
    spared = (pruned.epochs - pruned.epochs_run).clip(lower=0)
    ran = int(trials.epochs_run.sum())
    full = ran + int(spared.sum())
    seconds = float((spared * pruned.train_seconds / pruned.epochs_run).sum())
    return Saved(ran, full, 1 - ran / full if full else 0.0, seconds)


def infeasible(tables: SearchTables) -> Infeasible:
    """The share of the ended trials whose loss diverged, and their reasons without the numbers."""
    ended = tables.trials[~tables.trials.state.isin(OPEN)]
    diverged = ended[ended.state == INFEASIBLE]
    reasons = diverged.groupby(diverged.reason.map(without_numbers)).trial.agg(list)
    grouped = sorted(reasons.items(), key=lambda item: (-len(item[1]), str(item[0])))
    return Infeasible(
        count=len(diverged),
        share=len(diverged) / len(ended) if len(ended) else 0.0,
        reasons=[
            Reason(str(reason), len(numbers), [int(n) for n in numbers])
            for reason, numbers in grouped
        ],
    )


def without_numbers(reason: str) -> str:
    """A reason with ``N`` for each number, so that the same one of two epochs is one."""
    return NUMBER.sub("N", reason)


def render(tables: SearchTables, found: Insights) -> str:
    """The insights for a person."""
    out = PlainText(100)
    trials = counted(len(tables.trials), "trial")
    out.print(
        f"{tables.name} on {data_title(tables.data)}: {trials} by {found.measure.column}",
        markup=False,
    )
    _importance(out, found)
    _interaction(out, found)
    for name, effects in found.effects.items():
        _effects(out, name, effects, found.notes[name], found.measure)
    _cost(out, found)
    return out.text


def _importance(out: PlainText, found: Insights) -> None:
    shares, note = found.importance, found.notes["importance"]
    if shares is None:
        out.print(f"\nImportance: none, {note}", markup=False)
        return
    out.print(f"\nImportance ({shares.evaluator}, {counted(shares.trials, 'trial')}): {note}")
    table = Table("", "share", "95 %", "p by chance", box=None)
    for name, value in shares.values.items():
        table.add_row(
            name.replace("[", r"\["), f"{value.mean:.2f}",
            f"{value.low:.2f} to {value.high:.2f}", f"{value.p:.2f}",
        )  # fmt: skip
    out.print(table)
    chance = 1 - sum(value.mean for value in shares.values.values())
    out.print(f"  the rest, {chance:.2f}, is what chance gives too, and interactions")
    if shares.left_out:
        out.print(f"  left out: {', '.join(shares.left_out)}", markup=False)


def _interaction(out: PlainText, found: Insights) -> None:
    layout, note = found.interaction, found.notes["interaction"]
    if layout is None:
        out.print(f"\nLearning rate and optimizer: {note}", markup=False)
        return
    out.print(f"\nLearning rate and optimizer: {note}", markup=False)
    heads = [f"{np.sqrt(a * b):.2g}" for a, b in pairwise(layout.lr_bins)]
    of = "" if found.measure.is_accuracy else f"{found.measure.column}, "
    table = Table(f"{of}mean at lr about", *heads, box=None)
    for name, means, counts in zip(layout.optimizers, layout.mean_score, layout.count, strict=True):
        cells = ["" if m is None else f"{m:.3f} ({n})" for m, n in zip(means, counts, strict=True)]
        table.add_row(name, *cells)
    out.print(table)
    if layout.strength is not None:
        share = f"{layout.strength:.0%} of the variance (p {layout.p:.3f})"
        out.print(f"  their interaction explains {share}")


def _effects(out: PlainText, name: str, effects: list[Effect], note: str, metric: Metric) -> None:
    if not effects:
        out.print(f"\nEffect of {name}: none, {note}", markup=False)
        return
    out.print(f"\nEffect of {name} against {effects[0].against}: {note}", markup=False)
    of = "" if metric.is_accuracy else f" of {metric.column}"
    table = Table("", f"difference{of}", "95 %", "pairs", box=None)
    for effect in effects:
        if effect.difference is None:
            cells = ["", f"too few pairs (of {MIN_PAIRS})"]
        else:
            cells = [f"{effect.difference:+.4f}", f"{effect.low:+.4f} to {effect.high:+.4f}"]
        table.add_row(str(effect.value), *cells, str(effect.pairs))
    out.print(table)


def _cost(out: PlainText, found: Insights) -> None:
    cost, diverged = found.saved, found.infeasible
    out.print(
        f"\nEarly stopping: {counted(cost.epochs_run, 'epoch')} run of"
        f" {cost.epochs_full:,}, {cost.share:.0%} spared,"
        f" {roughly(cost.seconds_saved)} of training"
    )
    out.print(
        f"Diverged: {counted(diverged.count, 'trial')}, {diverged.share:.0%} of those that ended"
    )
    for reason in diverged.reasons:
        out.print(f"  {reason.count} x {reason.reason}", markup=False)
