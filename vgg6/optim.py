"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from vgg6.config import TrialConfig


def _adagrad(parameters: list[nn.Parameter], **options: Any) -> Optimizer:
    """Fused on the CPU alone: PyTorch has no such kernel for CUDA."""
    on_cpu = parameters[0].device.type == "cpu"
    return torch.optim.Adagrad(parameters, fused=on_cpu, foreach=not on_cpu, **options)


_FUSED: dict[str, Any] = {"fused": True}  # one kernel for all parameters, on the CPU as on a GPU
_BUILDERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": partial(torch.optim.SGD, **_FUSED),
    "nesterov": partial(torch.optim.SGD, nesterov=True, **_FUSED),
    "adam": partial(torch.optim.Adam, **_FUSED),
    "adamw": partial(torch.optim.AdamW, **_FUSED),
    "nadam": partial(torch.optim.NAdam, foreach=True),
    "adagrad": _adagrad,
    "rmsprop": partial(torch.optim.RMSprop, foreach=True),
}


def build_optimizer(parameters: Iterable[nn.Parameter], config: TrialConfig) -> Optimizer:
    """The optimizer that ``config`` names, over ``parameters``, which must be on their device.

    Nesterov's method needs a momentum above 0 and falls back to plain SGD at exactly 0, which is
    the same algorithm there.
    """
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.momentum is not None:
        options["momentum"] = config.momentum
    name = "sgd" if config.optimizer == "nesterov" and not config.momentum else config.optimizer
    return _BUILDERS[name](list(parameters), **options)


def lr_factor(schedule: str, step: int, total_steps: int) -> float:
    """What the peak learning rate is multiplied by at a step (0 to total_steps - 1).

    ``constant``: 1. ``cosine``: from 1 to 0 along half a cosine (Loshchilov and Hutter, 2017,
    without restarts). ``onecycle``: from 1/25 up to 1 over the first 30 % of the steps, then down
    to 1e-4 of the start, both along half a cosine (Smith and Topin, 2018, PyTorch's defaults).
    A function of the step alone: a resumed run needs no scheduler state.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return _anneal(1.0, 0.0, step / total_steps)
    start, end, peak_at = 1 / 25, 1e-4 / 25, 0.3 * total_steps - 1
    if step <= peak_at:
        return _anneal(start, 1.0, step / peak_at)
    return _anneal(1.0, end, (step - peak_at) / (total_steps - 1 - peak_at))


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def _anneal(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
