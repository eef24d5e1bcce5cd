"""Structured pruning: whole channels are cut out, and what is left is trained a little more.

A pruned network is a VGG6 of smaller widths: its tensors are smaller, and nothing is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgg6.architecture import BLOCK, count_flops
from vgg6.augment import Normalizer
from vgg6.common.checks import InputError, check_number
from vgg6.config import SPARSITY, TrialConfig
from vgg6.data import LabelledImages, TrialData
from vgg6.metric import ACCURACY, Metric
from vgg6.network import Network
from vgg6.run_record import EpochMetrics
from vgg6.task import Task
from vgg6.training import train

RANKED_ON = 1000  # training images that importance is estimated from
BATCH = 250


def prune(
    network: Network,
    data: TrialData,
    *,
    sparsity: float,
    epochs: int = 5,
    on_epoch: Callable[[EpochMetrics], object] | None = None,
    metric: Metric = ACCURACY,
) -> Network:
    """Cut channels out of a network, then train what is left for some epochs.

    Args:
        sparsity: the share of the FLOPs of an image that goes, in (0, 0.95]; see ``cut``.
        epochs: of the training after it, 0 for none; see ``finetuning``.
        on_epoch: is told each epoch's metrics.
        metric: the best of these epochs is chosen by.

    Returns:
        a network of smaller widths, with the weights of the best of these epochs.

    Raises:
        InputError: ``sparsity`` is out of range, or the network cannot be pruned.
        NonFiniteLoss: the training diverged.
    """
    small = cut(network, data.train, sparsity)
    if not epochs:
        return small
    tuned = train(
        finetuning(network.config, epochs), data, network.runtime, start=small, on_epoch=on_epoch,
        metric=metric,
    )  # fmt: skip
    return replace(tuned, config=network.config)


def finetuning(config: TrialConfig, epochs: int) -> TrialConfig:
    """The hyperparameters of the training after a cut: the network's own, but for a learning rate
    that goes from a half of its own down to 0 along half a cosine."""
    return replace(config, epochs=epochs, lr=config.lr / 2, schedule="cosine")


def check_prunable(config: TrialConfig, sparsity: object) -> None:
    """Raise InputError unless a network of ``config`` can be pruned that far."""
    check_number("sparsity", sparsity, SPARSITY)
    if config.norm == "group":
        raise InputError("norm", config.norm, "cannot be pruned: a group norm's groups are fixed")


def cut(network: Network, images: LabelledImages, sparsity: float) -> Network:
    """Cut out the least important channels and hidden units until so many of the FLOPs are gone.

    Blocks of eight channels of one layer go one after another, always the block that loses least
    importance for each FLOP that it saves, as Molchanov et al. (2016) weigh it, until at least that
    share is gone. One block of each layer stays. No training follows.

    Args:
        images: training images; the first thousand decide, see ``importances``.

    Raises:
        InputError: as ``prune``.
    """
    check_prunable(network.config, sparsity)
    found = importances(network, images.take(np.arange(min(RANKED_ON, len(images)))))
    order = [scores.argsort(descending=True) for scores in found]
    # Blocks of a layer from its most to its least important one.
    blocks = [s[o].view(-1, BLOCK).sum(1) for s, o in zip(found, order, strict=True)]
    widths = list(network.widths)
    target = (1 - sparsity) * count_flops(network.widths, network.task)
    while (now := count_flops(tuple(widths), network.task)) > target:
        costs = {
            layer: blocks[layer][width // BLOCK - 1].item()
            / (now - _flops_less(widths, layer, network.task))
            for layer, width in enumerate(widths)
            if width > BLOCK
        }
        if not costs:
            raise InputError("sparsity", sparsity, "leaves less than eight channels of each layer")
        widths[min(costs, key=lambda layer: costs[layer])] -= BLOCK
    kept = [o[:width].sort().values for o, width in zip(order, widths, strict=True)]
    return replace(network, weights=_select(network.weights, kept))


def importances(network: Network, images: LabelledImages) -> list[Tensor]:
    """How much the loss depends on each channel of the five convolutions, and each hidden unit.

    The first-order Taylor estimate of Molchanov et al. 2019 ("Importance Estimation for Neural
    Network Pruning", equation 8, with a gate on each channel): the mean over images of the square
    of the loss's derivative by a factor that its output is multiplied with.

    Returns:
        float32 (channels,) for each of the widths, on the CPU.
    """
    runtime = network.runtime
    runtime.apply()
    device = torch.device(runtime.device)
    # Not placed by the runtime: one kernel for all that follows a convolution calls no hook.
    model = network.module().to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    normalize = Normalizer(network.mean, network.std, device)
    totals = [torch.zeros(width) for width in network.widths]
    readers = [*model.convs[1:], model.fc1, model.fc2]  # what reads each width's output
    gates: list[Tensor] = []

    def gate(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        (x,) = inputs
        width = network.widths[len(gates)]
        factor = torch.ones(len(x), width, 1, device=device, requires_grad=True)
        gates.append(factor)
        return (x.reshape(len(x), width, -1) * factor).view(x.shape)

    hooks = [reader.register_forward_pre_hook(gate) for reader in readers]
    for start in range(0, len(images), BATCH):
        gates.clear()
        rows = slice(start, start + BATCH)
        pixels = torch.from_numpy(np.array(images.images[rows])).to(device)
        labels = torch.from_numpy(np.array(images.labels[rows])).to(device)
        loss = F.cross_entropy(model(normalize(pixels)), labels, reduction="sum")
        for total, slope in zip(totals, torch.autograd.grad(loss, gates), strict=True):
            total += slope.squeeze(2).square().sum(0).cpu() / len(images)
    for hook in hooks:
        hook.remove()
    return totals


def _flops_less(widths: list[int], layer: int, task: Task) -> int:
    return count_flops((*widths[:layer], widths[layer] - BLOCK, *widths[layer + 1 :]), task)


def _select(weights: Mapping[str, Tensor], kept: list[Tensor]) -> dict[str, Tensor]:
    """The weights of the channels that stay, and of their connections to each other.

    Args:
        kept: for each width, the places of its channels that stay, ascending.
    """
    small = dict(weights)
    colours = torch.arange(weights["convs.0.weight"].shape[1])
    for index, (inputs, outputs) in enumerate(pairwise([colours, *kept[:-1]])):
        name = f"convs.{index}.weight"
        small[name] = weights[name][outputs][:, inputs].contiguous()
        for other in weights:
            if other == f"convs.{index}.bias" or (
                other.startswith(f"norms.{index}.") and weights[other].ndim
            ):
                small[other] = weights[other][outputs].contiguous()
    # Flattened channel by channel: each owns so many adjacent inputs.
    places, hidden = kept[-2], kept[-1]
    width = weights["convs.4.weight"].shape[0]
    joined = weights["fc1.weight"].unflatten(1, (width, -1))[hidden][:, places]
    small["fc1.weight"] = joined.flatten(1).contiguous()
    small["fc1.bias"] = weights["fc1.bias"][hidden].contiguous()
    small["fc2.weight"] = weights["fc2.weight"][:, hidden].contiguous()
    return small
