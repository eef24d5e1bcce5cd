"""TrialConfig: every hyperparameter of one run, its rule and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vgg6.common.checks import (
    InputError,
    Range,
    check_choice,
    check_integer,
    check_key,
    check_number,
)
from vgg6.common.fields import about, described, read_field, type_of

ACTIVATIONS = ("relu", "sigmoid", "tanh", "silu", "gelu", "leaky_relu", "elu", "mish")
OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "nadam", "adagrad", "rmsprop")
SCHEDULES = ("constant", "cosine", "onecycle")
INITS = ("torch", "kaiming", "xavier")
NORMS = ("none", "batch", "group")
FLIPS = ("random", "alternating")  # where the images may be mirrored
MIRRORINGS = ("none", "horizontal")  # whatever the images
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

SPARSITY = Range(0, 0.95, low_open=True)  # the share of a network's FLOPs that pruning takes
WIDTH = Range(0.125, 2)
SHARE, SHARE_BELOW_1 = Range(0, 1), Range(0, 1, high_open=True)
# The fields of the first recorded runs, which every fingerprint holds.
_FIRST = ("activation", "optimizer", "lr", "batch_size", "epochs", "seed", "schedule", "momentum",
          "weight_decay", "label_smoothing", "dropout", "init", "norm")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Every hyperparameter of one run, with its rule. Checked when made, then frozen.

    The defaults are the study's best configuration. The learning-rate schedule is made for
    ``epochs``, even if the run is stopped earlier. ``momentum=None`` becomes 0.9 where the
    optimizer has a momentum. ``cutout`` is in pixels. ``width`` 1 is the study's network: see
    ``vgg6.model.scaled_widths``.

    Raises:
        InputError: a value is of the wrong type, out of range, or not a valid name.
    """

    activation: str = described("gelu", "activation after each layer but the last", ACTIVATIONS)
    optimizer: str = described("sgd", "how the weights are updated", OPTIMIZERS)
    lr: float = described(0.01, "learning rate", Range(0, 10, low_open=True))
    batch_size: int = described(128, "images a step", Range(1, 4096))
    epochs: int = described(30, "full length, for which the schedule is made", Range(1, 10_000))
    seed: int = described(42, "random seed of the run", Range(0, 2**32 - 1))
    schedule: str = described("constant", "how the learning rate changes", SCHEDULES)
    momentum: float | None = described(
        None, f"momentum of {', '.join(MOMENTUM_OPTIMIZERS)}", SHARE_BELOW_1, unset="0.9"
    )
    weight_decay: float = described(0.0, "strength of L2 regularisation", SHARE)
    label_smoothing: float = described(
        0.0, "share of a label that is spread over all classes", SHARE_BELOW_1
    )
    dropout: float = described(0.5, "share of hidden units left out in a step", SHARE_BELOW_1)
    init: str = described("torch", "how the weights begin", INITS)
    norm: str = described("none", "normalisation after each convolution", NORMS)
    cutout: int = described(0, "side in pixels of the square hidden in each image", Range(0, 32))
    flip: str = described(
        "random", "mirror images by chance or in every second epoch; horizontal: digits too",
        (*FLIPS, *MIRRORINGS),
    )  # fmt: skip
    sam: float = described(
        0.0, "radius of sharpness-aware minimisation, in the last third of the epochs", SHARE
    )
    width: float = described(1.0, "channels and hidden units, as a multiple of VGG6's own", WIDTH)

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
        if not values.keys() <= _FIELDS.keys():
            for name in values:
                check_key("configuration", name, FIELD_NAMES)
        return cls(**values)

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> TrialConfig:
        """Make a configuration from text, as in a CSV row; empty cells take the default."""
        return cls.from_mapping({k: parse_value(k, v) for k, v in values.items() if v != ""})

    def to_dict(self) -> dict[str, Any]:
        """All fields in their declared order, as plain JSON values."""
        return {name: getattr(self, name) for name in FIELD_NAMES}

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that are equal exactly when two configurations are."""
        values = self.to_dict()
        for key in FIELD_NAMES:  # a later field is left out at its default: see _FIRST
            if key not in _FIRST and values[key] == getattr(TrialConfig, key):
                del values[key]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The study's name of a run, such as ``Gelu_SGD_0.01_128_30``; of another width than the
        study's with that at its end, as ``_w0.5``."""
        optimizer = _OPTIMIZER_LABELS[self.optimizer]
        activation = self.activation.capitalize()
        width = "" if self.width == 1 else f"_w{self.width:.3g}"
        return f"{activation}_{optimizer}_{self.lr:.6g}_{self.batch_size}_{self.epochs}{width}"


_FIELDS = {f.name: f for f in fields(TrialConfig)}
FIELD_NAMES = tuple(_FIELDS)
CHOICES: dict[str, tuple[str, ...]] = {
    name: allowed for name, f in _FIELDS.items() if isinstance(allowed := about(f).allowed, tuple)
}
_RANGES = {
    name: allowed for name, f in _FIELDS.items() if isinstance(allowed := about(f).allowed, Range)
}
INT_RANGES = {n: r for n, r in _RANGES.items() if type_of(TrialConfig, _FIELDS[n]) is int}
FLOAT_RANGES = {n: r for n, r in _RANGES.items() if n not in INT_RANGES}


def parse_value(key: str, text: str) -> Any:
    """Read one hyperparameter's value from text by its type; InputError when it is not one."""
    check_key("configuration", key, FIELD_NAMES)
    return read_field(TrialConfig, _FIELDS[key], text)
