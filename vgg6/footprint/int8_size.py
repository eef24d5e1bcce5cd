"""How large a network is as an int8 ONNX file, before it is trained: computed, never below the
file itself."""

from __future__ import annotations

import json
from functools import cache

from vgg6.architecture import layout, scaled_widths
from vgg6.config import TrialConfig
from vgg6.run_record import ImageFacts
from vgg6.task import Task

# Bytes that a file has besides its weights: of its nodes, their names and the scales of what flows
# between them. They are those of the narrowest network, 10 classes, and what longer numbers take.
GRAPH = {
    "relu": 15_350, "gelu": 23_088, "elu": 18_569, "tanh": 18_558, "sigmoid": 19_485,
    "leaky_relu": 19_804, "silu": 24_631, "mish": 25_451,
}  # fmt: skip
GROUP_NORM = 29_600
ROOM = 600
# An int8 weight has one byte. Each output channel has a bias, the scales of both and their zero
# points; a channel of a group norm its own factor and shift.
OF_CHANNEL, OF_GROUPED = 4 + 4 + 1 + 4 + 4, 3


def int8_bytes(config: TrialConfig, images: ImageFacts) -> int:
    """The size of the network of ``config`` as an int8 ONNX file, at most 2.5 kB above the one that
    ``vgg6.onnx_export.quantization.quantize`` makes.

    Args:
        images: the names of their classes are in the file.
    """
    return _int8_bytes(config.activation, config.norm, config.width, images.classes, images.task)


@cache
def _int8_bytes(
    activation: str, norm: str, width: float, classes: tuple[str, ...], task: Task
) -> int:
    widths = scaled_widths(width)
    convs = sum(widths[:-1])  # output channels of all convolutions
    hidden = widths[-2] * task.cells * widths[-1]
    weights = sum(i * o * 9 for i, o, _ in layout(widths)) + hidden + widths[-1] * task.classes
    channels = convs + widths[-1] + task.classes
    found = GRAPH[activation] + ROOM + weights + OF_CHANNEL * channels + len(json.dumps(classes))
    if norm == "group":
        found += GROUP_NORM + OF_GROUPED * convs
    return found
