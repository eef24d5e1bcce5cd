"""What an activation or an optimizer changes, and whether the right learning rate depends on it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from analysis.insights.comparable import Value, common_epoch, hyperparameters, scores_at
from analysis.results.tables import Run

REFERENCE = {"activation": "relu", "optimizer": "sgd"}
CALLIPER, CALLIPER_TRIALS = 0.15, 60
MIN_PAIRS = 4
MOST_BINS, FEW_BINS, FEW_TRIALS = 6, 4, 100
PERMUTATIONS = 499
LEVEL = 0.95
SEED = 0


def matched_effects(run: Run, factor: str) -> tuple[list[dict[str, Any]], str]:
    """The mean difference that each value of a factor makes against its reference value.

    Trials are compared in pairs, at ``common_epoch``. The two of a pair agree in the other of
    activation and optimizer, and are near each other in all else by Gower's distance (1971): the
    mean over the hyperparameters that both have of 0 or 1 for a choice, and for a number of how
    far apart they lie within their ranges, each within its own where the range depends on the
    factor. In a space of choices only nothing may differ; else the calliper is CALLIPER for up to
    CALLIPER_TRIALS trials and shrinks with the root of their number, as the interval does: what
    is left of a difference between the pairs' learning rates must stay small beside it. No trial
    is in two pairs of a comparison; among all ways to pair, that with the most pairs and then the
    least distance is taken (optimal matching: Rosenbaum, 1989). The 95 % interval is Student's
    over the pairs. Each comparison stands alone, uncorrected for their number. A searcher that
    follows good scores leaves a value sooner where it was unlucky, so of its trials the interval
    is too short (Nie et al., 2018): the remark says so.

    Returns rows (the values with most pairs first; no difference where there are fewer than
    MIN_PAIRS), and a remark or why there are none.
    """
    if factor not in run.parameters:
        return [], f"{factor} did not vary"
    epoch = common_epoch(run)
    scores = scores_at(run, epoch)
    matching = matched(run, (factor,), scores.index)
    levels = {level: trials for (level,), trials in matching.levels.items()}
    if len(levels) < 2:
        return [], f"fewer than two values of {factor} have a score"
    reference = REFERENCE.get(factor)
    if reference not in levels:
        reference = max(levels, key=lambda v: len(levels[v]))
    rows = []
    for level in levels:
        if level == reference:
            continue
        gaps = np.array([scores[a] - scores[b] for a, b in matching.pairs((level,), (reference,))])
        rows.append({"value": level, "against": reference, **mean_interval(gaps)})
    rows.sort(key=lambda row: (-row["pairs"], str(row["value"])))
    remark = f"pairs of trials that {matching.close}, at epoch {epoch}, which nearly all scored"
    remark += " ones ran"
    if run.follows and any(row["pairs"] >= MIN_PAIRS for row in rows):
        remark += "; the searcher left what had done badly, so the intervals are rather too short"
    return rows, remark


@dataclass(frozen=True)
class Matching:
    """Trials by their values of one or several hyperparameters, the factors, to be paired.

    Args:
        given: the hyperparameters of each trial. factors: those that a pair differs in.
        levels: the trials of each combination of the factors' values that came.
        exact: what the two of a pair always agree in.
        calliper: how far apart they may lie in all else.
    """

    given: dict[int, dict[str, Value]]
    factors: tuple[str, ...]
    levels: dict[tuple[Any, ...], list[int]]
    exact: tuple[str, ...]
    calliper: float

    @property
    def close(self) -> str:
        """How near the two of a pair are."""
        if self.calliper:
            return f"are within {self.calliper:.2g} of their ranges in all else"
        return "agree in all else"

    def pairs(self, level: tuple[Any, ...], against: tuple[Any, ...]) -> list[tuple[int, int]]:
        """Trials of ``level``, each with one of ``against``; none is in two pairs."""
        these, those = self.levels[level], self.levels[against]
        distance = _distances(self.given, these, those, self.factors, self.exact)
        return [(these[a], those[b]) for a, b in _pairs(distance, self.calliper)]


def matched(run: Run, factors: tuple[str, ...], among: Iterable[int]) -> Matching:
    """The trials ``among`` which pairs are sought, by the values of ``factors``; trials that lack
    one of these are left out. The rules of a pair are ``matched_effects``'."""
    allowed = set(among)
    given = {t: p for t, p in hyperparameters(run).items() if t in allowed}
    levels: dict[tuple[Any, ...], list[int]] = {}
    for trial, values in given.items():
        if all(name in values for name in factors):
            level = tuple(values[name].value for name in factors)
            levels.setdefault(level, []).append(trial)
    calliper = 0.0
    if not all(v.is_choice for values in given.values() for v in values.values()):
        calliper = CALLIPER * min(1.0, math.sqrt(CALLIPER_TRIALS / len(given)))
    exact = tuple(name for name in REFERENCE if name not in factors)
    return Matching(given, factors, levels, exact, calliper)


