"""What it costs to train a configuration, whatever the machine and however busy it is."""

from __future__ import annotations

from vgg6.architecture import count_flops, scaled_widths
from vgg6.config import TrialConfig
from vgg6.sharpness import is_sharpened
from vgg6.task import STUDY, Task

PASSES = 3  # backward takes twice the operations of forward


def training_flops(config: TrialConfig, images: int, task: Task = STUDY) -> float:
    """Floating-point operations of a run of full length on so many training images.

    An epoch with sharpness-aware minimisation computes each gradient twice.
    """
    epochs = range(1, config.epochs + 1)
    gradients = sum(2 if is_sharpened(config, epoch) else 1 for epoch in epochs)
    flops = count_flops(scaled_widths(config.width), task)
    return float(PASSES * flops * images * gradients)
