"""The network as ONNX, with its normalisation inside: uint8 images in, logits out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vgg6.augment import Normalizer
from vgg6.config import TrialConfig
from vgg6.interrupts import held_back
from vgg6.model import VGG6

INPUT, OUTPUT = "images", "logits"


class FromPixels(nn.Module):
    """VGG6 on pixels as they are: uint8 RGB (N, 3, 32, 32) to float32 logits (N, 10).

    Whole pixels of a fixed shape cannot be normalised twice, or not at all, or be given with the
    colours last: onnxruntime refuses another type or shape.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: VGG6, normalize: Normalizer) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("scale", normalize.scale)
        self.register_buffer("shift", normalize.shift)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(torch.addcmul(self.shift, images.float(), self.scale))
        return logits


def onnx_bytes(config: TrialConfig, weights: Mapping[str, Tensor], data: dict[str, Any]) -> bytes:
    """The network in fp32 as one ONNX file, for any number of images at once.

    Args:
        data: what ``data_facts`` recorded; its mean and std go into the graph, its classes and the
            configuration's label into the file's metadata.
    """
    normalize = Normalizer(data["mean"], data["std"], torch.device("cpu"))
    model = VGG6(config)
    model.load_state_dict(weights)
    pixels = FromPixels(model, normalize).eval()
    with held_back():
        program = torch.onnx.export(
            pixels,
            (torch.zeros(2, 3, 32, 32, dtype=torch.uint8),),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    # The exporter notes which source line made each node, with the folders of this machine.
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input,
                 *proto.graph.output, *proto.graph.initializer, *proto.functions):  # fmt: skip
        part.ClearField("metadata_props")
    del proto.metadata_props[:]
    facts = {"label": config.label, "classes": json.dumps(data["classes"]), "input": "uint8 RGB"}
    for key, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = proto.SerializeToString()
    return content
