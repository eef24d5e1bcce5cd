"""VGG6: five 3x3 convolutions and two linear layers, without batch norm unless asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from vgg6.architecture import LAYOUT, Widths, layout, scaled_widths
from vgg6.config import TrialConfig
from vgg6.task import STUDY, Task

# name: (module, whether it never decreases)
ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "relu": (nn.ReLU, True),
    "sigmoid": (nn.Sigmoid, True),
    "tanh": (nn.Tanh, True),
    "silu": (nn.SiLU, False),
    "gelu": (nn.GELU, False),
    "leaky_relu": (nn.LeakyReLU, True),
    "elu": (nn.ELU, True),
    "mish": (nn.Mish, False),
}
GROUPS = 32  # of a group norm, if they divide the channels


class VGG6(nn.Module):
    """The study's network, 2.66 million parameters, 0.23 GFLOP an image forward at width 1.

    Input: float (B, 3, S, S). Output: logits (B, C). Initialisation draws from torch's global
    generator: seed it first.

    Args:
        task: the number of classes C and the side S; the study's, 10 and 32, by default.
        widths: of a network that was pruned; by default those of ``config.width``.
    """

    def __init__(
        self, config: TrialConfig, task: Task = STUDY, *, widths: Widths | None = None
    ) -> None:
        super().__init__()
        widths = widths or scaled_widths(config.width)
        activation, monotone = ACTIVATIONS[config.activation]
        layers = layout(widths)
        self.config = config
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o, _ in layers)
        self.norms = nn.ModuleList(_norm(config.norm, o) for _, o, _ in layers)
        self.fc1 = nn.Linear(widths[-2] * task.cells, widths[-1])
        self.fc2 = nn.Linear(widths[-1], task.classes)
        self.activation = activation()
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(config.dropout)
        # A function that never decreases gives the same maximum before and after it, so pooling
        # first is exact and leaves a quarter of the values to activate.
        self.pool_first = monotone
        self.fused: Callable[..., Tensor] | None = None
        _initialise(self, config)

    def fuse(self) -> None:
        """Compute bias, activation and pooling of a convolution as one kernel, where no
        normalisation comes between them. This needs a GPU, and Triton."""
        from vgg6.fused.bias_activation_pool import bias_activation_pool

        if self.config.norm == "none":
            name, monotone = self.config.activation, self.pool_first
            self.fused = partial(bias_activation_pool, activation=name, monotone=monotone)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm, (_, _, pooled) in zip(self.convs, self.norms, LAYOUT, strict=True):
            if self.fused is not None:
                assert isinstance(conv, nn.Conv2d)
                x = self.fused(F.conv2d(x, conv.weight, padding=1), conv.bias, pooled=pooled)
                continue
            x = norm(conv(x))
            if pooled and self.pool_first:
                x = self.activation(self.pool(x))
            elif pooled:
                x = self.pool(self.activation(x))
            else:
                x = self.activation(x)
        # NCHW order, whatever the memory layout: weights mean the same on every device.
        x = self.dropout(self.activation(self.fc1(x.flatten(1))))
        return self.fc2(x)


def widths_of(weights: Mapping[str, Tensor]) -> Widths:
    """How wide the network is that these are the weights of, by the names of VGG6's state."""
    names = (*(f"convs.{i}.weight" for i in range(len(LAYOUT))), "fc1.weight")
    return tuple(weights[name].shape[0] for name in names)


def task_of(weights: Mapping[str, Tensor]) -> Task:
    """The task of the network that these are the weights of."""
    cells = weights["fc1.weight"].shape[1] // widths_of(weights)[-2]
    return Task(classes=weights["fc2.weight"].shape[0], side=8 * math.isqrt(cells))


def with_weights(config: TrialConfig, weights: Mapping[str, Tensor]) -> VGG6:
    """A new VGG6 with these weights, as wide as they are, on the CPU."""
    model = VGG6(config, task_of(weights), widths=widths_of(weights))
    model.load_state_dict(weights)
    return model


def _norm(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels) if name == "group" else nn.Identity()


def _initialise(model: nn.Module, config: TrialConfig) -> None:
    """Apply ``config.init``; ``torch`` keeps PyTorch's default, which the study used."""
    if config.init == "torch":
        return
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            if config.init == "kaiming":
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
