"""load_model.py of a package: the network in plain PyTorch, written out for one configuration."""

from __future__ import annotations

from pathlib import Path
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
TEMPLATES = Path(__file__).parent / "templates"


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
    return _template("load_model_torch.txt").substitute(
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
    return _template("load_model_onnx.txt").substitute(
        label=config.label, classes=repr(data.classes), side=data.image_size
    )


def _template(name: str) -> Template:
    return Template((TEMPLATES / name).read_text(encoding="utf-8"))
