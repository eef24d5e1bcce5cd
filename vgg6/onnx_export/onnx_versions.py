"""Which versions of ONNX a network can be written in, and which runtimes open them."""

from __future__ import annotations

from vgg6.common.checks import Range

# 13 is the first with a scale for each channel of int8 weights. 20, the first with GELU as one
# operator, is the last that torch's exporter writes.
LOWEST = 13
OPSETS = Range(LOWEST, 20)
# The first onnxruntime that has an opset, from the table of its documentation:
# https://onnxruntime.ai/docs/reference/compatibility.html
FIRST_RUNTIME = {
    13: "1.6", 14: "1.8", 15: "1.9", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17",
}  # fmt: skip


def oldest_runtime(opset: int) -> str:
    """The oldest onnxruntime that opens a network of this opset, such as ``1.6``."""
    return FIRST_RUNTIME[opset]
