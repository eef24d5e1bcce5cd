"""Exported networks open in the oldest onnxruntime that cards name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vgg6.config import ACTIVATIONS, NORMS, TrialConfig
from vgg6.data import ImageFacts
from vgg6.model import VGG6
from vgg6.onnx_file import onnx_bytes
from vgg6.quantization import quantize

OLDEST = ["onnxruntime==1.17.3", "numpy<2"]
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
    pip = [str(python), "-m", "pip", "install", "-q", "--retries", "0", *OLDEST]
    installed = subprocess.run(pip, capture_output=True, text=True, timeout=240)
    if installed.returncode:
        pytest.skip(f"pip cannot fetch {OLDEST[0]}: {installed.stderr.strip()[-200:]}")
    return python


@pytest.mark.slow
def test_networks_in_fp32_and_int8_open_in_the_oldest_runtime(
    old_python: Path, tmp_path: Path
) -> None:
    facts = ImageFacts(classes=tuple("0123456789"), mean=(0.5,) * 3, std=(0.25,) * 3)
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    files = []
    for number, activation in enumerate(ACTIVATIONS):
        config = TrialConfig(activation=activation, norm=NORMS[number % len(NORMS)])
        fp32 = onnx_bytes(config, VGG6(config).state_dict(), facts)
        contents = {activation: fp32}
        if activation in ("gelu", "mish"):  # the newest operators
            contents[f"{activation}-int8"] = quantize(fp32, images)
        for name, content in contents.items():
            files.append(tmp_path / f"{name}.onnx")
            files[-1].write_bytes(content)
    ended = subprocess.run(
        [str(old_python), "-c", PROGRAM, *map(str, files)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-600:]
    assert ended.stdout.startswith("1.17")
