"""Batched random crop, flip and cutout, seeded by (seed, epoch): a few array operations a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from vgg6.common.seeds import derive_seed
from vgg6.task import border


def epoch_batches(
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    flip: bool,
    alternate: bool = False,
    cutout: int = 0,
    colour: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented batches; the last one may be smaller.

    Args:
        images: uint8 (N, S, S, 3) on any device. labels: int64 (N,) on the same device.
        flip: whether images are mirrored, by chance.
        alternate: mirrors each image in every second epoch instead, half of them in the even ones:
            two epochs then show both sides of every image (Jordan, 2024, "94% on CIFAR-10 in 3.29
            Seconds on a Single GPU").
        cutout: the side in pixels of a square that is cut out of each image; 0 cuts none.
        colour: uint8 (3,), what a cut-out square is filled with; needed where ``cutout`` is.

    Yields:
        uint8 images (B, S, S, 3) and labels (B,).
    """
    n, pad = len(labels), border(images.shape[1])
    # Drawn on the host for the whole epoch and sent over at once: the same numbers on every
    # device, and no synchronisation inside the epoch.
    draw = torch.Generator().manual_seed(derive_seed(seed, epoch, "augment"))
    order = torch.randperm(n, generator=draw)
    shifts = torch.randint(0, 2 * pad + 1, (2, n), generator=draw)
    mirror = torch.randint(0, 2, (n,), generator=draw)
    if alternate:
        fixed = torch.Generator().manual_seed(derive_seed(seed, 0, "mirror"))
        mirror = (torch.randint(0, 2, (n,), generator=fixed)[order] + epoch) % 2
    mirror = mirror.bool() & flip
    # Drawn last, so that a run without it sees what it saw before there was one.
    centres = torch.randint(0, images.shape[1], (2, n if cutout else 0), generator=draw)
    order, shifts, mirror, centres = (
        t.to(images.device, non_blocking=True) for t in (order, shifts, mirror, centres)
    )
    for start in range(0, n, batch_size):
        rows = slice(start, start + batch_size)
        batch = crop_flip(images[order[rows]], shifts[0, rows], shifts[1, rows], mirror[rows])
        if cutout:
            assert colour is not None, "a square is cut out: say what fills it"
            batch = cut_out(batch, centres[0, rows], centres[1, rows], cutout, colour)
        yield batch, labels[order[rows]]


def crop_flip(images: Tensor, top: Tensor, left: Tensor, mirror: Tensor) -> Tensor:
    """A crop of the same size from zero padding at (top, left), then a mirror image where asked.

    Args:
        images: uint8 (B, H, W, C). top, left: int64 (B,) in 0 to
            twice ``border``. mirror: bool (B,).
    """
    b, h, w, c = images.shape
    pad = border(h)
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))
    s = padded.stride()
    # Every possible crop as a view of the padded batch; the indexing then copies one of each.
    windows = padded.as_strided(
        (b, 2 * pad + 1, 2 * pad + 1, h, w, c), (s[0], s[1], s[2], s[1], s[2], s[3])
    )
    crops = windows[torch.arange(b, device=images.device), top, left]
    return torch.where(mirror[:, None, None, None], crops.flip(2), crops)


def cut_out(images: Tensor, row: Tensor, column: Tensor, side: int, colour: Tensor) -> Tensor:
    """Each image with a square in one colour, of which a part may lie outside of it
    (DeVries and Taylor, 2017, "Improved Regularization of CNNs with Cutout").

    Args:
        images: uint8 (B, H, W, C). row, column: int64 (B,), the middle of each square; one of an
            even side reaches a pixel further up and left. colour: uint8 (C,).
    """
    places = torch.arange(images.shape[1], device=images.device)
    top, left = (middle[:, None] - side // 2 for middle in (row, column))
    down = (places >= top) & (places < top + side)
    across = (places >= left) & (places < left + side)
    return torch.where((down[:, :, None] & across[:, None, :])[..., None], colour, images)


class Normalizer:
    """Turns uint8 (B, S, S, 3) into the network's input: float (B, 3, S, S), channels last."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
    ) -> None:
        # What becomes about 0.
        self.colour = torch.tensor([round(255 * m) for m in mean], dtype=torch.uint8, device=device)
        shape = (1, len(mean), 1, 1)
        self.scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(shape)
        self.shift = torch.tensor(
            [-m / s for m, s in zip(mean, std, strict=True)], device=device
        ).view(shape)

    def __call__(self, images: Tensor) -> Tensor:
        # NHWC memory seen as NCHW is already the channels-last layout: nothing is moved.
        return torch.addcmul(self.shift, images.permute(0, 3, 1, 2).float(), self.scale)
