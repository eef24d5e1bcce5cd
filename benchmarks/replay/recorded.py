"""Recorded curves to replay: the runs of a table, how their seeds differ, and a table of points."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from benchmarks.replay.plan import EPOCHS, SEEDS
from benchmarks.replay.simulator import Curve, Row
from search_spaces import Space
from vgg6.config import TrialConfig
from vgg6.data import Array

SCORES = ("val_acc", "val_loss", "train_acc", "train_loss")
AT_CHANCE = (0.1, float(np.log(10)), 0.1, float(np.log(10)))
LEARNS = 0.2  # a validation accuracy that no network at chance reaches on 1,777 images
Key = tuple[Any, ...]


def key_of(config: dict[str, Any]) -> Key:
    """What makes two runs the same point: everything but the seed."""
    return tuple(value for name, value in sorted(config.items()) if name != "seed")


@dataclass(frozen=True)
class Run:
    """One recorded run. ``scores``: (EPOCHS, 4), as SCORES names them. ``known``: how many of its
    rows were trained; those after them repeat the last one."""

    point: int
    config: dict[str, Any]
    ended: str
    scores: Array
    known: int


def runs_of(table: pd.DataFrame) -> list[Run]:
    """The runs of a recorded table, in the order in which they were recorded."""
    runs = []
    for text, rows in table.groupby("config", sort=False):
        config = TrialConfig.from_mapping(json.loads(str(text))).to_dict()
        trained = rows[rows["epoch"] > 0].sort_values("epoch")
        scores = trained[list(SCORES)].to_numpy(dtype=float).reshape(-1, len(SCORES))
        known = len(scores)
        scores = scores if known else np.array([AT_CHANCE])
        scores = np.vstack([scores, np.repeat(scores[-1:], EPOCHS - len(scores), axis=0)])
        first = rows.iloc[0]
        runs.append(Run(int(first["point"]), config, str(first["ended"]), scores, known))
    return runs


def by_point(runs: list[Run]) -> dict[Key, list[Run]]:
    """Runs that differ in their seed only, together."""
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault(key_of(run.config), []).append(run)
    return groups


def learns(scores: Array) -> bool:
    """Whether a curve leaves chance."""
    return bool(scores[:, 0].max() > LEARNS)


class Noise:
    """How two seeds of one point differ, learnt from the points that learn and have several.

    ``means``: the mean curve of each of them. ``residuals``: for each its seeds' curves less the
    mean one, enlarged by sqrt(n / (n - 1)), as n seeds stray less from their own mean than from the
    true one. ``floor``: the standard deviation of a run's final best validation accuracy over
    seeds, of all points together. ``points``: how many they are.
    """

    def __init__(self, runs: list[Run]) -> None:
        groups = [
            np.array([run.scores for run in group])
            for group in by_point(runs).values()
            if len(group) == len(SEEDS) and learns(group[0].scores)
        ]
        self.points = len(groups)
        enlarge = (len(SEEDS) / (len(SEEDS) - 1)) ** 0.5
        self.means = [g.mean(axis=0) for g in groups]
        self.residuals = [enlarge * (g - g.mean(axis=0)) for g in groups]
        finals = [g[:, :, 0].max(axis=1) for g in groups]
        self.floor = float(np.sqrt(np.mean([f.var(ddof=1) for f in finals]))) if groups else 0.0

    def add(self, mean: Array, rng: np.random.Generator) -> Array:
        """A curve as another seed might have made it.

        The noise is that of the recorded point whose mean curve is the nearest in accuracy: what
        leaves chance late strays far more than what does at once. A curve at chance stays as it is.
        """
        if not self.residuals or not learns(mean):
            return mean
        away = [float(np.square(m[:, 0] - mean[:, 0]).sum()) for m in self.means]
        near = self.residuals[int(np.argmin(away))]
        noisy = mean + near[rng.integers(len(near))]
        noisy[:, [0, 2]] = noisy[:, [0, 2]].clip(0.0, 1.0)
        return noisy


class Searchable(Protocol):
    """What a method is told of a problem."""

    @property
    def space(self) -> Space: ...

    def allowed(self, config: dict[str, Any]) -> bool:
        """Whether there is a curve for it."""


class Curves(Searchable, Protocol):
    """What a replay asks of recorded curves."""

    noise: Noise

    def mean(self, config: dict[str, Any]) -> tuple[Array, int | None]:
        """Its curve without noise, and after how many epochs it diverges, if it does."""

    @property
    def best(self) -> float:
        """The best mean final validation accuracy that there is to find."""


def config_of(values: dict[str, Any], epochs: int) -> dict[str, Any]:
    """A trial's whole configuration, as curves know it."""
    return TrialConfig.from_mapping({**values, **base(epochs)}).to_dict()


def base(epochs: int) -> dict[str, Any]:
    """What every trial of a replay has in common."""
    return {"epochs": epochs, "seed": SEEDS[0]}


Allowed = Callable[[dict[str, Any]], bool]  # whether there is a curve for a configuration


def recorded_points(space: Space, allowed: Allowed, epochs: int) -> list[dict[str, Any]]:
    """The points of a finite space of which there are curves."""
    return [point for point in space.grid() if allowed(config_of(point, epochs))]


class Table:
    """The recorded points of a finite space themselves."""

    def __init__(self, space: Space, runs: list[Run], noise: Noise) -> None:
        self.space, self.noise = space, noise
        self.points = by_point(runs)

    def allowed(self, config: dict[str, Any]) -> bool:
        return key_of(config) in self.points

    def mean(self, config: dict[str, Any]) -> tuple[Array, int | None]:
        return mean_of(self.points[key_of(config)])

    @property
    def best(self) -> float:
        return max(final(mean_of(group)[0]) for group in self.points.values())


def mean_of(group: list[Run]) -> tuple[Array, int | None]:
    """The mean curve of a point's runs; it diverges where most of them do."""
    diverged = [run.known for run in group if run.ended == "diverged"]
    scores = np.mean([run.scores for run in group], axis=0)
    return scores, min(diverged) if 2 * len(diverged) > len(group) else None


def final(scores: Array) -> float:
    """The best validation accuracy of a curve over its full length."""
    return float(scores[:, 0].max())


def draw(curves: Curves, config: dict[str, Any], rng: np.random.Generator) -> Curve:
    """A curve of ``config`` as a trial of a replay has it, with the noise of a seed."""
    scores, diverges = curves.mean(config)
    rows = rows_of(curves.noise.add(scores, rng))
    return Curve(rows if diverges is None else rows[:diverges], diverges is not None)


def rows_of(scores: Array) -> list[Row]:
    """A curve as a trial reports it, with Ray's name of the epoch beside ours."""
    best = np.maximum.accumulate(scores[:, 0])
    return [
        {
            **dict(zip(SCORES, map(float, row), strict=True)),
            "epoch": epoch, "training_iteration": epoch, "best_val_acc": float(best[epoch - 1]),
        }
        for epoch, row in enumerate(scores, start=1)
    ]  # fmt: skip
