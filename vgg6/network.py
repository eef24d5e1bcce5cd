"""A trained network as a function of images: what training gives, and compression takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vgg6.architecture import Widths
from vgg6.augment import Normalizer
from vgg6.config import TrialConfig
from vgg6.data import Array
from vgg6.hardware.runtime import Runtime
from vgg6.model import VGG6, task_of, widths_of, with_weights
from vgg6.task import Task


@dataclass(frozen=True)
class Network:
    """VGG6 with its weights and its normalisation, which calls as a function of images do.

    ``weights``: VGG6's state on the CPU, pruned or not; ``mean`` and ``std``: of the three colours,
    as shares of 255; ``runtime``: where and in what arithmetic it is called.
    """

    config: TrialConfig
    weights: Mapping[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    runtime: Runtime

    @property
    def widths(self) -> Widths:
        return widths_of(self.weights)

    @property
    def task(self) -> Task:
        return task_of(self.weights)

    def module(self) -> VGG6:
        """A new VGG6 with these weights, on the CPU."""
        return with_weights(self.config, self.weights)

    @torch.inference_mode()
    def __call__(self, images: Array) -> Array:
        """Logits, float32 (N, C), of uint8 RGB images (N, S, S, 3), all as one batch."""
        self.runtime.apply()
        model, normalize = self._ready
        # A copy: the decoded cache is a read-only memory map, and torch wants to own what it reads.
        pixels = torch.from_numpy(np.array(images)).to(self.runtime.device)
        with self.runtime.autocast():
            logits = model(normalize(pixels)).float()
        return np.asarray(logits.cpu().numpy())

    @cached_property
    def _ready(self) -> tuple[VGG6, Normalizer]:
        device = torch.device(self.runtime.device)
        model = self.runtime.place(self.module())
        return model.eval(), Normalizer(self.mean, self.std, device)
