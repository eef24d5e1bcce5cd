"""Sharpness-aware minimisation: gradients from beside the weights, at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from vgg6.config import TrialConfig
from vgg6.gradients import Gradients

LAST = 3  # the last third of a run's epochs, begun ones whole
_TINY = 1e-12  # a gradient of nothing leads nowhere, and divides by nothing


def is_sharpened(config: TrialConfig, epoch: int) -> bool:
    """Whether an epoch (counted from 1) of a run computes its gradients with ``Sharpened``: those
    of the last third, where there is a radius.

    Which flat place a run ends in is decided late: a few last epochs find one as good as a whole
    run of them (Zhou et al., 2025, "Sharpness-Aware Minimization Efficiently Selects Flatter Minima
    Late In Training"), and cost a third of what that would.
    """
    return config.sam > 0 and epoch > config.epochs - math.ceil(config.epochs / LAST)


class Sharpened:
    """Leaves in the model the gradients of where the loss is about the highest within ``radius`` of
    the weights (SAM: Foret et al., 2021, "Sharpness-Aware Minimization for Efficiently Improving
    Generalization"): a step away along the gradient, gradients there, and back.

    Twice the work of a batch. What is added up for the metrics, and what a normalisation layer
    keeps, are of the weights themselves. Dropout draws anew for the second pass.

    Args:
        compute: leaves a batch's gradients in the model of ``gradients``, which it adds up in.
        radius: Euclidean, over all weights together.
    """

    def __init__(
        self, compute: Callable[[Tensor, Tensor], None], gradients: Gradients, radius: float
    ) -> None:
        self.compute, self.gradients, self.radius = compute, gradients, radius

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Take a batch as ``Gradients`` does."""
        with torch.enable_grad():
            self.compute(images, labels)
        model, found = self.gradients.model, self.gradients
        weights = [p for p in model.parameters() if p.grad is not None]
        slopes = [p.grad for p in weights if p.grad is not None]
        state = [*weights, *model.buffers(), found.totals, found.loss]
        kept = [t.clone() for t in state]
        scale = self.radius / (get_total_norm(slopes) + _TINY)
        for weight, slope in zip(weights, slopes, strict=True):
            weight.addcmul_(slope, scale)
        with torch.enable_grad():
            self.compute(images, labels)
        for tensor, before in zip(state, kept, strict=True):
            tensor.copy_(before)
