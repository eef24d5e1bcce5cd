"""TrialConfig: every hyperparameter of one run, its rule and its fingerprint."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

ACTIVATIONS = ("relu", "sigmoid", "tanh", "silu", "gelu", "leaky_relu", "elu", "mish")
OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "nadam", "adagrad", "rmsprop")
SCHEDULES = ("constant", "cosine", "onecycle")
INITS = ("torch", "kaiming", "xavier")
NORMS = ("none", "batch", "group")
FLIPS = ("random", "alternating")
MOMENTUM_OPTIMIZERS = ("sgd", "nesterov", "rmsprop")

_OPTIMIZER_LABELS = {
    "sgd": "SGD",
    "nesterov": "Nesterov",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "Nadam",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
}


# A value from a file can be as long as the file, or nest without end: an error shows its start.
class _Shown(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        # Python writes out no integer of more than 4,300 digits; hexadecimal text can make one.
        bits = value.bit_length()
        return super().repr_int(value, level) if bits < 14_000 else f"an integer of {bits} bits"


_SHOWN = _Shown()
_SHOWN.maxlevel, _SHOWN.maxdict, _SHOWN.maxlist, _SHOWN.maxtuple = 3, 6, 10, 10
_SHOWN.maxstring = _SHOWN.maxlong = _SHOWN.maxother = 1000


class InputError(ValueError):
    """Something a user gave breaks a rule: says the key, the value and the rule.

    Args:
        key: what was set, as the user spells it (``lr``, ``--trials``, ``space.yaml: lr.low``).
        value: what it was set to.
        rule: what it must be, worded to follow the value.
    """

    def __init__(self, key: str, value: object, rule: str) -> None:
        super().__init__(f"{key}: {_SHOWN.repr(value)} {rule}")
        self.key, self.value, self.rule = key, value, rule


def nearest(name: str, valid: Collection[str]) -> str:
    """``"; did you mean 'sigmoid'?"`` for the closest valid name, or an empty string."""
    matches = difflib.get_close_matches(str(name).lower(), list(valid), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def check_choice(key: str, value: object, valid: Collection[str]) -> None:
    """Raise InputError, offering the nearest valid name, unless ``value`` is one of ``valid``."""
    if not isinstance(value, str) or value not in valid:
        raise InputError(
            key, value, f"is not one of {', '.join(valid)}{nearest(str(value), valid)}"
        )


def check_key(key: str, name: object, valid: Collection[str]) -> None:
    """Raise InputError, offering the nearest valid name, for a key that does not exist."""
    if name not in valid:
        hint = nearest(str(name), valid)
        raise InputError(key, name, f"is not a known key (known: {', '.join(valid)}){hint}")


@dataclass(frozen=True)
class Range:
    """The interval that a numeric hyperparameter must lie in; ``low_open``: low itself is out."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{left}{self.low:.10g}, {self.high:.10g}{right}"


