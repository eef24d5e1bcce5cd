"""What follows a convolution on a GPU as one kernel: bias, activation, 2x2 max pooling."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from vgg6.fused import triton_kernels

# Values of the result that a program makes at a time, and how often. With more of them it would
# need so many registers that fewer programs run at once.
TILE, POOLED_TILE, TURNS = 2048, 1024, 2
WIDEST = 256  # channels of a tile


def bias_activation_pool(
    x: Tensor, bias: Tensor, activation: str, monotone: bool, pooled: bool
) -> Tensor:
    """``pool(activation(x + bias))``, or without the pooling.

    Args:
        x: (B, C, H, W), bfloat16 or float32; H and W are even where ``pooled``.
        bias: float32 (C,).
        activation: a name of ``vgg6.config.ACTIVATIONS``.
        monotone: whether it never decreases.
        pooled: by the maximum of 2x2 pixels.

    Returns:
        (B, C, H, W) or (B, C, H/2, W/2), channels-last, of the type of ``x``.
    """
    result: Tensor = _BiasActivationPool.apply(x, bias, activation, monotone, pooled)  # type: ignore[no-untyped-call]
    return result


class _BiasActivationPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor, activation: str, monotone: bool, pooled: bool
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        b, c, h, w = x.shape
        shape = (b, c, h // 2, w // 2) if pooled else (b, c, h, w)
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        ctx.save_for_backward(x, bias)
        ctx.pixels = y.numel() // c
        ctx.constants = _constants(c, w, activation, monotone, pooled)
        grid = _grid(ctx.pixels, ctx.constants)
        triton_kernels.forward[grid](x, bias, y, ctx.pixels, **ctx.constants)
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, bias = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        grid = _grid(ctx.pixels, ctx.constants)
        dx = torch.empty_like(x)
        sums = torch.empty(grid[0], len(bias), dtype=torch.float32, device=x.device)
        triton_kernels.backward[grid](x, bias, dy, dx, sums, ctx.pixels, **ctx.constants)
        return dx, sums.sum(0).to(bias.dtype), None, None, None


def _constants(
    channels: int, width: int, activation: str, monotone: bool, pooled: bool
) -> dict[str, Any]:
    """What the kernels are compiled for."""
    columns = min(triton.next_power_of_2(channels), WIDEST)
    rows = (POOLED_TILE if pooled else TILE) // columns
    return {
        "C": channels, "W": width, "POOLED": pooled, "MONOTONE": monotone,
        "ACTIVATION": activation, "CHUNK": rows * TURNS, "ROWS": rows, "COLUMNS": columns,
    }  # fmt: skip


def _grid(pixels: int, constants: dict[str, Any]) -> tuple[int, int]:
    return (
        triton.cdiv(pixels, constants["CHUNK"]),
        triton.cdiv(constants["C"], constants["COLUMNS"]),
    )