def _distances(
    given: dict[int, dict[str, Value]],
    these: list[int],
    those: list[int],
    factors: tuple[str, ...],
    exact: tuple[str, ...],
) -> np.ndarray:
    """Gower's distance of each of ``these`` from each of ``those``; infinite where one of ``exact``
    is not the same."""
    total = np.zeros((len(these), len(those)))
    count = np.zeros_like(total)
    names = dict.fromkeys(n for t in (*these, *those) for n in given[t])
    for name in names:
        if name in factors:
            continue
        a, b = ([given[t].get(name) for t in trials] for trials in (these, those))
        both = np.outer([v is not None for v in a], [v is not None for v in b])
        if any(v is not None and v.is_choice for v in (*a, *b)):
            codes: dict[Any, int] = {}
            x, y = (
                np.array([codes.setdefault(v and v.value, len(codes)) for v in values])
                for values in (a, b)
            )
            apart = (x[:, None] != y[None, :]).astype(float)
        else:
            x, y = (np.array([v.place if v else 0.0 for v in values]) for values in (a, b))
            apart = np.abs(x[:, None] - y[None, :])
        if name in exact:  # a condition, and no part of the mean
            total += np.where(apart > 0, np.inf, 0.0)
            continue
        total += np.where(both, apart, 0.0)
        count += both
    return total / np.maximum(count, 1)


def _pairs(distance: np.ndarray, calliper: float) -> list[tuple[int, int]]:
    """The pairs within the calliper: as many as there can be, as near as they can be."""
    too_far = 1e6
    cost = np.where(distance <= calliper, distance, too_far)
    chosen = zip(*optimize.linear_sum_assignment(cost), strict=True)
    return [(int(a), int(b)) for a, b in chosen if cost[a, b] < too_far]


def mean_interval(gaps: np.ndarray) -> dict[str, Any]:
    """Student's 95 % interval of the mean of differences; none of fewer than MIN_PAIRS."""
    count = len(gaps)
    if count < MIN_PAIRS:
        return {"difference": None, "low": None, "high": None, "pairs": count}
    mean = float(gaps.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * gaps.std(ddof=1) / np.sqrt(count))
    return {"difference": mean, "low": mean - half, "high": mean + half, "pairs": count}


def interaction(run: Run) -> tuple[dict[str, Any] | None, str]:
    """Whether the learning rate that suits one optimizer suits the others.

    Scores at ``common_epoch`` in a two-way layout of optimizers and bins of the learning rate's
    logarithm (one bin a value, where there are few). ``strength`` is omega squared of the
    interaction: the share of the scores' variance that the cells explain beyond both main effects,
    corrected for what as many cells explain by chance. Its 95 % interval inverts the noncentral F
    distribution (Steiger, 2004); ``p`` is from permuting the residuals of the model without
    interaction (Freedman and Lane, 1983). Cells may be empty: only those that hold trials count.
    All three are None where no cell repeats or no two optimizers share bins.

    Returns the layout, and a remark or why there is none.
    """
    if not {"lr", "optimizer"} <= set(run.parameters):
        return None, "lr and optimizer did not both vary"
    epoch = common_epoch(run)
    scores = scores_at(run, epoch)
    trials = run.trials.set_index("trial").loc[scores.index, ["lr", "optimizer"]]
    trials = trials.assign(score=scores).dropna()
    if trials.optimizer.nunique() < 2 or trials.lr.nunique() < 2:
        return None, "needs two optimizers and two learning rates with a score"
    edges = _edges(trials.lr.to_numpy(dtype=float))
    bins = np.clip(np.searchsorted(edges, trials.lr, side="right") - 1, 0, len(edges) - 2)
    optimizers = sorted(trials.optimizer.unique())
    cells = trials.assign(bin=bins).groupby(["optimizer", "bin"]).score.agg(["mean", "size"])
    grid = pd.MultiIndex.from_product([optimizers, range(len(edges) - 1)])
    means, counts = cells["mean"].reindex(grid), cells["size"].reindex(grid, fill_value=0)
    width = len(edges) - 1
    rows = [slice(i * width, (i + 1) * width) for i in range(len(optimizers))]
    found = {
        "optimizers": optimizers,
        "lr_bins": [float(e) for e in edges],
        "mean_val_acc": [
            [None if np.isnan(m) else float(m) for m in means.iloc[row]] for row in rows
        ],
        "count": [[int(n) for n in counts.iloc[row]] for row in rows],
        "epoch": epoch,
        **_strength(pd.factorize(trials.optimizer)[0], bins, trials.score.to_numpy(dtype=float)),
    }
    remark = f"scores up to epoch {epoch}, of {len(trials)} trials; diverged trials have none"
    if found["strength"] is None:
        remark += "; too few trials a cell, or no shared learning rates, to tell an interaction"
    return found, remark


