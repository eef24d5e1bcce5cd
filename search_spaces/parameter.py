"""One hyperparameter of a search space: its values, its condition and how to sample it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vgg6.common.checks import InputError, check_choice, check_integer, check_key, check_number
from vgg6.config import CHOICES, FIELD_NAMES, FLOAT_RANGES, INT_RANGES

# Length and seed belong to the command line; only a point may bring its own.
PARAMETER_NAMES = tuple(name for name in FIELD_NAMES if name not in ("epochs", "seed"))


def check_name(where: str, name: object) -> None:
    """Raise InputError unless ``name`` is a hyperparameter that a space may set."""
    if name in ("epochs", "seed"):
        raise InputError(where, name, f"is set by `{name}` or by a point, not by a space")
    check_key(where, name, PARAMETER_NAMES)


def check_value(where: str, name: str, value: Any) -> Any:
    """Return one hyperparameter's value, a float where it is real, or raise InputError."""
    if name in CHOICES:
        check_choice(where, value, CHOICES[name])
        return value
    if name in INT_RANGES:
        return check_integer(where, value, INT_RANGES[name])
    return check_number(where, value, FLOAT_RANGES[name])


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One hyperparameter that varies: over ``choices``, or from ``low`` to ``high``.

    Args:
        name: a TrialConfig field other than ``epochs`` and ``seed``.
        choices: the values it can take; else ``low`` and ``high``, both included.
        log: sample the range evenly in the logarithm.
        step: for whole numbers, the distance between two values of the range.
        when: active only if each earlier parameter named here took one of these values.
        key: the name Optuna knows it by; set by the Space that holds it.

    Raises:
        InputError: a value breaks the rule of its TrialConfig field, or the range is no range.
    """

    name: str
    choices: tuple[Any, ...] | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: int | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    key: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_name("parameters", self.name)
        # A frozen class is filled in once, here: ints become floats, lists tuples.
        if self.choices is None:
            self._check_range(f"parameters.{self.name}")
        else:
            self._check_choices(f"parameters.{self.name}")
        self._check_when(f"parameters.{self.name}.when")

    def _check_when(self, where: str) -> None:
        for parent, allowed in self.when.items():
            check_name(where, parent)
            if not isinstance(allowed, (list, tuple)) or not allowed:
                raise InputError(f"{where}.{parent}", allowed, "is not a list of one or more")
        # The fields' own order, so that a key does not depend on how a file was sorted.
        when = {
            parent: tuple(check_value(f"{where}.{parent}", parent, v) for v in self.when[parent])
            for parent in PARAMETER_NAMES
            if parent in self.when
        }
        object.__setattr__(self, "when", when)

    def _check_choices(self, where: str) -> None:
        if self.log or (self.low, self.high, self.step) != (None, None, None):
            rule = "cannot stand beside low, high, log or step: give choices or a range"
            raise InputError(f"{where}.choices", self.choices, rule)
        if not isinstance(self.choices, (list, tuple)) or not self.choices:
            raise InputError(f"{where}.choices", self.choices, "is not a list of one or more")
        values: dict[Any, None] = {}  # in order, and quick to look a value up in
        for index, choice in enumerate(self.choices):
            value = check_value(f"{where}.choices[{index}]", self.name, choice)
            if value in values:
                raise InputError(f"{where}.choices[{index}]", value, "stands there twice")
            values[value] = None
        object.__setattr__(self, "choices", tuple(values))

    def _check_range(self, where: str) -> None:
        if self.name in CHOICES:
            rule = f"is not set, and {self.name} is a name, not a number: list its choices"
            raise InputError(f"{where}.choices", None, rule)
        for bound in ("low", "high"):
            if getattr(self, bound) is None:
                rule = "is not set: give choices, or both low and high"
                raise InputError(f"{where}.{bound}", None, rule)
            value = check_value(f"{where}.{bound}", self.name, getattr(self, bound))
            object.__setattr__(self, bound, value)
        assert self.low is not None and self.high is not None
        if not self.low < self.high:
            raise InputError(f"{where}.high", self.high, f"is not above low = {self.low:g}")
        if not isinstance(self.log, bool):
            raise InputError(f"{where}.log", self.log, "is not true or false")
        if self.log and self.low <= 0:
            raise InputError(f"{where}.low", self.low, "is not above 0, as a log range needs")
        if self.step is None:
            return
        if self.name not in INT_RANGES or self.log:
            raise InputError(f"{where}.step", self.step, "fits whole numbers without log only")
        check_integer(f"{where}.step", self.step, INT_RANGES[self.name])
        # Optuna would move the upper bound instead, and with it the space.
        if (self.high - self.low) % self.step:
            rule = f"does not divide high - low = {self.high - self.low:g}"
            raise InputError(f"{where}.step", self.step, rule)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether its condition holds in ``values``; a parent that is missing took no value."""
        return all(values.get(parent) in allowed for parent, allowed in self.when.items())

    def contains(self, value: Any) -> bool:
        """Whether ``value`` can be sampled."""
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None and self.high is not None
        return self.low <= value <= self.high and not (self.step and (value - self.low) % self.step)

    def place(self, value: float) -> float:
        """Where ``value`` lies in this range, from 0 to 1, on its own scale."""
        assert self.low is not None and self.high is not None
        low, high, x = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (x - low) / (high - low)

    def at(self, place: float) -> float:
        """The value that lies so far in this range: what ``place`` gives back."""
        assert self.low is not None and self.high is not None
        if self.log:
            return self.low * (self.high / self.low) ** place
        return self.low + place * (self.high - self.low)

    def suggest(self, trial: Any) -> Any:
        """Ask an Optuna trial, or anything with its ``suggest_*`` methods, for a value."""
        if self.choices is not None:
            return trial.suggest_categorical(self.key, self.choices)
        if self.name in INT_RANGES:
            return trial.suggest_int(
                self.key, self.low, self.high, step=self.step or 1, log=self.log
            )
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)

    @property
    def values_text(self) -> str:
        """Its values as a reader wants them: ``64, 128`` or ``0.001 to 0.3, log``."""
        if self.choices is not None:
            return ", ".join(f"{c:g}" if isinstance(c, float) else str(c) for c in self.choices)
        step = f", step {self.step}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{step}{', log' if self.log else ''}"

    @property
    def when_text(self) -> str:
        """Its condition: ``when optimizer is sgd or nesterov``; empty if it has none."""
        parts = [f"{n} is {' or '.join(map(str, v))}" for n, v in self.when.items()]
        return f"when {' and '.join(parts)}" if parts else ""

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set, as plain JSON values."""
        values: dict[str, Any] = {"name": self.name}
        if self.choices is not None:
            values["choices"] = list(self.choices)
        else:
            values |= {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return values | {"when": {parent: list(allowed) for parent, allowed in self.when.items()}}
