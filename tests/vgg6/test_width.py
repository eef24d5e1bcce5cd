"""A network of another width: how wide it is, how large, and that width 1 is the study's."""

from __future__ import annotations

import runpy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.packages.loader_code import torch_loader
from analysis.packages.package_schema import check_pruned
from analysis.packages.weights import read_weights
from vgg6.architecture import WIDTHS, count_parameters, scaled_widths
from vgg6.augment import Normalizer
from vgg6.checkpoint import save_weights
from vgg6.common.checks import InputError
from vgg6.config import NORMS, TrialConfig
from vgg6.model import VGG6, widths_of
from vgg6.run_record import ImageFacts

FACTS = ImageFacts(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), classes=tuple("abcdefghij"))


def test_the_network_of_width_one_is_the_studys_to_the_last_bit() -> None:
    models = []
    for widths in (None, WIDTHS):
        torch.manual_seed(3)
        models.append(VGG6(TrialConfig(), widths=widths).state_dict())
    assert models[0].keys() == models[1].keys()
    assert all(models[0][name].equal(models[1][name]) for name in models[0])


def test_widths_are_blocks_of_eight_and_never_shrink_as_width_grows() -> None:
    found = [scaled_widths(w) for w in np.linspace(0.125, 2, 400)]
    assert found[0] == (8, 8, 16, 16, 32, 64) and found[-1] == tuple(2 * w for w in WIDTHS)
    assert scaled_widths(1) == WIDTHS
    assert all(units % 8 == 0 and units >= 8 for widths in found for units in widths)
    for narrow, wide in pairwise(found):
        assert all(a <= b for a, b in zip(narrow, wide, strict=True))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("width", [0.125, 0.3, 0.7])
def test_every_norm_fits_a_narrow_network_and_its_parameters_are_counted(
    norm: str, width: float
) -> None:
    config = TrialConfig(width=width, norm=norm)
    model = VGG6(config).eval()
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert sum(p.numel() for p in model.parameters()) == count_parameters(config)


@pytest.mark.parametrize("norm", NORMS)
def test_weights_and_loader_of_a_narrow_network_are_those_of_the_network(
    norm: str, tmp_path: Path
) -> None:
    config = TrialConfig(width=0.2, norm=norm)
    torch.manual_seed(1)
    model = VGG6(config).eval()
    file = tmp_path / "weights.safetensors"
    save_weights(file, model.state_dict(), config)
    named, weights = read_weights(file)
    assert named == config and widths_of(weights) == scaled_widths(0.2)
    with pytest.raises(InputError, match="does not fit its configuration"):
        read_weights(file, widths=scaled_widths(0.3))
    (tmp_path / "load_model.py").write_text(torch_loader(config, FACTS, widths_of(weights)))
    names = runpy.run_path(str(tmp_path / "load_model.py"))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    pixels = Normalizer(FACTS.mean, FACTS.std, torch.device("cpu"))(images.permute(0, 2, 3, 1))
    with torch.inference_mode():
        ours = model.to(memory_format=torch.channels_last)(pixels)  # type: ignore[call-overload]
        theirs = names["load"]()(images)
    torch.testing.assert_close(ours, theirs)


def test_a_network_cannot_have_been_pruned_to_more_than_its_own_width() -> None:
    check_pruned(scaled_widths(0.5), scaled_widths(0.5))
    with pytest.raises(InputError, match="at most"):
        check_pruned(WIDTHS, scaled_widths(0.5))


def test_a_width_is_named_where_it_is_not_the_studys() -> None:
    assert TrialConfig().label == "Gelu_SGD_0.01_128_30"
    assert TrialConfig(width=0.25).label == "Gelu_SGD_0.01_128_30_w0.25"
