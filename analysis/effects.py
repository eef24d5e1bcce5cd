"""The effect of an activation or an optimizer, from pairs of trials that are else alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.statistics import t_interval
from vgg6.tuning.journal import TrialRecord

CALLIPER = 0.15  # mean difference over the other hyperparameters, each from 0 to 1
LEAST_PAIRS = 5
REACHED = 0.9  # of the trials must have come to the epoch at which they are compared
REFERENCE = {"activation": "relu", "optimizer": "sgd"}  # the plainest of each
_UNMATCHED = ("seed", "epochs")


def effects(trials: Sequence[TrialRecord], kind: str) -> list[dict[str, Any]]:
    """Mean difference in val_acc that each value of ``kind`` makes against the reference, from
    matched pairs, with Student's 95 % interval; the largest difference first.

    Each trial is matched to the reference trial, not yet taken, whose other hyperparameters are
    nearest (Gower's distance: a mismatch of a choice counts 1, numbers by their share of the range,
    on a log scale where it spans a factor of ten), the nearest pairs first, none beyond the
    calliper. Pairs are compared at the last epoch that nearly all trials came to (``epoch``): among
    the survivors of a rung every effect looks smaller than it is, for a bad choice that survived
    was lucky in all else. Learning rates are compared by
    their place among those of the same optimizer: what is high for one is low for another.

    The reference is ReLU or SGD, or the commonest value where that was not tried. A row with fewer
    than five pairs has no difference.
    """
    epoch = common_epoch(trials)
    trials = [t for t in trials if t.epoch >= epoch]
    counts = Counter(t.config[kind] for t in trials if kind in t.config)
    if len(counts) < 2:
        return []
    wanted = REFERENCE[kind]
    against = wanted if wanted in counts else counts.most_common(1)[0][0]
    features, numeric = _features(trials, kind)
    found = []
    for value in sorted(counts.keys() - {against}):
        ours = [i for i, t in enumerate(trials) if t.config[kind] == value]
        theirs = [i for i, t in enumerate(trials) if t.config[kind] == against]
        pairs = match(features, numeric, ours, theirs)
        gaps = [_score(trials[a], epoch) - _score(trials[b], epoch) for a, b in pairs]
        row: dict[str, Any] = {
            "value": value,
            "against": against,
            "pairs": len(gaps),
            "epoch": epoch,
        }
        known = t_interval(gaps) if len(gaps) >= LEAST_PAIRS else None
        row["difference"] = known and known.mean
        row["low"], row["high"] = (known.low, known.high) if known else (None, None)
        found.append(row)
    return sorted(found, key=lambda row: -(row["difference"] or -1.0))


def match(
    features: np.ndarray, numeric: np.ndarray, ours: list[int], theirs: list[int]
) -> list[tuple[int, int]]:
    """Pairs of rows, each row in one pair at most, the nearest first, within the calliper.

    Args:
        features: (trials, hyperparameters); numbers from 0 to 1, choices by their code.
        numeric: bool (hyperparameters,).
    """
    if not features.shape[1]:
        return list(zip(ours, theirs, strict=False))
    gap = np.abs(features[ours][:, None] - features[theirs][None])
    distance = np.where(numeric, gap, gap > 0).mean(axis=2)
    pairs: list[tuple[int, int]] = []
    used_a: set[int] = set()
    used_b: set[int] = set()
    for flat in np.argsort(distance, axis=None, kind="stable"):
        a, b = divmod(int(flat), len(theirs))
        if distance[a, b] > CALLIPER:
            break
        if a not in used_a and b not in used_b:
            used_a.add(a)
            used_b.add(b)
            pairs.append((ours[a], theirs[b]))
    return pairs


def common_epoch(trials: Sequence[TrialRecord]) -> int:
    """The last epoch that REACHED of the trials came to: under ASHA the first rung; 0 of none."""
    ends = sorted((t.epoch for t in trials), reverse=True)
    return ends[math.ceil(REACHED * len(ends)) - 1] if ends else 0


def _score(trial: TrialRecord, epoch: int) -> float:
    return float(max(row["val_acc"] for e, row in trial.rows.items() if e <= epoch))


def _features(trials: Sequence[TrialRecord], kind: str) -> tuple[np.ndarray, np.ndarray]:
    columns, numeric = [], []
    for name in sorted({name for t in trials for name in t.config}):
        values = [t.config.get(name) for t in trials]
        if name in (*_UNMATCHED, kind) or len(set(values)) < 2:
            continue
        if name == "lr" and all("optimizer" in t.config for t in trials):
            columns.append(_rate_places(trials))
            numeric.append(True)
        elif all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            columns.append(_scaled(np.array(values, dtype=float)))
            numeric.append(True)
        else:
            codes = {v: code for code, v in enumerate(sorted(set(values), key=str))}
            columns.append(np.array([codes[v] for v in values], dtype=float))
            numeric.append(False)
    shape = np.stack(columns, axis=1) if columns else np.empty((len(trials), 0))
    return shape, np.array(numeric, dtype=bool)


def _scaled(values: np.ndarray) -> np.ndarray:
    if values.min() > 0 and values.max() / values.min() > 10:
        values = np.log(values)
    return np.asarray((values - values.min()) / (values.max() - values.min()))


def _rate_places(trials: Sequence[TrialRecord]) -> np.ndarray:
    """Each learning rate's place, 0 to 1, in the log range of its optimizer's."""
    places = np.full(len(trials), 0.5)
    for optimizer in {t.config["optimizer"] for t in trials}:
        own = [i for i, t in enumerate(trials) if t.config["optimizer"] == optimizer]
        rates = np.log([trials[i].config["lr"] for i in own])
        if rates.max() > rates.min():
            places[own] = (rates - rates.min()) / (rates.max() - rates.min())
    return places
