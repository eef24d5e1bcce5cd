"""load_model.py of a package: the network in plain PyTorch, written out for one configuration."""

from __future__ import annotations

from string import Template

import torch

from vgg6.architecture import Widths, layout
from vgg6.augment import Normalizer
from vgg6.config import TrialConfig
from vgg6.data import ImageFacts
from vgg6.model import ACTIVATIONS

NORM_CODE = {
    "none": "nn.Identity()",
    "batch": "nn.BatchNorm2d(channels)",
    "group": "nn.GroupNorm(math.gcd(32, channels), channels)",
}
TEMPLATE = Template('''\
"""$label: the network and its weights, with nothing but torch and safetensors.

    import load_model                         # this file, beside weights.safetensors
    names = load_model.classify(images)       # images: uint8 RGB tensor (N, 3, $side, $side)
"""

${imports}from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

CLASSES = $classes
# A pixel p of 0 to 255 becomes p * SCALE + SHIFT, which is (p / 255 - mean) / std.
SCALE = torch.tensor($scale).view(1, 3, 1, 1)
SHIFT = torch.tensor($shift).view(1, 3, 1, 1)
# Input channels, output channels, whether a 2x2 max pooling follows.
LAYOUT = $layout


def norm(channels):
    return $norm


class VGG6(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o, _ in LAYOUT)
        self.norms = nn.ModuleList(norm(o) for _, o, _ in LAYOUT)
        self.activation = nn.$activation()
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear($last * $edge * $edge, $hidden)
        self.dropout = nn.Dropout($dropout)
        self.fc2 = nn.Linear($hidden, len(CLASSES))

    def forward(self, images):
        """Logits, float32 (N, $count), of uint8 RGB images (N, 3, $side, $side)."""
        if images.dtype != torch.uint8 or images.shape[1:] != (3, $side, $side):
            raise ValueError("images must be uint8 RGB of shape (N, 3, $side, $side)")
        images = images.contiguous(memory_format=torch.channels_last)
        x = torch.addcmul(SHIFT.to(images.device), images.float(), SCALE.to(images.device))
        for conv, norm, (_, _, pooled) in zip(self.convs, self.norms, LAYOUT):
            x = self.activation(norm(conv(x)))
            x = self.pool(x) if pooled else x
        x = self.dropout(self.activation(self.fc1(x.flatten(1))))
        return self.fc2(x)


def load(file=Path(__file__).resolve().parent / "weights.safetensors"):
    """The trained network, ready to classify."""
    model = VGG6()
    model.load_state_dict(load_file(file))
    return model.to(memory_format=torch.channels_last).eval()


@torch.inference_mode()
def classify(images, model=None):
    """The class name of each of uint8 RGB images (N, 3, $side, $side)."""
    logits = (model or load())(images)
    return [CLASSES[i] for i in logits.argmax(1).tolist()]


if __name__ == "__main__":
    print("put your images here; four grey ones are taken for:")
    print(classify(torch.full((4, 3, $side, $side), 128, dtype=torch.uint8)))
''')


ONNX_TEMPLATE = Template('''\
"""$label: the network in model.onnx, with nothing but onnxruntime and numpy.

    import load_model                         # this file, beside model.onnx
    names = load_model.classify(images)       # images: uint8 RGB array (N, 3, $side, $side)
"""

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import, or it notes this device
import numpy
import onnxruntime

CLASSES = $classes


def load(file=Path(__file__).resolve().parent / "model.onnx"):
    """The trained network, ready to classify."""
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def classify(images, model=None):
    """The class name of each of uint8 RGB images (N, 3, $side, $side)."""
    (logits,) = (model or load()).run(None, {"images": images})
    return [CLASSES[i] for i in logits.argmax(1)]


if __name__ == "__main__":
    print("put your images here; four grey ones are taken for:")
    print(classify(numpy.full((4, 3, $side, $side), 128, dtype=numpy.uint8)))
''')


def torch_loader(config: TrialConfig, data: ImageFacts, widths: Widths) -> str:
    """The text of ``load_model.py``: its logits in fp32 are VGG6's to the last bit. (VGG6
    pools before an activation that never decreases, which gives the same numbers faster.)

    Args:
        data: mean, std and classes are written into the file.
        widths: of the network.
    """
    norm = NORM_CODE[config.norm]
    normalize = Normalizer(data.mean, data.std, torch.device("cpu"))
    activation, _ = ACTIVATIONS[config.activation]
    return TEMPLATE.substitute(
        label=config.label,
        classes=repr(data.classes),
        count=len(data.classes),
        # A float32 as the float64 that it is: torch.tensor() then gives the same float32 again.
        scale=repr(normalize.scale.flatten().tolist()),
        shift=repr(normalize.shift.flatten().tolist()),
        layout=repr(layout(widths)),
        norm=norm,
        imports="import math\n" if "math." in norm else "",
        activation=type(activation()).__name__,
        side=data.image_size,
        last=widths[-2],
        edge=data.image_size // 8,
        hidden=widths[-1],
        dropout=repr(config.dropout),
    )


def onnx_loader(config: TrialConfig, data: ImageFacts) -> str:
    """The text of ``load_model.py`` where the network is in ``model.onnx`` alone."""
    return ONNX_TEMPLATE.substitute(
        label=config.label, classes=repr(data.classes), side=data.image_size
    )
