"""Triton kernels for what follows a convolution: bias, activation, 2x2 max pooling.

Each value is read once and written once. PyTorch's own kernels do so once for each of the three,
and once more for the sum that is the bias's gradient. Importing this needs Triton, which comes with
PyTorch for CUDA.

A tensor of shape (B, C, H, W) in channels-last order is C values for each pixel, one after the
other. A program takes ``CHUNK`` pixels of the result, ``ROWS`` at a time, and ``COLUMNS`` channels.
Arithmetic is in float32, whatever is stored.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import triton
import triton.language as tl


@triton.jit
def _activate(x, ACTIVATION: tl.constexpr):
    """The activation of x. A NaN stays one, as in PyTorch: a run must learn that it diverged."""
    if ACTIVATION == "relu":
        y = tl.where(x <= 0, 0.0, x)
    elif ACTIVATION == "leaky_relu":
        y = tl.where(x > 0, x, 0.01 * x)
    elif ACTIVATION == "sigmoid":
        y = tl.sigmoid(x)
    elif ACTIVATION == "tanh":
        y = 2 * tl.sigmoid(2 * x) - 1
    elif ACTIVATION == "elu":
        y = tl.where(x > 0, x, tl.exp(x) - 1)
    elif ACTIVATION == "silu":
        y = x * tl.sigmoid(x)
    elif ACTIVATION == "gelu":
        y = 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    else:
        tl.static_assert(ACTIVATION == "mish")
        y = x * _tanh_softplus(x)
    return y


@triton.jit
def _derivative(x, ACTIVATION: tl.constexpr):
    """The derivative of ``_activate`` at x."""
    if ACTIVATION == "relu":
        d = tl.where(x > 0, 1.0, 0.0)
    elif ACTIVATION == "leaky_relu":
        d = tl.where(x > 0, 1.0, 0.01)
    elif ACTIVATION == "sigmoid":
        s = tl.sigmoid(x)
        d = s * (1 - s)
    elif ACTIVATION == "tanh":
        s = 2 * tl.sigmoid(2 * x) - 1
        d = 1 - s * s
    elif ACTIVATION == "elu":
        d = tl.where(x > 0, 1.0, tl.exp(x))
    elif ACTIVATION == "silu":
        s = tl.sigmoid(x)
        d = s * (1 + x * (1 - s))
    elif ACTIVATION == "gelu":
        below = 0.5 * (1 + tl.erf(x * 0.7071067811865476))
        d = below + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)
    else:
        tl.static_assert(ACTIVATION == "mish")
        t = _tanh_softplus(x)
        d = t + x * (1 - t * t) * tl.sigmoid(x)
    return d


@triton.jit
def _tanh_softplus(x):
    """tanh(log(1 + e^x)), which is 1 in float32 long before x = 20."""
    e = tl.exp(tl.minimum(x, 20.0))
    n = e * (e + 2)
    return n / (n + 2)


@triton.jit
def _maximum(a, b):
    """NaN where one of them is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _largest(a, b, c, d):
    return _maximum(_maximum(a, b), _maximum(c, d))


@triton.jit
def _one(at, bias, inside):
    """A pixel's values with their biases."""
    return tl.load(at, mask=inside, other=0.0).to(tl.float32) + bias


@triton.jit
def _four(at, bias, inside, C: tl.constexpr, W: tl.constexpr):
    """``_one`` of 2x2 pixels, of which ``at`` is the upper left one."""
    below = at + W * C
    return (
        _one(at, bias, inside), _one(at + C, bias, inside),
        _one(below, bias, inside), _one(below + C, bias, inside),
    )  # fmt: skip


@triton.jit
def _corner(p, W: tl.constexpr):
    """The upper left one of the four pixels that pixel p of the result is the maximum of."""
    return p // (W // 2) * (2 * W) + p % (W // 2) * 2