def _edges(rates: np.ndarray) -> np.ndarray:
    """Bin edges, evenly in the logarithm, or half-way between the values where these are few."""
    distinct = np.unique(rates)
    if len(distinct) <= MOST_BINS:
        between = np.sqrt(distinct[1:] * distinct[:-1])
        return np.concatenate(
            [[distinct[0] ** 2 / between[0]], between, [distinct[-1] ** 2 / between[-1]]]
        )
    count = FEW_BINS if len(rates) < FEW_TRIALS else MOST_BINS
    return np.geomspace(distinct[0], distinct[-1], count + 1)


def _strength(rows: np.ndarray, columns: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Omega squared of the interaction of two factors, its interval and permutation p-value."""
    none = {"strength": None, "interval": None, "p": None}
    by_row, by_column = np.eye(rows.max() + 1)[rows], np.eye(columns.max() + 1)[columns]
    cell = pd.factorize(rows * (columns.max() + 1) + columns)[0]
    additive, full = _basis(np.hstack([by_row, by_column])), _basis(np.eye(cell.max() + 1)[cell])
    df_inter, df_error = full.shape[1] - additive.shape[1], len(y) - full.shape[1]
    total = float(((y - y.mean()) ** 2).sum())
    if df_inter < 1 or df_error < 1 or total == 0:
        return none

    def f_ratio(values: np.ndarray) -> tuple[float, float, float]:
        rest = values - full @ (full.T @ values)
        added = float(((full.T @ values) ** 2).sum() - ((additive.T @ values) ** 2).sum())
        error = max(float(rest @ rest), 1e-12 * total) / df_error
        return added / df_inter / error, added, error

    observed, added, error = f_ratio(y)
    fitted = additive @ (additive.T @ y)
    rng = np.random.default_rng(SEED)
    permuted = [f_ratio(fitted + rng.permutation(y - fitted))[0] for _ in range(PERMUTATIONS)]
    bounds = [
        noncentrality(observed, df_inter, df_error, tail)
        for tail in ((1 + LEVEL) / 2, (1 - LEVEL) / 2)
    ]
    # Of what the main effects leave, the interaction's share is lambda / (lambda + n).
    rest = (added + error * df_error) / total
    low, high = (rest * bound / (bound + len(y)) for bound in bounds)
    strength = min(1.0, max(0.0, (added - df_inter * error) / (total + error)))
    p = (1 + sum(f >= observed for f in permuted)) / (1 + PERMUTATIONS)
    return {"strength": strength, "interval": {"low": low, "high": high}, "p": p}


def _basis(design: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns' space."""
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    return u[:, s > 1e-9 * s[0]]


def noncentrality(f: float, df1: int, df2: int, level: float) -> float:
    """The noncentrality at which an F ratio of at most ``f`` has the probability ``level``."""

    def excess(value: float) -> float:
        return float(stats.ncf.cdf(f, df1, df2, value)) - level

    if stats.f.cdf(f, df1, df2) <= level:
        return 0.0
    most = 10.0 + 2 * f * df1
    while excess(most) > 0:
        most *= 2
    return float(optimize.brentq(excess, 0, most))
