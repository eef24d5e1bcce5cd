"""Bias, activation and pooling as one kernel, against PyTorch's.

As a program it runs the kernels on a CPU and prints what it found as JSON. They run in Triton's
interpreter, which must be asked for before Triton is imported:
``TRITON_INTERPRET=1 python fused_cases.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vgg6.config import TrialConfig
from vgg6.fused.bias_activation_pool import bias_activation_pool
from vgg6.model import ACTIVATIONS, VGG6

# Pixels that no program's part divides; channels that fill no tile, one, and more than one.
SHAPES = ((3, 24, 8, 8), (2, 64, 6, 10), (1, 320, 4, 4))
LARGE = 3.0  # some values are where activations are flat


def plain(x: Tensor, bias: Tensor, activation: str, pooled: bool) -> Tensor:
    """What the kernel stands for, by PyTorch's modules, in the order of VGG6."""
    make, monotone = ACTIVATIONS[activation]
    x, act = x + bias[:, None, None], make()
    if not pooled:
        return act(x)
    return act(F.max_pool2d(x, 2)) if monotone else F.max_pool2d(act(x), 2)


def difference(
    activation: str, pooled: bool, dtype: torch.dtype, shape: tuple[int, ...], device: str = "cpu"
) -> list[float]:
    """The largest difference of the result, the gradient of x and that of the bias, each as a part
    of the largest value, from float64 on the same inputs."""
    draw = torch.Generator().manual_seed(0)
    x = (LARGE * torch.randn(shape, generator=draw)).to(dtype).to(device)
    x = x.to(memory_format=torch.channels_last)
    bias = torch.randn(shape[1], generator=draw).to(device)
    inputs = (x.requires_grad_(), bias.requires_grad_())
    exact = tuple(t.detach().double().requires_grad_() for t in inputs)
    ours = bias_activation_pool(*inputs, activation, ACTIVATIONS[activation][1], pooled)
    theirs = plain(*exact, activation, pooled)
    slope = torch.randn(theirs.shape, generator=draw).to(dtype).to(device)
    found = (ours, *torch.autograd.grad(ours, inputs, slope))
    expected = (theirs, *torch.autograd.grad(theirs, exact, slope.double()))
    assert found[0].dtype == found[1].dtype == dtype and found[2].dtype == torch.float32
    return [relative(a, b) for a, b in zip(found, expected, strict=True)]


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the largest value that is expected."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max())


def ties_differ(activation: str) -> int:
    """How many values of the gradient of x are not PyTorch's, where many pixels are equal."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (3, 24, 8, 8), generator=draw).float().requires_grad_()
    bias = torch.zeros(24)
    slope = torch.ones(3, 24, 4, 4)
    ours = bias_activation_pool(x, bias, activation, ACTIVATIONS[activation][1], True)
    gradients = [
        torch.autograd.grad(y, x, slope)[0] for y in (ours, plain(x, bias, activation, True))
    ]
    return int(((gradients[0] - gradients[1]).abs() > 1e-6).sum())


def nans_kept(activation: str, pooled: bool) -> bool:
    """Whether the result is NaN where PyTorch's is, and nowhere else."""
    x = torch.zeros(2, 8, 4, 4)
    x[0, 0, 1, 1] = x[1, 3, 2, 0] = torch.nan
    x[1, 5, 3, 3] = 1e30
    ours = bias_activation_pool(x, torch.ones(8), activation, ACTIVATIONS[activation][1], pooled)
    theirs = plain(x, torch.ones(8), activation, pooled)
    return bool((ours.isnan() == theirs.isnan()).all() and ours.isnan().sum() >= 2)


def networks_differ(activation: str, norm: str) -> float:
    """The largest difference of any gradient of a whole network, as a part of its largest value."""
    config = TrialConfig(activation=activation, norm=norm, width=0.125, dropout=0.0)
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.randn(4, 3, 32, 32, generator=draw), torch.arange(4)
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = VGG6(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if fused:
            model.fuse()
        loss = F.cross_entropy(model(images), labels)
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    return max(relative(a, b) for a, b in zip(*found, strict=True))


def all_found() -> Iterator[tuple[str, Any]]:
    for activation in ACTIVATIONS:
        for pooled in (False, True):
            for dtype in (torch.float32, torch.bfloat16):
                found = [difference(activation, pooled, dtype, shape) for shape in SHAPES]
                yield f"{activation} {pooled} {dtype}", found
            yield f"{activation} {pooled} NaN", nans_kept(activation, pooled)
        yield f"{activation} ties", ties_differ(activation)
        yield f"{activation} network", networks_differ(activation, "none")
    yield "with a norm", networks_differ("gelu", "batch")


if __name__ == "__main__":
    print(json.dumps(dict(all_found())))
