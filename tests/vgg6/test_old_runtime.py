"""Exported networks open in old runtimes, and in every version they give the same logits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from vgg6.config import ACTIVATIONS, NORMS, TrialConfig
from vgg6.data import ImageFacts
from vgg6.model import VGG6
from vgg6.onnx_export.onnx_file import OnnxNetwork, onnx_bytes, opset_of
from vgg6.onnx_export.onnx_versions import FIRST_RUNTIME, LOWEST, OPSETS
from vgg6.onnx_export.quantization import quantize

# Cards name older ones, for which there is no Python today that has their wheels.
OLD = ["onnxruntime==1.16.3", "numpy<2"]
PROGRAM = """
import sys
import numpy, onnxruntime
for file in sys.argv[1:]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": numpy.zeros((2, 3, 32, 32), numpy.uint8)})
    assert logits.shape == (2, 10), file
print(onnxruntime.__version__)
"""


@pytest.fixture(scope="module")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "--retries", "0", *OLD]
    installed = subprocess.run(pip, capture_output=True, text=True, timeout=240)
    if installed.returncode:
        pytest.skip(f"pip cannot fetch {OLD[0]}: {installed.stderr.strip()[-200:]}")
    return python


FACTS = ImageFacts(classes=tuple("0123456789"), mean=(0.5,) * 3, std=(0.25,) * 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)


@pytest.mark.slow
def test_networks_in_fp32_and_int8_open_in_an_old_runtime(old_python: Path, tmp_path: Path) -> None:
    files = []
    for number, activation in enumerate(ACTIVATIONS):
        config = TrialConfig(activation=activation, norm=NORMS[number % len(NORMS)])
        fp32 = onnx_bytes(config, VGG6(config).state_dict(), FACTS)
        contents = {activation: fp32}
        if activation in ("gelu", "mish"):  # the newest operators
            contents[f"{activation}-int8"] = quantize(fp32, IMAGES)
        for name, content in contents.items():
            files.append(tmp_path / f"{name}.onnx")
            files[-1].write_bytes(content)
    ended = subprocess.run(
        [str(old_python), "-c", PROGRAM, *map(str, files)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-600:]
    assert ended.stdout.startswith("1.16")


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "group"])
def test_a_network_gives_the_same_logits_in_every_opset(norm: str) -> None:
    """GELU is one operator in opset 20, and a formula in 13. In int8, the last bit of a sum may be
    what rounds a logit to the next step, of 0.004 here."""
    torch.manual_seed(0)
    config = TrialConfig(activation="gelu", norm=norm)
    weights = VGG6(config).state_dict()
    low, high = (onnx_bytes(config, weights, FACTS, opset) for opset in (LOWEST, 20))
    int8 = quantize(low, IMAGES), quantize(high, IMAGES)
    for (lower, higher), bound in (((low, high), 1e-6), (int8, 0.009)):
        assert (opset_of(lower), opset_of(higher)) == (13, 20)
        assert (ir_version(lower), ir_version(higher)) == (7, 9)
        np.testing.assert_allclose(
            OnnxNetwork(lower)(IMAGES), OnnxNetwork(higher)(IMAGES), atol=bound
        )


def ir_version(content: bytes) -> int:
    return int(onnx.load_from_string(content).ir_version)


def test_each_opset_names_a_runtime_that_has_it() -> None:
    assert list(FIRST_RUNTIME) == list(range(LOWEST, int(OPSETS.high) + 1))
    versions = [tuple(map(int, v.split("."))) for v in FIRST_RUNTIME.values()]
    assert versions == sorted(set(versions))
