"""The curves of every problem: recorded ones of our own with a model between them, and LCBench's.

A problem answers for any configuration of its space. It knows its best final score and that of the
median random configuration, which regret is measured by.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import qmc
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.suite.problems import PROBLEMS, SEEDS, TUNING, Problem
from benchmarks.suite.record import best_points, curves_of
from search_spaces import Space
from search_spaces.parameter import Parameter
from search_spaces.unit_cube import suggest_at
from vgg6.config import CHOICES, TrialConfig
from vgg6.data import Array

LCBENCH = "LCBENCH_SUITE"  # the environment's name of the folder of LCBench's problems
TREES, SAMPLED, CLIMBED = 200, 2048, 200
# LCBench's hyperparameters, each under a name that a space of VGG6 has. What is no field of a
# configuration is known by its place, 0 to 1.
RENAMED = {"learning_rate": "lr", "num_layers": "cutout", "max_units": "label_smoothing",
           "max_dropout": "dropout"}  # fmt: skip
JUST_BELOW_1 = 0.999


@dataclass(frozen=True)
class Curves:
    """A problem as searches see it.

    ``truth``: best validation accuracies so far, (n, epochs), of n configurations, without noise;
    ``noise``: standard deviation of a seed; ``best``, ``median``: of final scores.
    """

    name: str
    role: str
    space: Space
    epochs: int
    truth: Callable[[Sequence[dict[str, Any]]], Array]
    best: float
    median: float
    noise: float = 0.0

    def allowed(self, config: dict[str, Any]) -> bool:
        return True


def model_of(inputs: Array, curves: Array) -> ExtraTreesRegressor:
    """Curves, (n, epochs), from inputs: extremely randomised trees (Geurts et al., 2006)."""
    model = ExtraTreesRegressor(TREES, random_state=0, min_samples_leaf=1, n_jobs=1)
    return model.fit(inputs, curves)


def whole_curves(problem: Problem, table: pd.DataFrame) -> list[tuple[int, dict[str, Any], Array]]:
    """Point, configuration and best scores so far, (epochs,), of each recorded run. A run that
    diverged keeps its last score."""
    found = []
    for text, rows in table.groupby("config", sort=False):
        scores = rows.sort_values("epoch")["val_acc"].to_numpy(float)
        scores = scores if np.isfinite(scores).all() else np.array([0.1])
        scores = np.concatenate([scores, np.full(problem.epochs - len(scores), scores[-1])])
        point, config = int(rows["point"].iloc[0]), json.loads(str(text))
        found.append((point, config, np.maximum.accumulate(scores)))
    return found


def recorded_points(problem: Problem) -> tuple[Array, Array]:
    """Inputs, (n, features), and best scores so far, (n, epochs), of all points' first seed."""
    runs = whole_curves(problem, curves_of(problem))
    first = [(config, curve) for _, config, curve in runs if config["seed"] == SEEDS[0]]
    inputs = np.array([inputs_of(problem.space, config) for config, _ in first])
    return inputs, np.array([curve for _, curve in first])


@dataclass
class Recorded:
    """A model of recorded curves."""

    problem: Problem

    def __post_init__(self) -> None:
        self.model = model_of(*recorded_points(self.problem))

    def truth(self, configs: Sequence[dict[str, Any]]) -> Array:
        rows = np.array([inputs_of(self.problem.space, c) for c in configs], dtype=np.float32)
        total = np.zeros((len(rows), self.problem.epochs))
        for tree in self.model.estimators_:  # its own predict takes most of its time in checks
            total += tree.tree_.predict(rows).reshape(len(rows), -1)
        return total / len(self.model.estimators_)

    @property
    def noise(self) -> float:
        """Of a good configuration's final score: from the best points, trained with two seeds."""
        table = curves_of(self.problem)
        runs = whole_curves(self.problem, table)
        rows = [(point, config["seed"], curve[-1]) for point, config, curve in runs]
        scores = pd.DataFrame(rows, columns=["point", "seed", "best"]).pivot(
            index="point", columns="seed", values="best"
        )
        best = best_points(self.problem, table)
        pairs = scores.reindex(columns=list(SEEDS)).loc[best].dropna()
        return float(np.sqrt(pairs.var(axis=1).mean())) if len(pairs) else 0.0


def inputs_of(space: Space, config: dict[str, Any]) -> list[float]:
    """A configuration as numbers: names one-hot, ranges by their place, the rate's logarithm."""
    found: dict[str, float] = {}
    for p in space.parameters:
        if p.choices is not None:
            for choice in CHOICES.get(p.name, p.choices):
                found[f"{p.name}={choice}"] = float(config[p.name] == choice)
        else:
            inside = p.active(config) and config[p.name] is not None
            found[p.name] = p.place(config[p.name]) if inside else found.get(p.name, 0.5)
    return [*found.values(), float(np.log10(config["lr"]))]


