"""What one value of a hyperparameter changes against another: trials in matched pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from analysis.insights.comparable_scores import Value, common_epoch, hyperparameters, scores_at
from analysis.results.table_files import SearchTables
from vgg6.common.intervals import student

REFERENCE = {"activation": "relu", "optimizer": "sgd"}
CALLIPER, CALLIPER_TRIALS = 0.15, 60
MIN_PAIRS = 4


@dataclass(frozen=True)
class Effect:
    """The mean difference that one value makes against another, over so many pairs of trials, with
    its 95 % interval; None where there are too few pairs."""

    value: str
    against: str
    difference: float | None
    low: float | None
    high: float | None
    pairs: int


def matched_effects(tables: SearchTables, factor: str) -> tuple[list[Effect], str]:
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

    Returns the effects (the values with most pairs first; no difference where there are fewer
    than MIN_PAIRS), and a remark or why there are none.
    """
    if factor not in tables.parameters:
        return [], f"{factor} did not vary"
    epoch = common_epoch(tables)
    scores = scores_at(tables, epoch)
    matching = matched(tables, (factor,), scores.index)
    levels = {level: trials for (level,), trials in matching.levels.items()}
    if len(levels) < 2:
        return [], f"fewer than two values of {factor} have a score"
    reference = REFERENCE.get(factor, "")
    if reference not in levels:
        reference = max(levels, key=lambda v: len(levels[v]))
    effects = []
    for level in levels:
        if level == reference:
            continue
        gaps = [scores[a] - scores[b] for a, b in matching.pairs((level,), (reference,))]
        known = student(gaps, least=MIN_PAIRS)
        difference = None if known.low is None else known.mean
        effects.append(Effect(level, reference, difference, known.low, known.high, known.n))
    effects.sort(key=lambda effect: (-effect.pairs, str(effect.value)))
    remark = f"pairs of trials that {matching.close}, at epoch {epoch}, which nearly all scored"
    remark += " ones ran"
    if tables.follows and any(effect.pairs >= MIN_PAIRS for effect in effects):
        remark += "; the searcher left what had done badly, so the intervals are rather too short"
    return effects, remark


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


def matched(tables: SearchTables, factors: tuple[str, ...], among: Iterable[int]) -> Matching:
    """The trials ``among`` which pairs are sought, by the values of ``factors``; trials that lack
    one of these are left out. The rules of a pair are ``matched_effects``'."""
    allowed = set(among)
    given = {t: p for t, p in hyperparameters(tables).items() if t in allowed}
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