@triton.jit
def forward(
    x, bias, y, pixels,
    C: tl.constexpr, W: tl.constexpr, POOLED: tl.constexpr, MONOTONE: tl.constexpr,
    ACTIVATION: tl.constexpr, CHUNK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """y = activation(x + bias), or its maximum over 2x2 pixels.

    Args:
        pixels: of y. W: the width of x. MONOTONE: the activation never decreases, so that the
            largest x has the largest activation.
    """
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    b = tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)
    for first in range(0, CHUNK, ROWS):
        p = tl.program_id(0).to(tl.int64) * CHUNK + first + tl.arange(0, ROWS)[:, None]
        inside = (p < pixels) & (c < C)
        if POOLED:
            at = x + _corner(p, W) * C + c
            v0, v1, v2, v3 = _four(at, b, inside, C, W)
            if MONOTONE:
                value = _activate(_largest(v0, v1, v2, v3), ACTIVATION)
            else:
                value = _largest(
                    _activate(v0, ACTIVATION), _activate(v1, ACTIVATION),
                    _activate(v2, ACTIVATION), _activate(v3, ACTIVATION),
                )  # fmt: skip
        else:
            value = _activate(_one(x + p * C + c, b, inside), ACTIVATION)
        tl.store(y + p * C + c, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def backward(
    x, bias, dy, dx, sums, pixels,
    C: tl.constexpr, W: tl.constexpr, POOLED: tl.constexpr, MONOTONE: tl.constexpr,
    ACTIVATION: tl.constexpr, CHUNK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The gradient of x, and each program's part of the bias's, which is the sum of it over pixels.

    No program adds to what another one does: so the sums have the same bits each time. Which of
    four pixels was the maximum is found again: to keep it would be one more thing to read.

    Args:
        dy: the gradient of y. sums: float32 (programs, C).
    """
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    b = tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, CHUNK, ROWS):
        p = tl.program_id(0).to(tl.int64) * CHUNK + first + tl.arange(0, ROWS)[:, None]
        inside = (p < pixels) & (c < C)
        slope = tl.load(dy + p * C + c, mask=inside, other=0.0).to(tl.float32)
        kind = dx.dtype.element_ty
        if POOLED:
            offset = _corner(p, W) * C + c
            v0, v1, v2, v3 = _four(x + offset, b, inside, C, W)
            if MONOTONE:
                k0, k1, k2, k3 = v0, v1, v2, v3
            else:
                k0, k1 = _activate(v0, ACTIVATION), _activate(v1, ACTIVATION)
                k2, k3 = _activate(v2, ACTIVATION), _activate(v3, ACTIVATION)
            most = _largest(k0, k1, k2, k3)
            # Of equals the first one has it all, as in PyTorch.
            is0 = k0 == most
            is1 = (k1 == most) & ~is0
            is2 = (k2 == most) & ~is0 & ~is1
            largest = tl.where(is0, v0, tl.where(is1, v1, tl.where(is2, v2, v3)))
            slope *= _derivative(largest, ACTIVATION)
            is3 = ~is0 & ~is1 & ~is2
            tl.store(dx + offset, tl.where(is0, slope, 0.0).to(kind), mask=inside)
            tl.store(dx + offset + C, tl.where(is1, slope, 0.0).to(kind), mask=inside)
            tl.store(dx + offset + W * C, tl.where(is2, slope, 0.0).to(kind), mask=inside)
            tl.store(dx + offset + W * C + C, tl.where(is3, slope, 0.0).to(kind), mask=inside)
        else:
            slope *= _derivative(_one(x + p * C + c, b, inside), ACTIVATION)
            tl.store(dx + p * C + c, slope.to(kind), mask=inside)
        # A pixel outside has a gradient of 0, but a slope that may be NaN times 0 is not.
        total += tl.where(inside, slope, 0.0)
    into = sums + tl.program_id(0) * C + c
    tl.store(into, tl.sum(total, axis=0, keep_dims=True), mask=c < C)
