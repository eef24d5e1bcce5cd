"""Networks that nobody has trained, and the digits that they are shown."""

from __future__ import annotations

from typing import Any

import torch

from vgg6.config import TrialConfig
from vgg6.data import load_digits, split
from vgg6.hardware.runtime import Runtime
from vgg6.model import VGG6
from vgg6.network import Network

SOURCE = load_digits()
DATA = split(SOURCE, limit_train=100)
FP32 = Runtime(device="cpu", precision="fp32", threads=1)


def network(**hyperparameters: Any) -> Network:
    """A network that has seen some images, so that its batch norms have statistics of their own."""
    torch.manual_seed(0)
    config = TrialConfig(init="kaiming", **hyperparameters)
    model = VGG6(config)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 32, 32) * 2 + 1)
    return Network(config, dict(model.state_dict()), DATA.mean, DATA.std, FP32)
