"""What mattered in a search: importances, an interaction, matched comparisons, and what was saved.

Trials that were stopped early cannot be compared by their scores alone: one epoch is not thirty.
Where all are needed they are put in one order, by how far they came and then by their score there,
as ASHA sees them (``standing_of``); pairs are compared at the last epoch that nearly all reached.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import create_trial
from rich.console import Console

from analysis.effects import effects
from analysis.ray_results import ray_history
from analysis.selection import shown
from vgg6.tuning import journal as j
from vgg6.tuning.run_folder import SEARCH, RunFolder

LEAST_TRIALS, LEAST_IN_CELLS = 10, 12
BOOTSTRAPS, PERMUTATIONS, LR_BINS = 100, 500, 4
CONFIG_ONLY = ("seed", "epochs")  # no hyperparameter of the network


def insights(run: RunFolder, metric: str | None = None, mode: str | None = None) -> dict[str, Any]:
    """All that this module finds, as plain JSON values; None where there are too few trials.

    Args:
        run: a search of this tool, or a stock Ray Tune experiment.
        metric, mode: of the latter, where they are not the usual ones.

    Raises:
        InputError: the journal is damaged in its middle, or an experiment has no such metric.
    """
    if run.exists(SEARCH):
        facts, history = run.read_json(SEARCH), j.read_history(run)
        name, data = facts["name"], facts["data"]["name"]
    else:
        (history, data), name = ray_history(run, metric, mode), run.name
    trials = sorted(history.trials.values(), key=lambda t: t.number)
    scored = [t for t in trials if t.rows]
    return {
        "search": name,
        "data": data,
        "trials": len(trials),
        "importance": importance(scored),
        "interaction": interaction(scored),
        "effects": {kind: effects(scored, kind) for kind in ("activation", "optimizer")},
        "saved": saved(trials),
        "infeasible": infeasible(trials),
    }


def standing_of(trials: Sequence[j.TrialRecord]) -> np.ndarray:
    """Each trial's place from 0 (worst) to 1 (best): by epochs run, then by the best score."""
    order = sorted(
        range(len(trials)), key=lambda i: (trials[i].epoch, trials[i].best_val_acc or 0.0)
    )
    places = np.empty(len(trials))
    places[order] = np.linspace(0, 1, len(trials))
    return places


def importance(trials: Sequence[j.TrialRecord]) -> dict[str, Any] | None:
    """How much each hyperparameter decides whether a trial is among the best, shares that sum to 1.

    ``values``: PED-ANOVA (Watanabe et al., 2023), of the best tenth against all, with a 95 %
    interval from resampled trials; ``fanova``: fANOVA (Hutter et al., 2014) of the places. Of
    hyperparameters that not every trial has (momentum) nothing is said: ``left_out``.
    """
    if len(trials) < LEAST_TRIALS:
        return None
    configs = pd.DataFrame([t.config for t in trials])
    names = [str(n) for n in configs if n not in CONFIG_ONLY and configs[n].nunique() > 1]
    left_out = [n for n in names if configs[n].isna().any()]
    spread = {n: _distribution(configs[n]) for n in names if n not in left_out}
    if len(spread) < 2:
        return None
    places, draw = standing_of(trials), np.random.default_rng(0)
    rows: list[dict[str, Any]] = configs[list(spread)].to_dict("records")  # type: ignore[assignment]
    whole = _shares(rows, places, spread, PedAnovaImportanceEvaluator())
    samples = []
    for _ in range(BOOTSTRAPS):
        at = draw.integers(0, len(rows), len(rows))
        part = [rows[i] for i in at]
        if all(len({row[n] for row in part}) > 1 for n in spread):
            samples.append(_shares(part, places[at], spread, PedAnovaImportanceEvaluator()))
    forest = _shares(rows, places, spread, FanovaImportanceEvaluator(seed=0))
    values = {}
    for name in sorted(whole, key=lambda n: -whole[n]):
        low, high = np.percentile([s[name] for s in samples] or [whole[name]], [2.5, 97.5])
        values[name] = {
            "mean": whole[name], "low": min(float(low), whole[name]),
            "high": max(float(high), whole[name]),
        }  # fmt: skip
    return {
        "evaluator": "PED-ANOVA",
        "of": "the trials in the order of how far they came, then of their score",
        "values": values,
        "fanova": forest,
        "left_out": left_out,
    }


def _distribution(values: pd.Series) -> BaseDistribution:
    if values.dtype == object or not pd.api.types.is_numeric_dtype(values):
        return CategoricalDistribution(sorted(values.unique()))
    low, high = values.min(), values.max()
    if pd.api.types.is_integer_dtype(values):
        return IntDistribution(int(low), int(high), log=low > 0 and high / low > 10)
    return FloatDistribution(float(low), float(high), log=bool(low > 0 and high / low > 10))


def _shares(
    rows: Sequence[dict[str, Any]],
    places: np.ndarray,
    spread: dict[str, BaseDistribution],
    evaluator: Any,
) -> dict[str, float]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            create_trial(params=row, distributions=spread, value=float(place))
            for row, place in zip(rows, places, strict=True)
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=list(spread)
        )
    return {name: float(share) for name, share in found.items()}


