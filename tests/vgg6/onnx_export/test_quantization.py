"""ONNX networks, in fp32 and quantised to int8, give the logits that they must."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.made.networks import DATA, SOURCE, network

from vgg6.architecture import LAYOUT
from vgg6.data import image_facts
from vgg6.onnx_export.onnx_file import OnnxNetwork, check_onnx, onnx_bytes
from vgg6.onnx_export.quantization import quantize

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fp32() -> bytes:
    made = network(activation="silu", norm="batch")
    return onnx_bytes(made.config, made.weights, image_facts(SOURCE))


@pytest.mark.slow
def test_every_weight_is_an_8_bit_integer_and_is_multiplied_as_one(
    fp32: bytes, tmp_path: Path
) -> None:
    content = quantize(fp32, DATA.train.images[:64])
    assert len(fp32) / len(content) > 3.5
    model = onnx.load_from_string(content)
    sizes: dict[int, int] = {}
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    weights = sum(i * o * 9 for i, o, _ in LAYOUT) + 4096 * 512 + 512 * 10
    assert sizes[onnx.TensorProto.INT8] >= weights
    assert sizes[onnx.TensorProto.FLOAT] < 10_000, "scales only"
    # What onnxruntime makes of it for this machine.
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    assert (kinds.count("QLinearConv"), kinds.count("QGemm"), kinds.count("Conv")) == (5, 2, 0)


def test_int8_gives_nearly_the_logits_of_fp32_and_keeps_its_input_and_metadata(fp32: bytes) -> None:
    content = quantize(fp32, DATA.train.images[:64])
    images = DATA.val.images
    before, after = OnnxNetwork(fp32, 1)(images), OnnxNetwork(content, 1)(images)
    assert np.abs(after - before).max() < 0.08 * np.ptp(before)
    assert (after.argmax(1) == before.argmax(1)).mean() > 0.92
    # On a CPU without VNNI two products are added in 16 bits: 255 * 64 * 2 just fit.
    kept = onnx.load_from_string(content).graph.initializer
    weights = [onnx.numpy_helper.to_array(w) for w in kept
               if w.data_type == onnx.TensorProto.INT8 and len(w.dims) > 1]  # fmt: skip
    assert weights and all(abs(w.astype(int)).max() <= 64 for w in weights)
    facts = [{p.key: p.value for p in onnx.load_from_string(c).metadata_props}
             for c in (fp32, content)]  # fmt: skip
    assert facts[0] == facts[1] and json.loads(facts[1]["classes"]) == list("0123456789")
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        OnnxNetwork(content, 1)(images.astype(np.float32))


def test_a_network_of_onnxruntime_is_the_network_of_torch(fp32: bytes) -> None:
    made = network(activation="silu", norm="batch")
    images = DATA.val.images[:40]
    np.testing.assert_allclose(OnnxNetwork(fp32, 1)(images), made(images), atol=1e-4)


def test_check_onnx_passes_what_the_project_writes(fp32: bytes) -> None:
    check_onnx(fp32)
    check_onnx(quantize(fp32, DATA.train.images[:32]))