def sampled(space: Space, epochs: int, count: int = SAMPLED) -> list[dict[str, Any]]:
    """Configurations spread evenly through a space."""
    rows = qmc.Sobol(len(space.names), rng=np.random.default_rng(5)).random(count)
    every = [suggest_at(space, row) | {"epochs": epochs} for row in rows]
    return [TrialConfig.from_mapping(values).to_dict() for values in every]


def own(problem: Problem) -> Curves:
    """One of our own problems, from what is recorded of it."""
    model = Recorded(problem)
    finals = model.truth(sampled(problem.space, problem.epochs))[:, -1]
    return Curves(
        problem.name, problem.role, problem.space, problem.epochs, model.truth,
        float(finals.max()), float(np.median(finals)), model.noise,
    )  # fmt: skip


def lcbench_module() -> ModuleType | None:
    """The folder's ``suite.py``; None where ``$LCBENCH_SUITE`` names none."""
    folder = os.environ.get(LCBENCH)
    if not folder or not (path := Path(folder) / "suite.py").is_file():
        return None
    spec = importlib.util.spec_from_file_location("lcbench_suite", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lcbench_space(suite: ModuleType) -> Space:
    """Multilayer perceptrons on a table of numbers, under names that VGG6 has."""
    parameters = []
    for name, (low, high, log, whole) in suite.HYPERPARAMETERS.items():
        field_name = RENAMED.get(name, name)
        if field_name in ("label_smoothing", "dropout"):
            parameters.append(Parameter(name=field_name, low=0.0, high=JUST_BELOW_1))
        else:
            step = 1 if whole and not log else None
            parameters.append(Parameter(name=field_name, low=low, high=high, log=log, step=step))
    return Space(name="lcbench", parameters=tuple(parameters), fixed={"optimizer": "sgd"})


def lcbench_values(suite: ModuleType, config: dict[str, Any]) -> dict[str, float]:
    """A configuration as LCBench has it."""
    found = {}
    for name, (low, high, log, whole) in suite.HYPERPARAMETERS.items():
        value = config[RENAMED.get(name, name)]
        if name in ("max_units", "max_dropout"):
            place = value / JUST_BELOW_1
            value = low * (high / low) ** place if log else low + place * (high - low)
        found[name] = round(value) if whole else value
    return found


def lcbench(suite: ModuleType, task: str, role: str) -> Curves:
    """A problem of LCBench. Its best score is that of a sample and of climbs from its best ones."""
    space = lcbench_space(suite)

    def truth(configs: Sequence[dict[str, Any]]) -> Array:
        values = [lcbench_values(suite, config) for config in configs]
        return np.maximum.accumulate(suite.curves(task, values).astype(float), axis=1)

    configs = sampled(space, suite.EPOCHS)
    finals = truth(configs)[:, -1]
    median, rng = float(np.median(finals)), np.random.default_rng(5)
    names = space.names
    ranges = {p.name: p for p in space.parameters}
    for width in (0.12, 0.06, 0.03):
        top = [configs[i] for i in np.argsort(-finals)[:8]]
        places = np.array([[ranges[n].place(c[n]) for n in names] for c in top])
        moved = np.repeat(places, CLIMBED // len(top), axis=0)
        stride = width * rng.normal(size=moved.shape) * (rng.random(moved.shape) < 0.5)
        near = [suggest_at(space, row) | {"epochs": suite.EPOCHS}
                for row in np.clip(moved + stride, 0, 1)]  # fmt: skip
        configs = top + [TrialConfig.from_mapping(values).to_dict() for values in near]
        finals = truth(configs)[:, -1]
    return Curves(f"lcbench-{task}", role, space, suite.EPOCHS, truth, float(finals.max()), median)


def problems(asked: str | None = None) -> dict[str, Callable[[], Curves]]:
    """Every problem that can be had here, by name; LCBench's where its folder is named.

    Args:
        asked: the role that they have, if it matters.
    """
    found: dict[str, Callable[[], Curves]] = {
        problem.name: partial(own, problem)
        for problem in PROBLEMS
        if asked in (None, problem.role) and best_points(problem, curves_of(problem))
    }
    suite = lcbench_module()
    if suite is None:
        print(f"LCBench's problems are left out: ${LCBENCH} names no folder that holds them")
        return found
    if asked in (None, TUNING):
        for task in suite.TASKS:
            found[f"lcbench-{task}"] = partial(lcbench, suite, task, TUNING)
    return found
