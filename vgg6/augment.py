"""Batched random crop and flip, seeded by (seed, epoch), as a few array operations a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

PAD = 4


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed for one purpose in one epoch, so that a resumed run draws the same numbers."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def epoch_batches(
    images: Tensor, labels: Tensor, batch_size: int, *, seed: int, epoch: int, flip: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented batches; the last one may be smaller.

    Args:
        images: uint8 (N, 32, 32, 3) on any device. labels: int64 (N,) on the same device.

    Yields:
        uint8 images (B, 32, 32, 3) and labels (B,).
    """
    n = len(labels)
    # Drawn on the host for the whole epoch and sent over at once: the same numbers on every
    # device, and no synchronisation inside the epoch.
    draw = torch.Generator().manual_seed(derive_seed(seed, epoch, "augment"))
    order = torch.randperm(n, generator=draw)
    shifts = torch.randint(0, 2 * PAD + 1, (2, n), generator=draw)
    mirror = torch.randint(0, 2, (n,), generator=draw).bool() & flip
    order, shifts, mirror = (
        t.to(images.device, non_blocking=True) for t in (order, shifts, mirror)
    )
    for start in range(0, n, batch_size):
        rows = slice(start, start + batch_size)
        batch = crop_flip(images[order[rows]], shifts[0, rows], shifts[1, rows], mirror[rows])
        yield batch, labels[order[rows]]


def crop_flip(images: Tensor, top: Tensor, left: Tensor, mirror: Tensor) -> Tensor:
    """A 32x32 crop from 4-pixel zero padding at (top, left), then a mirror image where asked.

    Args:
        images: uint8 (B, H, W, C). top, left: int64 (B,) in 0 to 8. mirror: bool (B,).
    """
    b, h, w, c = images.shape
    padded = F.pad(images, (0, 0, PAD, PAD, PAD, PAD))
    s = padded.stride()
    # Every possible crop as a view of the padded batch; the indexing then copies one of each.
    windows = padded.as_strided(
        (b, 2 * PAD + 1, 2 * PAD + 1, h, w, c), (s[0], s[1], s[2], s[1], s[2], s[3])
    )
    crops = windows[torch.arange(b, device=images.device), top, left]
    return torch.where(mirror[:, None, None, None], crops.flip(2), crops)


class Normalizer:
    """Turns uint8 (B, 32, 32, 3) into the network's input: float (B, 3, 32, 32), channels last."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
    ) -> None:
        shape = (1, len(mean), 1, 1)
        self.scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(shape)
        self.shift = torch.tensor(
            [-m / s for m, s in zip(mean, std, strict=True)], device=device
        ).view(shape)

    def __call__(self, images: Tensor) -> Tensor:
        # NHWC memory seen as NCHW is already the channels-last layout: nothing is moved.
        return torch.addcmul(self.shift, images.permute(0, 3, 1, 2).float(), self.scale)
