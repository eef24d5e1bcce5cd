"""Pruned networks: channels that nobody misses go first, and so many FLOPs as were asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.made.networks import DATA, network
from torch import Tensor

from vgg6.architecture import LAYOUT, WIDTHS, count_flops, count_parameters
from vgg6.common.checks import InputError
from vgg6.model import VGG6
from vgg6.pruning import cut, importances

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "norm"), [("silu", "batch"), ("relu", "none"), ("sigmoid", "none")]
)
def test_channels_that_nothing_reads_are_the_first_to_go_and_are_not_missed(
    activation: str, norm: str
) -> None:
    whole = network(activation=activation, norm=norm)
    weights = {name: tensor.clone() for name, tensor in whole.weights.items()}
    draw = np.random.default_rng(1)
    unread = [torch.from_numpy(draw.choice(width, 8, replace=False)) for width in WIDTHS]
    for layer, channels in enumerate(unread[:4]):
        weights[f"convs.{layer + 1}.weight"][:, channels] = 0
    weights["fc1.weight"].unflatten(1, (256, 16))[:, unread[4]] = 0
    weights["fc2.weight"][:, unread[5]] = 0
    whole = replace(whole, weights=weights)
    widths = tuple(width - 8 for width in WIDTHS)
    small = cut(whole, DATA.train, 1 - count_flops(widths) / count_flops())
    assert small.widths == widths
    images = DATA.val.images[:64]
    np.testing.assert_allclose(small(images), whole(images), atol=1e-4)
    kept = sorted(set(range(64)) - set(unread[0].tolist()))
    assert torch.equal(small.weights["convs.0.weight"], weights["convs.0.weight"][kept])


@pytest.mark.slow
def test_importance_is_the_mean_square_of_the_losss_derivative_by_a_channels_factor() -> None:
    whole = network(activation="silu")
    few = DATA.train.take(np.arange(12))
    found = importances(whole, few)
    assert [len(scores) for scores in found] == list(WIDTHS)
    labels = torch.from_numpy(few.labels)

    def losses(name: str, channel: int, factor: float) -> Tensor:
        weights = {k: v.double() for k, v in whole.weights.items()}
        groups = WIDTHS[4] if name == "fc1.weight" else weights[name].shape[1]
        read = weights[name].reshape(len(weights[name]), groups, -1)
        read[:, channel] *= factor
        weights[name] = read.view(weights[name].shape)
        model = VGG6(whole.config).double().eval()
        model.load_state_dict(weights)
        pixels = torch.from_numpy(few.images).permute(0, 3, 1, 2).double() / 255
        shape = (1, 3, 1, 1)
        mean, std = (
            torch.tensor(x, dtype=torch.float64).view(shape) for x in (DATA.mean, DATA.std)
        )
        logits = model((pixels - mean) / std)
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none").detach()

    readers = ["convs.1.weight", "convs.3.weight", "fc1.weight", "fc2.weight"]
    for layer, name in zip((0, 2, 4, 5), readers, strict=True):
        for channel in (0, 7):
            slope = (losses(name, channel, 1.001) - losses(name, channel, 0.999)) / 0.002
            expected = slope.square().mean().item()
            assert found[layer][channel].item() == pytest.approx(expected, rel=0.01, abs=1e-9)


@pytest.mark.parametrize("sparsity", [0.05, 0.5, 0.95])
def test_a_cut_takes_the_share_of_the_flops_that_was_asked_for_and_not_much_more(
    sparsity: float,
) -> None:
    small = cut(network(activation="relu"), DATA.train, sparsity)
    left = count_flops(small.widths) / count_flops()
    assert 1 - sparsity - 0.1 < left <= 1 - sparsity
    assert all(width % 8 == 0 and width >= 8 for width in small.widths)
    shapes = {name: tensor.shape for name, tensor in small.module().state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in small.weights.items()}
    assert sum(t.numel() for t in small.weights.values()) == count_parameters(
        small.config, small.widths
    )


def test_flops_are_two_for_each_product_of_the_layers() -> None:
    counted = 0

    def count(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal counted
        counted += 2 * output[0].numel() * module.weight[0].numel()  # type: ignore[operator]

    small = cut(network(activation="relu"), DATA.train, 0.4)
    model = small.module()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    model(torch.zeros(1, 3, 32, 32))
    assert counted == count_flops(small.widths)
    assert count_flops() == 234_235_904 and len(WIDTHS) == len(LAYOUT) + 1


def test_a_group_norm_is_not_pruned() -> None:
    with pytest.raises(InputError, match="norm: 'group' cannot be pruned"):
        cut(network(norm="group"), DATA.train, 0.5)
