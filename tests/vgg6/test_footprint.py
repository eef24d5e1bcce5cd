"""What a network takes: quantities as people write them, sizes as the files have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from search_spaces import load_space
from vgg6.architecture import count_parameters
from vgg6.common.checks import InputError
from vgg6.common.quantities import (
    bytes_text,
    latency_text,
    read_bytes,
    read_count,
    read_latency,
)
from vgg6.config import ACTIVATIONS, NORMS, TrialConfig
from vgg6.footprint.int8_size import int8_bytes
from vgg6.footprint.latency import Latency, latency
from vgg6.footprint.limits import LATENCY, PARAMETERS, SIZE, Limit
from vgg6.footprint.within_limits import fits
from vgg6.model import VGG6
from vgg6.onnx_export.onnx_file import onnx_bytes
from vgg6.onnx_export.quantization import quantize
from vgg6.run_record import ImageFacts
from vgg6.tuning.algorithms.space_within_limits import fit_to
from vgg6.tuning.settings import Settings

IMAGES = ImageFacts(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), classes=tuple("abcdefghij"))


@pytest.mark.parametrize(("read", "text", "value"), [
    (read_count, "300000", 300_000), (read_count, "300k", 300_000), (read_count, "1.5M", 1_500_000),
    (read_count, "2e5", 200_000), (read_bytes, "500kB", 500_000), (read_bytes, "1.5 MB", 1_500_000),
    (read_bytes, "512KiB", 524_288), (read_bytes, "700B", 700), (read_latency, "2ms", 0.002),
    (read_latency, "800us", 0.0008), (read_latency, "0.5s", 0.5),
])  # fmt: skip
def test_quantities_are_read_with_their_units(read: object, text: str, value: float) -> None:
    assert read("limit", text) == pytest.approx(value)  # type: ignore[operator]


@pytest.mark.parametrize(("read", "text"), [
    *((read_count, t) for t in ("", "k", "-5", "3kB", "1e999", "nan", "three")),
    *((read_bytes, t) for t in ("500", "5k", "kB", "-1MB", "1GBs")),
    *((read_latency, t) for t in ("2", "2m", "ms", "1h")),
])  # fmt: skip
def test_what_is_no_quantity_is_refused_with_examples(read: object, text: str) -> None:
    with pytest.raises(InputError, match="is not a quantity such as"):
        read("limit", text)  # type: ignore[operator]


def test_quantities_are_written_with_three_digits_and_their_unit() -> None:
    assert [bytes_text(x) for x in (700, 61_970, 500_000, 2_693_884)] == [
        "700 B", "62 kB", "500 kB", "2.69 MB",
    ]  # fmt: skip
    assert [latency_text(x) for x in (0.00041, 0.002, 1.5)] == ["410 us", "2 ms", "1.5 s"]


@pytest.mark.parametrize("field", ["max_parameters", "max_size", "max_latency"])
@pytest.mark.parametrize("value", [0, -1, "many", float("nan")])
def test_a_limit_that_is_none_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        Settings(name="s", **{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "norm", "width", "classes", "side"), [
    *((activation, "none", 0.125, 10, 32) for activation in ACTIVATIONS),
    *(("gelu", norm, 0.4, 10, 32) for norm in NORMS), ("mish", "group", 1.0, 10, 32),
    ("relu", "none", 1.5, 100, 32), ("elu", "batch", 0.2, 3, 64), ("tanh", "group", 0.2, 2, 128),
])  # fmt: skip
def test_the_computed_size_is_at_most_a_little_above_the_int8_file(
    activation: str, norm: str, width: float, classes: int, side: int
) -> None:
    config = TrialConfig(activation=activation, norm=norm, width=width, lr=0.0123456)
    names = tuple(f"class {i}" for i in range(classes))
    images = IMAGES.model_copy(update={"classes": names, "image_size": side})
    weights = VGG6(config, images.task).state_dict()
    pixels = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    file = len(quantize(onnx_bytes(config, weights, images), pixels))
    assert file <= int8_bytes(config, images) <= file + 2500


def test_sizes_and_parameters_never_shrink_as_width_grows() -> None:
    configs = [TrialConfig(width=w) for w in np.linspace(0.125, 2, 60)]
    sizes = [int8_bytes(c, IMAGES) for c in configs]
    counts = [count_parameters(c) for c in configs]
    assert sizes == sorted(sizes) and counts == sorted(counts)


@pytest.mark.parametrize(("limit", "said"), [
    (Limit(PARAMETERS, 30_000), "42,418 parameters"), (Limit(SIZE, 50_000), "60.9 kB"),
])  # fmt: skip
def test_a_limit_that_nothing_meets_is_refused_with_the_smallest_there_is(
    limit: Limit, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        fit_to(load_space("sizes"), [limit], IMAGES)
    assert caught.value.field == limit.field and said in str(caught.value)
    with pytest.raises(InputError, match="The space sizes varies the width"):
        fit_to(load_space("default"), [limit], IMAGES)


def test_of_several_limits_the_tightest_decides() -> None:
    limits = [Limit(PARAMETERS, 300_000), Limit(SIZE, 150_000)]
    space = fit_to(load_space("sizes"), limits, IMAGES)
    for p in space.parameters:
        if p.name == "width":
            for name in p.when.get("activation", ("relu", "sigmoid", "tanh", "silu", "gelu")):
                assert fits(limits, TrialConfig(activation=name, width=p.high), IMAGES)
                wider = TrialConfig(activation=name, width=(p.high or 0) + 1 / 64)
                assert not fits(limits[1:], wider, IMAGES)


def test_a_time_is_measured_once_for_each_shape_and_its_upper_quartile_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[int] = []
    known: dict[str, object] = {}

    def measure(content: bytes, images: ImageFacts) -> Latency:
        measured.append(len(content))
        return Latency(median=0.001, low=0.0009, high=0.002)

    module = "vgg6.footprint.latency."
    monkeypatch.setattr(module + "measure_file", measure)
    monkeypatch.setattr(module + "recall", known.get)
    monkeypatch.setattr(module + "remember", known.__setitem__)
    before = torch.random.get_rng_state()
    narrow = TrialConfig(width=0.125)
    assert latency(narrow, IMAGES) == latency(TrialConfig(width=0.125, lr=0.5, seed=1), IMAGES)
    assert len(measured) == 1
    assert before.equal(torch.random.get_rng_state()), "no trial's randomness depends on it"
    assert fits([Limit(LATENCY, 0.002)], narrow, IMAGES)
    assert not fits([Limit(LATENCY, 0.0015)], narrow, IMAGES)
