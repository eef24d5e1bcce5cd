"""VGG6's layers as numbers: how wide they are, how many parameters and operations that makes.

Nothing heavy is imported here: a command that only reads a search starts without torch.
"""

from __future__ import annotations

from vgg6.config import TrialConfig
from vgg6.task import STUDY, Task

# (input channels, output channels, whether a 2x2 max pooling follows)
LAYOUT = ((3, 64, False), (64, 64, True), (64, 128, False), (128, 128, True), (128, 256, True))
HIDDEN = 512
# How wide a network is: channels after each convolution, then hidden units.
Widths = tuple[int, ...]
WIDTHS: Widths = (*(outputs for _, outputs, _ in LAYOUT), HIDDEN)  # the study's
BLOCK = 8  # kernels take channels in blocks of so many: a width between two of them saves nothing


def scaled_widths(width: float) -> Widths:
    """How wide the network of this ``width`` is: the study's widths times it, each rounded to a
    multiple of ``BLOCK``."""
    return tuple(max(BLOCK, BLOCK * round(units * width / BLOCK)) for units in WIDTHS)


def layout(widths: Widths) -> tuple[tuple[int, int, bool], ...]:
    """``LAYOUT`` of a network of these widths."""
    inputs = (LAYOUT[0][0], *widths)
    return tuple((inputs[i], widths[i], pooled) for i, (_, _, pooled) in enumerate(LAYOUT))


def count_parameters(config: TrialConfig, widths: Widths | None = None, task: Task = STUDY) -> int:
    """How many numbers the network of ``config`` learns: weights and biases, and a scale and a
    shift for each normalised channel.

    Args:
        widths: of a network that was pruned; by default those of ``config.width``.
    """
    widths = widths or scaled_widths(config.width)
    normalised = 0 if config.norm == "none" else 2
    convolutions = sum(i * o * 9 + o + normalised * o for i, o, _ in layout(widths))
    hidden = widths[-2] * task.cells * widths[-1] + widths[-1]
    return convolutions + hidden + (widths[-1] + 1) * task.classes


def count_flops(widths: Widths = WIDTHS, task: Task = STUDY) -> int:
    """Floating-point operations of one image forward: two for each multiplication and addition of
    the convolutions and linear layers, nothing for biases, activations, norms and pooling."""
    products, area = 0, task.side**2
    for inputs, outputs, pooled in layout(widths):
        products += inputs * outputs * 9 * area
        area //= 4 if pooled else 1
    return 2 * (products + area * widths[-2] * widths[-1] + widths[-1] * task.classes)
