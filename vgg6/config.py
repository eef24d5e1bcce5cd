"""TrialConfig: every hyperparameter of one run, its rule and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vgg6.common.checks import (
    InputError,
    Range,
    check_choice,
    check_integer,
    check_key,
    check_number,
)

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
