"""Whether the learning rate that suits one optimizer suits the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.insights.comparable_scores import common_epoch, scores_at
from analysis.results.table_files import SearchTables

MOST_BINS, FEW_BINS, FEW_TRIALS = 6, 4, 100
PERMUTATIONS = 499
SEED = 0


@dataclass(frozen=True)
class Interaction:
    """Scores at ``epoch`` by optimizer (down) and bin of the learning rate (across): their means,
    None of an empty cell, and how many trials each has. ``strength``: the share of the scores'
    variance that is the interaction's; ``p``: how often chance gives as much."""

    optimizers: list[str]
    lr_bins: list[float]
    mean_score: list[list[float | None]]
    count: list[list[int]]
    epoch: int
    strength: float | None
    p: float | None


def interaction(tables: SearchTables) -> tuple[Interaction | None, str]:
    """Whether the learning rate that suits one optimizer suits the others.

    Scores at ``common_epoch`` in a two-way layout of optimizers and bins of the learning rate's
    logarithm (one bin a value, where there are few). ``strength`` is omega squared of the
    interaction: the share of the scores' variance that the cells explain beyond both main effects,
    corrected for what as many cells explain by chance. ``p`` is of the F ratio, from permuting the
    residuals of the model without interaction (Freedman and Lane, 1983). Cells may be empty: only
    those that hold trials count. Both are None where no cell repeats or no two optimizers share
    bins.

    Returns the layout, and a remark or why there is none.
    """
    if not {"lr", "optimizer"} <= set(tables.parameters):
        return None, "lr and optimizer did not both vary"
    epoch = common_epoch(tables)
    scores = scores_at(tables, epoch)
    trials = tables.trials.set_index("trial").loc[scores.index, ["lr", "optimizer"]]
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
    with threadpool_limits(1, "blas"):  # small matrices, for which threads only wait
        strength, p = _strength(
            pd.factorize(trials.optimizer)[0], bins, trials.score.to_numpy(dtype=float)
        )
    found = Interaction(
        optimizers=optimizers,
        lr_bins=[float(e) for e in edges],
        mean_score=[[None if np.isnan(m) else float(m) for m in means.iloc[row]] for row in rows],
        count=[[int(n) for n in counts.iloc[row]] for row in rows],
        epoch=epoch,
        strength=strength,
        p=p,
    )
    remark = f"scores up to epoch {epoch}, of {len(trials)} trials; diverged trials have none"
    if strength is None:
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


def _strength(
    rows: np.ndarray, columns: np.ndarray, y: np.ndarray
) -> tuple[float, float] | tuple[None, None]:
    """Omega squared of the interaction of two factors, and its permutation p-value."""
    by_row, by_column = np.eye(rows.max() + 1)[rows], np.eye(columns.max() + 1)[columns]
    cell = pd.factorize(rows * (columns.max() + 1) + columns)[0]
    additive, full = _basis(np.hstack([by_row, by_column])), _basis(np.eye(cell.max() + 1)[cell])
    df_inter, df_error = full.shape[1] - additive.shape[1], len(y) - full.shape[1]
    total = float(((y - y.mean()) ** 2).sum())
    if df_inter < 1 or df_error < 1 or total == 0:
        return None, None

    def f_ratio(values: np.ndarray) -> tuple[float, float, float]:
        rest = values - full @ (full.T @ values)
        added = float(((full.T @ values) ** 2).sum() - ((additive.T @ values) ** 2).sum())
        error = max(float(rest @ rest), 1e-12 * total) / df_error
        return added / df_inter / error, added, error

    observed, added, error = f_ratio(y)
    fitted = additive @ (additive.T @ y)
    rng = np.random.default_rng(SEED)
    permuted = [f_ratio(fitted + rng.permutation(y - fitted))[0] for _ in range(PERMUTATIONS)]
    strength = min(1.0, max(0.0, (added - df_inter * error) / (total + error)))
    p = (1 + sum(f >= observed for f in permuted)) / (1 + PERMUTATIONS)
    return strength, p


def _basis(design: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns' space."""
    u, s, _ = np.linalg.svd(design, full_matrices=False)
    return u[:, s > 1e-9 * s[0]]
