"""A search space as a Gaussian process sees it: each configuration is a row of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from search_spaces import Space
from search_spaces.parameter import Parameter
from search_spaces.unit_cube import suggest_at
from vgg6.config import INT_RANGES
from vgg6.tuning.algorithms.rung_gaussian_process import Array

MOVED = 0.35  # of a point's places, those that one beside it has moved
NAME_SCALE = 0.7  # two names lie as far apart as the ends of a range: 0.7 * sqrt(2)


class SpaceEncoding:
    """Makes rows of numbers of a space's configurations, and configurations of points in it.

    A learning rate, or whatever else has a range of its own under each condition, is known by its
    place in that range, so that trials of one optimizer teach about another.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.names = space, space.names
        # Each value that a name may be chosen to have, under whatever condition, by a number.
        self._numbers: dict[str, dict[Any, int]] = {name: {} for name in self.names}
        for p in space.parameters:
            for value in p.choices or ():
                self._numbers[p.name].setdefault(value, len(self._numbers[p.name]))
        self.named = np.array([_is_named(space, name) for name in self.names])

    def at(self, places: Sequence[float] | Array) -> dict[str, Any]:
        """The active parameters of the point at ``places``: 0 to 1 for each of the space's names,
        in order."""
        return self.space.params_of(suggest_at(self.space, places))

    def places(self, params: Mapping[str, Any]) -> Array:
        """What ``at`` makes ``params`` of; nan for a parameter that is not active."""
        found = np.full(len(self.names), np.nan)
        for p in self.space.parameters:
            if p.key in params:
                found[self.names.index(p.name)] = _place(p, params[p.key])
        return found

    def beside(
        self, parent: Array, count: int, strides: Sequence[float], rng: np.random.Generator
    ) -> Array:
        """Places of points beside one, (count, names): numbers are moved by normal steps of about
        ``strides``, names are drawn anew. What is not active in ``parent``, nan, is anywhere."""
        places = np.tile(parent, (count, 1))
        fresh = rng.random(places.shape)
        places = np.where(np.isnan(places), fresh, places)
        moved = rng.random(places.shape) < MOVED
        stride = rng.choice(strides, (count, 1)) * rng.normal(size=places.shape)
        near = np.clip(places + stride, 0, 1)
        return np.where(moved, np.where(self.named, fresh, near), places)

    def inputs(self, params: Mapping[str, Any]) -> list[float]:
        """A trial as the process is given it."""
        places = np.nan_to_num(self.places(params), nan=0.5)
        return [float(x) for x in self.inputs_at(places[None])[0]]

    def inputs_at(self, places: Array) -> Array:
        """Points as the process is given them: names one-hot, numbers by their place; what is not
        active lies in the middle.

        Args:
            places: (n, names).

        Returns:
            (n, inputs).
        """
        column = dict(zip(self.names, places.T, strict=True))
        numbers = {
            n: np.full(len(places), 0.5)
            for n, named in zip(self.names, self.named, strict=True) if not named
        }  # fmt: skip
        chosen = {name: np.full(len(places), -1) for name in self.names}  # -1: is not active
        names: list[Array] = []
        for p in self.space.parameters:
            active = np.ones(len(places), dtype=bool)
            for parent, allowed in p.when.items():
                numbers_of = self._numbers[parent]
                active &= np.isin(chosen[parent], [numbers_of[value] for value in allowed])
            at = column[p.name]
            if p.choices is not None:
                index = np.minimum((at * len(p.choices)).astype(np.int64), len(p.choices) - 1)
                at = (index + 0.5) / len(p.choices)
                numbered = np.array([self._numbers[p.name][value] for value in p.choices])[index]
                chosen[p.name] = np.where(active, numbered, chosen[p.name])
            elif p.name in INT_RANGES:
                at = _rounded(p, at)
            if p.name in numbers:
                numbers[p.name] = np.where(active, at, numbers[p.name])
            else:
                names += [NAME_SCALE * (active & (index == i)) for i in range(len(p.choices or ()))]
        return np.column_stack([*names, *numbers.values()])


def distribution_of(p: Parameter) -> BaseDistribution:
    """The distribution that a parameter of a space suggests from."""
    trial = optuna.trial.FixedTrial({p.key: p.choices[0] if p.choices is not None else p.low})
    p.suggest(trial)
    return trial.distributions[p.key]


def _is_named(space: Space, name: str) -> bool:
    choices = next(p.choices for p in space.parameters if p.name == name)
    return choices is not None and isinstance(choices[0], str)


def _rounded(p: Parameter, at: Array) -> Array:
    """The places of the whole numbers that a range has there."""
    assert p.low is not None and p.high is not None
    if p.log:
        ratio = p.high / p.low
        return np.asarray(np.log(np.round(p.low * ratio**at) / p.low) / np.log(ratio))
    last = (p.high - p.low) // (p.step or 1)  # of the numbers, counted from 0
    return np.asarray(np.minimum(np.floor(at * (last + 1)), last) / last)


def _place(p: Parameter, value: Any) -> float:
    if p.choices is None:
        return p.place(value)
    return (p.choices.index(value) + 0.5) / len(p.choices)