CHOICES: dict[str, tuple[str, ...]] = {
    "activation": ACTIVATIONS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "init": INITS,
    "norm": NORMS,
    "flip": FLIPS,
}
FLOAT_RANGES = {
    "lr": Range(0, 10, low_open=True),
    "momentum": Range(0, 1, high_open=True),
    "weight_decay": Range(0, 1),
    "label_smoothing": Range(0, 1, high_open=True),
    "dropout": Range(0, 1, high_open=True),
    "sam": Range(0, 1),
}
_LATER = ("cutout", "flip", "sam")  # fields that the first recorded runs did not have
SPARSITY = Range(0, 0.95, low_open=True)  # the share of a network's FLOPs that pruning takes
INT_RANGES = {
    "batch_size": Range(1, 4096),
    "epochs": Range(1, 10_000),
    "seed": Range(0, 2**32 - 1),
    "cutout": Range(0, 32),
}


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Every hyperparameter of one run. Checked when made, then frozen.

    The defaults are the study's best configuration. ``epochs`` is the full length the
    learning-rate schedule is made for, whether or not the run is stopped before it.
    ``momentum=None`` becomes 0.9 where the optimizer has a momentum. ``cutout`` is the side in
    pixels of the square that training hides in each image. ``flip``: whether an image is mirrored
    by chance, or in every second epoch. ``sam``: the radius of sharpness-aware minimisation in the
    last third of the epochs (vgg6/sharpness.py), 0 for none.

    Raises:
        InputError: a value is of the wrong type, out of range, or not a valid name.
    """

    activation: str = "gelu"
    optimizer: str = "sgd"
    lr: float = 0.01
    batch_size: int = 128
    epochs: int = 30
    seed: int = 42
    schedule: str = "constant"
    momentum: float | None = None
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    dropout: float = 0.5
    init: str = "torch"
    norm: str = "none"
    cutout: int = 0
    flip: str = "random"
    sam: float = 0.0

    def __post_init__(self) -> None:
        for key, choices in CHOICES.items():
            check_choice(key, getattr(self, key), choices)
        has_momentum = self.optimizer in MOMENTUM_OPTIMIZERS
        if self.momentum is None and has_momentum:
            object.__setattr__(self, "momentum", 0.9)
        elif self.momentum is not None and not has_momentum:
            known = ", ".join(MOMENTUM_OPTIMIZERS)
            raise InputError(
                "momentum", self.momentum, f"has no meaning for {self.optimizer}: only for {known}"
            )
        for key, allowed in FLOAT_RANGES.items():
            if key != "momentum" or has_momentum:
                object.__setattr__(self, key, check_number(key, getattr(self, key), allowed))
        for key, allowed in INT_RANGES.items():
            check_integer(key, getattr(self, key), allowed)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrialConfig:
        """Make a configuration from names and values, refusing names that do not exist."""
        for name in values:
            check_key("configuration", name, FIELD_NAMES)
        return cls(**values)

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> TrialConfig:
        """Make a configuration from text, as in a CSV row; empty cells take the default."""
        return cls.from_mapping({k: parse_value(k, v) for k, v in values.items() if v != ""})

    def to_dict(self) -> dict[str, Any]:
        """All fields in their declared order, as plain JSON values."""
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that are equal exactly when two configurations are."""
        values = self.to_dict()
        for key in _LATER:  # at its default it is left out: what was recorded keeps its fingerprint
            if values[key] == getattr(TrialConfig, key):
                del values[key]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The study's name of a run, such as ``Gelu_SGD_0.01_128_30``."""
        optimizer = _OPTIMIZER_LABELS[self.optimizer]
        activation = self.activation.capitalize()
        return f"{activation}_{optimizer}_{self.lr:.6g}_{self.batch_size}_{self.epochs}"


FIELD_NAMES = tuple(f.name for f in fields(TrialConfig))


def check_number(key: str, value: object, allowed: Range) -> float:
    """Return ``value`` as a float, or raise InputError when it is no number in ``allowed``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(key, value, f"is not a number in {allowed}")
    if value not in allowed:
        raise InputError(key, value, f"is not in {allowed}")
    return float(value) + 0.0  # -0.0 equals 0.0 and must have its fingerprint too


def check_integer(key: str, value: object, allowed: Range) -> int:
    """Return ``value``, or raise InputError when it is no whole number in ``allowed``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(key, value, f"is not a whole number in {allowed}")
    if value not in allowed:
        raise InputError(key, value, f"is not in {allowed}")
    return value


def parse_value(key: str, text: str) -> Any:
    """Read one hyperparameter's value from text by its type; InputError when it is not one."""
    check_key("configuration", key, FIELD_NAMES)
    if key in CHOICES:
        return text
    kind, allowed = (int, INT_RANGES[key]) if key in INT_RANGES else (float, FLOAT_RANGES[key])
    try:
        return kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise InputError(key, text, f"is not {noun} in {allowed}") from None