def interaction(trials: Sequence[j.TrialRecord]) -> dict[str, Any] | None:
    """Whether the best learning rate depends on the optimizer.

    ``mean_val_acc`` and ``count``: a cell for each optimizer and bin of learning rates (equal
    counts; ``lr_bins`` are the edges). ``strength``: the share of the variance of the places that
    the cells explain beyond the sum of both effects; ``p``: how often that is reached by chance,
    from residuals of the sum permuted (Freedman and Lane, 1983).
    """
    if not all({"lr", "optimizer"} <= t.config.keys() for t in trials):
        return None
    rates = np.array([t.config["lr"] for t in trials])
    if len(trials) < LEAST_IN_CELLS or len(set(rates)) < 2:
        return None
    edges = np.unique(np.quantile(rates, np.linspace(0, 1, LR_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, rates, side="right") - 1, 0, len(edges) - 2)
    optimizers = sorted({t.config["optimizer"] for t in trials})
    kinds = np.array([optimizers.index(t.config["optimizer"]) for t in trials])
    if len(optimizers) < 2 or len(edges) < 3:
        return None
    both = np.eye(len(optimizers))[kinds], np.eye(len(edges) - 1)[bins]
    additive = np.hstack(both)
    cells = np.eye(len(optimizers) * (len(edges) - 1))[kinds * (len(edges) - 1) + bins]
    y, draw = standing_of(trials), np.random.default_rng(0)
    fitted = _fit(additive, y)
    strength = _beyond(additive, cells, y)
    chance = [
        _beyond(additive, cells, fitted + draw.permutation(y - fitted)) for _ in range(PERMUTATIONS)
    ]
    accuracy = np.array([t.best_val_acc for t in trials], dtype=float)
    means: list[list[float | None]] = []
    counts: list[list[int]] = []
    for kind in range(len(optimizers)):
        own = [accuracy[(kinds == kind) & (bins == b)] for b in range(len(edges) - 1)]
        means.append([float(cell.mean()) if len(cell) else None for cell in own])
        counts.append([len(cell) for cell in own])
    return {
        "optimizers": optimizers,
        "lr_bins": [float(edge) for edge in edges],
        "mean_val_acc": means,
        "count": counts,
        "strength": strength,
        "p": (1 + sum(c >= strength for c in chance)) / (1 + PERMUTATIONS),
    }


def _fit(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(design @ np.linalg.lstsq(design, y, rcond=None)[0])


def _beyond(additive: np.ndarray, cells: np.ndarray, y: np.ndarray) -> float:
    """The share of the variance of ``y`` that the cells explain and the sum of effects does not."""
    total = ((y - y.mean()) ** 2).sum()
    rest, rest_of_cells = (((y - _fit(x, y)) ** 2).sum() for x in (additive, cells))
    return float((rest - rest_of_cells) / total) if total else 0.0


def saved(trials: Sequence[j.TrialRecord]) -> dict[str, Any]:
    """Epochs run against epochs had every pruned trial gone full length. One that diverged or
    crashed could not have, and of one that has not ended nobody decided: they count as long as they
    were. Seconds: each trial's own mean epoch."""
    run = full = 0
    seconds = 0.0
    for trial in trials:
        length = trial.config["epochs"] if trial.state == j.PRUNED else trial.epoch
        run, full = run + trial.epoch, full + length
        if trial.rows:
            mean = sum(row["seconds"] for row in trial.rows.values()) / len(trial.rows)
            seconds += (length - trial.epoch) * mean
    return {
        "epochs_run": run,
        "epochs_full": full,
        "share": 1 - run / full if full else 0.0,
        "seconds_saved": seconds,
    }


def infeasible(trials: Sequence[j.TrialRecord]) -> dict[str, Any]:
    """The share of trials that diverged, and why: reasons that differ only in their numbers are
    one."""
    found: dict[str, list[int]] = {}
    for trial in trials:
        if trial.state == j.INFEASIBLE:
            found.setdefault(re.sub(r"\d+", "N", trial.reason), []).append(trial.number)
    count = sum(map(len, found.values()))
    reasons = [
        {"reason": reason, "count": len(numbers), "trials": numbers}
        for reason, numbers in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
    share = count / len(trials) if trials else 0.0
    return {"count": count, "share": share, "reasons": reasons}


def render(found: dict[str, Any]) -> str:
    """The findings for a person."""
    out = Console(file=StringIO(), width=100, highlight=False)
    out.print(f"What mattered in {found['search']} on {shown(found['data'])}")
    if weights := found["importance"]:
        out.print(f"\nImportance ({weights['evaluator']}, 95 % interval; fANOVA beside it)")
        for name, row in weights["values"].items():
            out.print(
                f"  {name:16}{row['mean']:6.1%}  ({row['low']:.1%} to {row['high']:.1%})"
                f"  {weights['fanova'][name]:6.1%}"
            )
    else:
        out.print("\nImportance: too few trials")
    if cells := found["interaction"]:
        out.print(
            f"\nLearning rate and optimizer together explain {cells['strength']:.1%} more than each"
            f" alone (p {cells['p']:.2g})"
        )
    for kind, rows in found["effects"].items():
        at = f" at epoch {rows[0]['epoch']}" if rows else ""
        out.print(f"\nEffect of the {kind} on val_acc, from matched pairs{at}")
        for row in rows:
            said = "too few pairs"
            if row["difference"] is not None:
                said = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
            out.print(f"  {row['value']} against {row['against']}: {said}, {row['pairs']} pairs")
        if not rows:
            out.print("  only one was tried")
    cost, bad = found["saved"], found["infeasible"]
    out.print(
        f"\nEarly stopping: {cost['epochs_run']} epochs run of {cost['epochs_full']},"
        f" {cost['share']:.0%} saved, about {cost['seconds_saved'] / 60:.0f} minutes of training"
    )
    out.print(f"Diverged: {bad['count']} of {found['trials']} trials ({bad['share']:.0%})")
    for row in bad["reasons"]:
        out.print(f"  {row['count']} x {row['reason']}")
    return out.file.getvalue()  # type: ignore[attr-defined, no-any-return]
