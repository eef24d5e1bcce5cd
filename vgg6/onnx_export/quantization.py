"""Static int8 quantisation of a network as ONNX, through onnxruntime: bytes in, bytes out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from vgg6.data import Array
from vgg6.onnx_export.onnx_file import ask_for_least, channels_first

CALIBRATED_ON = 512  # training images
BATCH = 64


def quantize(content: bytes, images: Array) -> bytes:
    """Turn an fp32 network into one that stores and multiplies 8-bit integers.

    Weights become signed integers with a scale for each output channel, what flows between layers
    unsigned ones with a scale and a zero point for each tensor, chosen so that all of its values
    on ``images`` fit: post-training static quantisation, as in Jacob et al. 2018. Unsigned by
    signed is what CPUs multiply in one instruction (VNNI). Weights take up 7 of their 8 bits:
    without VNNI onnxruntime adds two products in 16 bits, which larger weights would overflow. So
    all CPUs get the same results. The normalisation stays fp32: pixels are integers already, and
    would be rounded twice.

    Args:
        content: an ONNX file with one input, uint8 (N, C, H, W).
        images: uint8 (N, H, W, C), of the training images.

    Returns:
        an ONNX file with the same input, output and metadata.
    """
    with tempfile.TemporaryDirectory() as scratch:
        whole, prepared, small = (Path(scratch) / f"{name}.onnx" for name in ("a", "b", "c"))
        whole.write_bytes(content)
        quant_pre_process(whole, prepared)
        graph = onnx.load(prepared).graph
        before = next(i for i, node in enumerate(graph.node) if node.op_type == "Conv")
        quantize_static(
            prepared,
            small,
            _Calibration(graph.input[0].name, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            nodes_to_exclude=[node.name for node in graph.node[:before]] + gelu_nodes(graph),
        )
        found = onnx.load(small)
    del found.metadata_props[:]
    found.metadata_props.extend(onnx.load_from_string(content).metadata_props)
    ask_for_least(found)
    quantized: bytes = found.SerializeToString()
    return quantized


def gelu_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the operators that make up GELU where it is a formula, x (1 + erf(x / √2)) / 2.
    They stay fp32, as GELU does where it is one operator."""
    makes = {name: node for node in graph.node for name in node.output}
    takes = {name: node for node in graph.node for name in node.input}
    found = []
    for erf in graph.node:
        if erf.op_type == "Erf":
            chain = [makes[erf.input[0]], erf]
            for _ in range(3):  # 1 + erf, times x, by 2
                chain.append(takes[chain[-1].output[0]])
            found += [node.name for node in chain]
    return found


class _Calibration(CalibrationDataReader):
    """Gives the images batch by batch, as onnxruntime asks for them."""

    def __init__(self, name: str, images: Array) -> None:
        starts = range(0, len(images), BATCH)
        self.batches = ({name: channels_first(images[i : i + BATCH])} for i in starts)

    def get_next(self) -> dict[str, Array] | None:
        return next(self.batches, None)
