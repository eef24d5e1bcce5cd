"""A TrialConfig that exists is valid; two are equal exactly when their fingerprints are."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgg6.common.checks import InputError
from vgg6.config import (
    ACTIVATIONS,
    CHOICES,
    FIELD_NAMES,
    FLOAT_RANGES,
    INT_RANGES,
    MOMENTUM_OPTIMIZERS,
    OPTIMIZERS,
    TrialConfig,
    parse_value,
)

NAN, INF = float("nan"), float("inf")
HUGE = 10**400  # too large to become a float

BAD_VALUES = [
    *[("lr", v) for v in (0, 0.0, -0.1, 10.5, NAN, INF, -INF, HUGE, True, "0.1", None, [0.1])],
    *[("momentum", v) for v in (-0.1, 1, 1.0, NAN, INF, True, "0.9")],
    *[("weight_decay", v) for v in (-1e-9, 1.01, NAN, INF, HUGE, False, "0", None)],
    *[("label_smoothing", v) for v in (-0.1, 1, 1.5, NAN, True, "0.1", None)],
    *[("dropout", v) for v in (-0.1, 1, 1.0, NAN, INF, True, "0.5", None)],
    *[("sam", v) for v in (-0.1, 1.1, NAN, INF, True, "0.05", None)],
    *[("width", v) for v in (0.12, 2.1, NAN, True, "1", None)],
    *[("batch_size", v) for v in (0, -1, 4097, 1.0, 128.0, NAN, HUGE, True, "128", None)],
    *[("epochs", v) for v in (0, -3, 10_001, 2.5, INF, True, "30", None)],
    *[("cutout", v) for v in (-1, 33, 8.0, HUGE, True, "8", None)],
    *[("seed", v) for v in (-1, 2**32, 1.0, HUGE, -HUGE, True, "42", None)],
    *[("activation", v) for v in ("", "relu6", "ReLU", 1, None, True, ["relu"])],
    *[("optimizer", v) for v in ("", "lion", "SGD", 1, None, ["sgd"])],
    *[("schedule", v) for v in ("", "step", "Cosine", 1, None)],
    *[("init", v) for v in ("", "zeros", "Kaiming", 1, None)],
    *[("norm", v) for v in ("", "layer", "Batch", 1, None, False)],
    *[("flip", v) for v in ("", "vertical", "Random", 1, None, True)],
]


@pytest.mark.parametrize(("key", "value"), BAD_VALUES, ids=lambda v: repr(v)[:12])
def test_a_bad_value_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        TrialConfig(**{key: value})
    assert caught.value.field == key
    assert caught.value.value is value
    assert str(caught.value).startswith(f"{key}: {value!r} ")
    allowed = {**FLOAT_RANGES, **INT_RANGES}
    assert (str(allowed[key]) if key in allowed else CHOICES[key][0]) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("lr", v) for v in (1e-12, 1, 10)],
        *[("momentum", v) for v in (0, 0.999)],
        *[("weight_decay", v) for v in (0, 1)],
        *[("label_smoothing", v) for v in (0, 0.99)],
        *[("dropout", v) for v in (0, 0.99)],
        *[("sam", v) for v in (0, 1)],
        *[("width", v) for v in (0.125, 2)],
        *[("batch_size", v) for v in (1, 4096)],
        *[("epochs", v) for v in (1, 10_000)],
        *[("seed", v) for v in (0, 2**32 - 1)],
        *[("cutout", v) for v in (0, 32)],
        *[(key, name) for key, names in CHOICES.items() for name in names],
    ],
)
def test_every_value_up_to_the_edge_of_its_range_is_taken(key: str, value: Any) -> None:
    taken = getattr(TrialConfig(**{key: value}), key)
    assert taken == value
    assert type(taken) is (float if key in FLOAT_RANGES else type(value))


@pytest.mark.parametrize(
    ("key", "wrong", "meant"),
    [
        ("activation", "sigmoide", "sigmoid"),
        ("activation", "ReLU", "relu"),
        ("activation", "leakyrelu", "leaky_relu"),
        ("optimizer", "SGD", "sgd"),
        ("optimizer", "nestrov", "nesterov"),
        ("optimizer", "AdamW", "adamw"),
        ("schedule", "one_cycle", "onecycle"),
        ("init", "xavier_normal", "xavier"),
        ("norm", "batchnorm", "batch"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(key: str, wrong: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"{key}: .*did you mean '{meant}'[?]$"):
        TrialConfig(**{key: wrong})  # type: ignore[arg-type]


def test_a_name_like_no_valid_one_gets_no_guess() -> None:
    with pytest.raises(InputError) as caught:
        TrialConfig(optimizer="zzzzzz")
    assert "did you mean" not in str(caught.value)


def test_a_misspelt_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="'batchsize' is not a known key.*'batch_size'[?]$"):
        TrialConfig.from_mapping({"batchsize": 128})
    with pytest.raises(InputError, match="'learning_rate' is not a known key"):
        parse_value("learning_rate", "0.1")


def test_the_defaults_are_the_best_run_of_the_study() -> None:
    config = TrialConfig()
    assert config.to_dict() == {
        "activation": "gelu", "optimizer": "sgd", "lr": 0.01, "batch_size": 128, "epochs": 30,
        "seed": 42, "schedule": "constant", "momentum": 0.9, "weight_decay": 0.0,
        "label_smoothing": 0.0, "dropout": 0.5, "init": "torch", "norm": "none", "cutout": 0,
        "flip": "random", "sam": 0.0, "width": 1.0,
    }  # fmt: skip
    assert config.label == "Gelu_SGD_0.01_128_30"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_momentum_is_nine_tenths_where_it_has_a_meaning_and_refused_elsewhere(
    optimizer: str,
) -> None:
    if optimizer in ("sgd", "nesterov", "rmsprop"):
        assert TrialConfig(optimizer=optimizer).momentum == 0.9
        assert TrialConfig(optimizer=optimizer, momentum=0).momentum == 0.0
    else:
        assert TrialConfig(optimizer=optimizer).momentum is None
        with pytest.raises(InputError, match=f"momentum: 0.9 has no meaning for {optimizer}"):
            TrialConfig(optimizer=optimizer, momentum=0.9)


def test_a_configuration_cannot_be_changed_after_its_check() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrialConfig().lr = 99  # type: ignore[misc]


def test_a_csv_row_is_read_by_type_and_empty_cells_take_the_default() -> None:
    row = {
        "activation": "relu", "optimizer": "adam", "lr": "1e-3", "batch_size": "64",
        "epochs": "5", "momentum": "", "seed": "", "norm": "batch",
    }  # fmt: skip
    read = TrialConfig.from_strings(row)
    assert read == TrialConfig(
        activation="relu", optimizer="adam", lr=0.001, batch_size=64, epochs=5, norm="batch"
    )
    assert read.label == "Relu_Adam_0.001_64_5"


@pytest.mark.parametrize(
    ("key", "text"),
    [("lr", "fast"), ("lr", "nan"), ("lr", "inf"), ("lr", "1,5"), ("batch_size", "12.5"),
     ("batch_size", "1e2"), ("epochs", "ten"), ("seed", "9" * 400), ("activation", "swish2"),
     ("learning", "1")],
)  # fmt: skip
def test_a_bad_csv_cell_is_refused_by_name(key: str, text: str) -> None:
    with pytest.raises(InputError, match=key):
        TrialConfig.from_strings({key: text})


def test_a_whole_number_and_its_float_are_one_configuration() -> None:
    assert TrialConfig(lr=1, dropout=0).fingerprint == TrialConfig(lr=1.0, dropout=0.0).fingerprint


def test_minus_zero_is_zero_to_the_fingerprint_as_it_is_to_equality() -> None:
    minus, plus = TrialConfig(weight_decay=-0.0), TrialConfig(weight_decay=0.0)
    assert minus == plus
    assert minus.fingerprint == plus.fingerprint


def test_the_fingerprint_of_the_default_never_changes() -> None:
    # Run folders and exported packages of earlier versions name their configurations by it.
    assert TrialConfig().fingerprint == "2745587ad9f6"


def _floats(key: str) -> st.SearchStrategy[float]:
    allowed = FLOAT_RANGES[key]
    return st.floats(
        allowed.low, allowed.high, exclude_min=allowed.low_open, exclude_max=allowed.high_open
    )


@st.composite
def _valid(draw: st.DrawFn) -> dict[str, Any]:
    values: dict[str, Any] = {key: draw(st.sampled_from(names)) for key, names in CHOICES.items()}
    values |= {key: draw(_floats(key)) for key in FLOAT_RANGES if key != "momentum"}
    values |= {key: draw(st.integers(int(r.low), int(r.high))) for key, r in INT_RANGES.items()}
    if values["optimizer"] in MOMENTUM_OPTIMIZERS:
        values["momentum"] = draw(st.none() | _floats("momentum"))
    return values


@settings(max_examples=200, deadline=None)
@given(_valid(), _valid(), st.sampled_from(FIELD_NAMES))
def test_any_configuration_survives_json_and_text_and_differs_when_a_field_does(
    values: dict[str, Any], other: dict[str, Any], key: str
) -> None:
    config = TrialConfig(**values)
    through_json = TrialConfig.from_mapping(json.loads(json.dumps(config.to_dict())))
    assert through_json == config
    assert through_json.fingerprint == config.fingerprint
    cells = {k: "" if v is None else str(v) for k, v in config.to_dict().items()}
    assert TrialConfig.from_strings(cells) == config

    changed = {**config.to_dict(), key: TrialConfig(**other).to_dict()[key]}
    try:
        altered = TrialConfig(**changed)
    except InputError:
        return  # a momentum for an optimizer that has none
    assert (altered.fingerprint == config.fingerprint) == (altered == config)


@pytest.mark.parametrize("key", FIELD_NAMES)
def test_changing_any_one_field_changes_the_fingerprint(key: str) -> None:
    values = {
        "activation": "relu", "optimizer": "nesterov", "lr": 0.02, "batch_size": 129, "epochs": 31,
        "seed": 43, "schedule": "cosine", "momentum": 0.8, "weight_decay": 1e-4,
        "label_smoothing": 0.1, "dropout": 0.4, "init": "kaiming", "norm": "batch", "cutout": 8,
        "flip": "alternating", "sam": 0.05, "width": 0.5,
    }  # fmt: skip
    changed = TrialConfig.from_mapping({key: values[key]})
    assert changed != TrialConfig()
    assert changed.fingerprint != TrialConfig().fingerprint


def test_what_was_recorded_before_a_field_was_there_keeps_its_fingerprint() -> None:
    assert TrialConfig().fingerprint == "2745587ad9f6"
    assert TrialConfig(optimizer="adam", lr=1e-3).fingerprint == "e14943cc6581"
    assert TrialConfig(cutout=8).fingerprint == "e677b3583c03"


def test_a_label_names_every_activation_and_optimizer_apart() -> None:
    labels = {TrialConfig(activation=a, optimizer=o).label for a in ACTIVATIONS for o in OPTIMIZERS}
    assert len(labels) == len(ACTIVATIONS) * len(OPTIMIZERS)
