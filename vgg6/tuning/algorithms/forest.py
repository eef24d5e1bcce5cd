"""A sampler for Optuna that models a search by a random forest, early-stopped trials included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState
from scipy.stats import norm, qmc
from sklearn.ensemble import RandomForestRegressor

from search_spaces import Space
from search_spaces.parameter import Parameter
from search_spaces.unit_cube import suggest_at

Array = npt.NDArray[np.float64]
# Of a search's trials this share, within these bounds, is spread evenly before the model chooses,
# and of those that follow this part, half as many once so many trials are known.
START_SHARE, START_LEAST, START_MOST = 4, 10, 20
EXPLORE, WELL_KNOWN = 0.5, 100
TREES, FEATURES = 30, 0.7
MODELLED = 300  # trials that the forest is fitted to at most: the best, and a sample of the others
CANDIDATES, PARENTS, CHILDREN = 300, 8, 25
STRIDE = 0.15  # of a range: how far a child lies from its parent, as a standard deviation
BETTER_HALF = 3  # trials at least from which a gain is learnt


class ForestSampler(optuna.samplers.BaseSampler):
    """Suggests where a random forest expects the most improvement, as SMAC does (Hutter, Hoos and
    Leyton-Brown, "Sequential model-based optimization for general algorithm configuration", 2011);
    as there, every second suggestion, by chance, is none of the model's; every fourth in a search
    of more than ``WELL_KNOWN`` trials.

    What differs: a trial that was stopped early, or still runs, counts by its score plus what the
    better half of the trials that went on gained from there: its last epoch alone would set it
    behind every longer one. A learning rate, or whatever else has a range of its own under each
    condition, is known by its place in that range, so that trials of one optimizer teach about
    another. And what the model does not choose, which all first trials are, is not drawn at random
    but spread evenly (Sobol): a forest stays where it is until it is shown a better place.

    Args:
        space: what may vary. Suggestions hold every parameter that is active, and no other.
        seed: of all that is random. Suggestions depend on it and on what the study has been told.
        trials: how many the search has: a part of them is spread evenly.
    """

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        self.space, self.start = space, min(START_MOST, max(START_LEAST, trials // START_SHARE))
        self._names = space.names
        self._rng = np.random.default_rng(seed)
        self._even = qmc.Sobol(len(self._names), rng=np.random.default_rng(seed))
        self._independent = optuna.samplers.RandomSampler(seed)
        self._named = {p.name for p in space.parameters if p.choices is not None}
        self._distributions = {p.key: distribution_of(p) for p in space.parameters}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for the active parameters, by Optuna's names; none where a point is evaluated."""
        if "fixed_params" in trial.system_attrs:
            return {}
        told = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        scores = expected_scores(told)
        explore = EXPLORE if len(told) < WELL_KNOWN else EXPLORE / 2
        if len(scores) < self.start or self._rng.random() < explore:
            return self.at(self._even.random()[0])
        return self._most_improving(told, scores)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value of what a point leaves open."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def at(self, places: Sequence[float] | Array) -> dict[str, Any]:
        """The active parameters of the point at ``places``: 0 to 1 for each of the space's names,
        in order."""
        return self.space.params_of(suggest_at(self.space, places))

    def places(self, params: Mapping[str, Any]) -> Array:
        """What ``at`` makes ``params`` of; nan for a parameter that is not active."""
        found = np.full(len(self._names), np.nan)
        for p in self.space.parameters:
            if p.key in params:
                found[self._names.index(p.name)] = _place(p, params[p.key])
        return found

    def _features(self, params: Mapping[str, Any]) -> list[float]:
        """Names one-hot, numbers by their place; what is not active lies in the middle."""
        numbers = dict.fromkeys(self._names, 0.5)
        names: list[float] = []
        for p in self.space.parameters:
            if p.choices is not None and isinstance(p.choices[0], str):
                names += [float(params.get(p.key) == choice) for choice in p.choices]
            elif p.key in params:
                numbers[p.name] = _place(p, params[p.key])
        return [*names, *numbers.values()]

    def _most_improving(
        self, told: Sequence[FrozenTrial], scores: Mapping[int, float]
    ) -> dict[str, Any]:
        modelled = [t for t in told if t.number in scores]
        modelled.sort(key=lambda t: -scores[t.number])
        if len(modelled) > MODELLED:
            half = MODELLED // 2
            others = self._rng.choice(len(modelled) - half, MODELLED - half, replace=False)
            modelled = modelled[:half] + [modelled[half + i] for i in sorted(others)]
        inputs = np.array([self._features(t.params) for t in modelled])
        targets = np.array([scores[t.number] for t in modelled])
        forest = self._fit(inputs, targets)
        # One that has begun and not reported is believed to come out as expected.
        begun = [t for t in told if t.state == TrialState.RUNNING and t.number not in scores]
        if begun:
            waiting = np.array([self._features(t.params) for t in begun])
            believed = forest.predict(waiting)
            forest = self._fit(np.vstack([inputs, waiting]), np.concatenate([targets, believed]))
        known = {_key(t.params) for t in told}
        candidates = [c for c in self._candidates(modelled) if _key(c) not in known]
        if not candidates:  # a space that has nothing new left, or a corner of one
            return self.at(self._rng.random(len(self._names)))
        # What a tree's own predict gives, without its checks, which take most of its time here.
        rows = np.array([self._features(c) for c in candidates], dtype=np.float32)
        guesses = np.stack([tree.tree_.predict(rows)[:, 0] for tree in forest.estimators_])
        gain = expected_improvement(guesses.mean(axis=0), guesses.std(axis=0), targets.max())
        return candidates[int(np.argmax(gain))]

    def _fit(self, inputs: Array, targets: Array) -> RandomForestRegressor:
        seed = int(self._rng.integers(2**31))
        return RandomForestRegressor(TREES, max_features=FEATURES, random_state=seed).fit(
            inputs, targets
        )

    def _candidates(self, best_first: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
        """Points anywhere, and some beside the best ones."""
        rng, width = self._rng, len(self._names)
        anywhere = list(rng.random((CANDIDATES, width)))
        for parent in best_first[:PARENTS]:
            places = self.places(parent.params)
            for _ in range(CHILDREN):
                child = np.where(np.isnan(places), rng.random(width), places)
                for i in rng.choice(width, min(width, 1 + int(rng.random() < 0.3)), replace=False):
                    child[i] = self._moved(self._names[i], child[i])
                anywhere.append(child)
        return [self.at(places) for places in anywhere]

    def _moved(self, name: str, place: float) -> float:
        if name in self._named:
            return float(self._rng.random())
        return float(np.clip(place + STRIDE * self._rng.normal(), 0.0, 1.0))


def distribution_of(p: Parameter) -> BaseDistribution:
    """The distribution that a parameter of a space suggests from."""
    trial = FixedTrial({p.key: p.choices[0] if p.choices is not None else p.low})
    p.suggest(trial)
    return trial.distributions[p.key]


def expected_scores(trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """What each trial that has a score would end with, by its number.

    Completed: its score. Stopped or running at epoch e: its best by then, and the median gains of
    each later epoch among the better half of the trials that made it. Diverged: the worst score of
    all. A failed one, and one that has not reported, has none.
    """
    curves, diverged = {}, []
    for t in trials:
        if any(value > 0 for value in t.constraints.values()):
            diverged.append(t.number)
        elif t.intermediate_values and t.state != TrialState.FAIL:
            curves[t.number] = np.array([v for _, v in sorted(t.intermediate_values.items())])
    longest = max(map(len, curves.values()), default=0)
    gains = np.zeros(longest + 1)  # of epoch i + 1 over epoch i, counted from 0
    for i in range(longest - 1):
        pairs = sorted((c[i], c[i + 1] - c[i]) for c in curves.values() if len(c) > i + 1)
        better = pairs[-max(BETTER_HALF, len(pairs) // 2) :]
        gains[i] = np.median([gain for _, gain in better])
    to_come = np.cumsum(gains[::-1])[::-1]
    complete = {t.number for t in trials if t.state == TrialState.COMPLETE}
    found = {
        n: float(c[-1] + (0.0 if n in complete else to_come[len(c) - 1])) for n, c in curves.items()
    }
    worst = min(found.values(), default=0.0)
    return found | dict.fromkeys(diverged, worst)


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """By how much a normal variable is expected to exceed ``best`` (Jones et al., 1998)."""
    deviation = np.maximum(deviation, 1e-6)
    away = (mean - best) / deviation
    return np.asarray(deviation * (away * norm.cdf(away) + norm.pdf(away)))


def _place(p: Parameter, value: Any) -> float:
    if p.choices is None:
        return p.place(value)
    return (p.choices.index(value) + 0.5) / len(p.choices)


def _key(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))
