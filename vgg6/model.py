"""VGG6: five 3x3 convolutions and two linear layers, without batch norm unless asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vgg6.config import TrialConfig

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
# (input channels, output channels, whether a 2x2 max pooling follows)
LAYOUT = ((3, 64, False), (64, 64, True), (64, 128, False), (128, 128, True), (128, 256, True))
HIDDEN = 512


class VGG6(nn.Module):
    """The study's network, 2.65 million parameters, 0.23 GFLOP an image forward.

    Input: float (B, 3, 32, 32). Output: logits (B, 10). Initialisation draws from torch's global
    generator: seed it first.
    """

    def __init__(self, config: TrialConfig, num_classes: int = 10) -> None:
        super().__init__()
        activation, monotone = ACTIVATIONS[config.activation]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o, _ in LAYOUT)
        self.norms = nn.ModuleList(_norm(config.norm, o) for _, o, _ in LAYOUT)
        self.fc1 = nn.Linear(256 * 4 * 4, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, num_classes)
        self.activation = activation()
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(config.dropout)
        # A function that never decreases gives the same maximum before and after it, so pooling
        # first is exact and leaves a quarter of the values to activate.
        self.pool_first = monotone
        _initialise(self, config)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm, (_, _, pooled) in zip(self.convs, self.norms, LAYOUT, strict=True):
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


def _norm(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(32, channels) if name == "group" else nn.Identity()


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


def parameter_count(config: TrialConfig) -> int:
    """How many numbers training moves."""
    with torch.device("meta"):
        return sum(p.numel() for p in VGG6(config).parameters())
