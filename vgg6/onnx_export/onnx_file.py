"""The network as ONNX with its normalisation inside, uint8 images in, logits out; and run."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from vgg6.augment import Normalizer
from vgg6.common.interrupts import held_back
from vgg6.common.machine import usable_cpus
from vgg6.config import TrialConfig
from vgg6.data import Array, ImageFacts
from vgg6.model import VGG6, task_of, with_weights
from vgg6.onnx_export.onnx_versions import LOWEST
from vgg6.task import STUDY, Task

INPUT, OUTPUT = "images", "logits"
OWN_DOMAINS = ("", "ai.onnx")
DOMAINS = (*OWN_DOMAINS, "com.microsoft")  # of the operators that onnxruntime comes with


class FromPixels(nn.Module):
    """VGG6 on pixels as they are: uint8 RGB (N, 3, S, S) to float32 logits (N, C).

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
        logits: Tensor = self.model(images.float() * self.scale + self.shift)
        return logits


def onnx_bytes(
    config: TrialConfig,
    weights: Mapping[str, Tensor],
    facts: ImageFacts,
    opset: int = LOWEST,
) -> bytes:
    """The network in fp32 as one ONNX file, for any number of images at once.

    Args:
        facts: their mean and std go into the graph, their classes and the configuration's label
            into the file's metadata.
        opset: the version of ONNX's operators. The lowest opens in most runtimes, and the logits
            are the same.
    """
    normalize = Normalizer(facts.mean, facts.std, torch.device("cpu"))
    side = task_of(weights).side
    pixels = FromPixels(with_weights(config, weights), normalize).eval()
    with held_back(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        # Through TorchScript: the exporter without it writes the same graph, but imports torch's
        # compiler, which takes longer than a small trial.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the channels are constant
        torch.onnx.export(
            pixels,
            (torch.zeros(2, 3, side, side, dtype=torch.uint8),),
            exported := Path(scratch) / "model.onnx",
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )
        proto = onnx.load(exported)
    # The exporter notes which source line made each node, with the folders of this machine.
    for node in proto.graph.node:
        node.ClearField("doc_string")
    about = {"label": config.label, "classes": json.dumps(facts.classes), "input": "uint8 RGB"}
    for key, value in about.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    ask_for_least(proto)
    content: bytes = proto.SerializeToString()
    return content


def opset_of(content: bytes) -> int:
    """The version of ONNX's own operators that a network is written in."""
    proto = onnx.load_from_string(content)
    return int(next(o.version for o in proto.opset_import if o.domain in OWN_DOMAINS))


def ask_for_least(proto: onnx.ModelProto) -> None:
    """Let a file name only the domains whose operators it has, and the oldest file format (the IR
    version) that they came with: runtimes refuse what they do not know, used or not."""
    used = {node.domain for node in proto.graph.node}
    kept = [opset for opset in proto.opset_import if opset.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    own = [opset for opset in kept if opset.domain in OWN_DOMAINS]
    proto.ir_version = onnx.helper.find_min_ir_version_for(own)


class OnnxNetwork:
    """A network in an ONNX file, fp32 or int8, run by onnxruntime on the CPU.

    Args:
        content: the file, as ``onnx_bytes`` or ``vgg6.onnx_export.quantization.quantize`` gives it.
        threads: default, as many as there are CPUs.
    """

    def __init__(self, content: bytes, threads: int | None = None) -> None:
        self.content, self.threads = content, threads or usable_cpus()

    def __call__(self, images: Array) -> Array:
        """Logits, float32 (N, C), of uint8 RGB images (N, S, S, 3)."""
        return self.run(channels_first(images))

    def run(self, images: Array) -> Array:
        """Logits of images that have their colours first already: uint8 (N, 3, S, S)."""
        (logits,) = self.session.run([OUTPUT], {INPUT: images})
        return np.asarray(logits)

    @cached_property
    def session(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Threads that wait for work in a loop take the CPUs from whatever runs next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            self.content, options, providers=["CPUExecutionProvider"]
        )


def check_onnx(content: bytes, task: Task = STUDY) -> None:
    """Check that a file is a whole network for ``task``, which reads no other file.

    Raises:
        ValueError: it is not; says how.
    """
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # of the parser or the checker, which have no common kind
        raise ValueError(f"cannot be read as ONNX: {error}"[:300]) from None
    graph = model.graph
    values = [a for node in graph.node for a in node.attribute]
    tensors = [*graph.initializer, *(a.t for a in values if a.type == onnx.AttributeProto.TENSOR)]
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors):
        raise ValueError("keeps tensors in other files")
    nested = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    if model.functions or any(a.type in nested for a in values):
        raise ValueError("has functions or graphs in its graph, which no VGG6 has")
    foreign = {node.domain for node in graph.node} - set(DOMAINS)
    if foreign:
        raise ValueError(f"has operators of {min(foreign)!r}, which onnxruntime does not have")
    forms = [
        (v.name, v.type.tensor_type.elem_type, [d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in (*graph.input, *graph.output)
    ]
    expected = [
        (INPUT, onnx.TensorProto.UINT8, [0, 3, task.side, task.side]),
        (OUTPUT, onnx.TensorProto.FLOAT, [0, task.classes]),
    ]
    if forms != expected:
        images, logits = f"(N, 3, {task.side}, {task.side})", f"(N, {task.classes})"
        raise ValueError(f"does not take uint8 images {images} to logits {logits}")


def channels_first(images: Array) -> Array:
    """Images (N, H, W, C) as (N, C, H, W)."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
