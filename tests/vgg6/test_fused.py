"""Bias, activation and pooling as one Triton kernel are what PyTorch's three are.

Without a GPU the kernels run in Triton's interpreter, and are compiled for GPUs that are not here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.made.narrow_runs import FP32, narrow_config
from support.paths import ROOT

from vgg6.checkpoint import weights_bytes
from vgg6.common.checks import InputError
from vgg6.hardware.runtime import Runtime
from vgg6.model import ACTIVATIONS, VGG6
from vgg6.run_record import RuntimeFacts

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="needs Triton, which comes with PyTorch for CUDA"
)
PARTS = ("the result", "the gradient of x", "the gradient of the bias")
# Of the largest value: float32 is summed in another order, bfloat16 has 8 bits, the bias's gradient
# is a float32 sum of either.
BOUNDS = {"torch.float32": (1e-6, 3e-6, 3e-6), "torch.bfloat16": (6e-3, 1e-2, 3e-6)}
# Of A100, H100 and B200.
ARCHITECTURES = (80, 90, 100)
COMPILED = """
import json, os, subprocess, sys, tempfile
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vgg6.fused import bias_activation_pool, triton_kernels

reader = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin", "cuobjdump")
architecture, found = int(sys.argv[1]), {}
tensors = {"x": "*bf16", "bias": "*fp32", "y": "*bf16", "dy": "*bf16", "dx": "*bf16",
           "sums": "*fp32", "pixels": "i32"}
for kernel in (triton_kernels.forward, triton_kernels.backward):
    for channels, width, pooled in ((64, 32, False), (64, 32, True), (256, 8, True)):
        constants = bias_activation_pool._constants(channels, width, "gelu", False, pooled)
        names = kernel.arg_names
        signature = {n: "constexpr" if n in constants else tensors[n] for n in names}
        aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n in tensors}
        fixed = {(names.index(n),): value for n, value in constants.items()}
        source = ASTSource(kernel, signature, constexprs=fixed, attrs=aligned)
        code = triton.compile(source, target=GPUTarget("cuda", architecture, 32)).asm["cubin"]
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(code)
            file.flush()
            said = subprocess.run([reader, "--dump-resource-usage", file.name], capture_output=True,
                                  text=True, check=True).stdout
        (line,) = (line for line in said.splitlines() if "REG:" in line)
        used = dict(part.split(":") for part in line.split() if part.count(":") == 1)
        found[f"{kernel.fn.__name__} {channels} {pooled}"] = used
print(json.dumps(found))
"""


def run(*words: str, **variables: str) -> Any:
    """The JSON that a Python program prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    program = str(ROOT / "tests" / "support" / "fused_cases.py")
    found: dict[str, Any] = run(program, TRITON_INTERPRET="1")
    return found


@needs_triton
@pytest.mark.xdist_group("fused")
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_result_and_gradients_are_those_of_pytorchs_kernels(
    activation: str, pooled: bool, dtype: str, interpreted: dict[str, Any]
) -> None:
    for of_shape in interpreted[f"{activation} {pooled} {dtype}"]:
        for part, found, bound in zip(PARTS, of_shape, BOUNDS[dtype], strict=True):
            assert found <= bound, part


@needs_triton
@pytest.mark.xdist_group("fused")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_of_equal_pixels_the_same_one_gets_the_gradient(
    activation: str, interpreted: dict[str, Any]
) -> None:
    assert interpreted[f"{activation} ties"] == 0


@needs_triton
@pytest.mark.xdist_group("fused")
@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_nan_is_not_lost_between_other_pixels(
    activation: str, pooled: bool, interpreted: dict[str, Any]
) -> None:
    assert interpreted[f"{activation} {pooled} NaN"]


@needs_triton
@pytest.mark.xdist_group("fused")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_whole_network_has_the_same_gradients(
    activation: str, interpreted: dict[str, Any]
) -> None:
    assert interpreted[f"{activation} network"] < 1e-5


@needs_triton
@pytest.mark.xdist_group("fused")
def test_a_network_with_norms_is_computed_as_before(interpreted: dict[str, Any]) -> None:
    assert interpreted["with a norm"] == 0


@needs_triton
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_kernels_compile_for_gpus_and_keep_all_in_registers(
    architecture: int, tmp_path: Path
) -> None:
    """What spills to the stack is written to memory and read again: kernels are to save that."""
    found = run("-c", COMPILED, str(architecture), TRITON_CACHE_DIR=str(tmp_path))
    assert len(found) == 6
    for name, used in found.items():
        assert used["LOCAL"] == "0" and int(used["STACK"]) <= 8, name  # 8 bytes on a B200, in one
        assert int(used["REG"]) <= 128, name  # with more, few programs run at once


@pytest.mark.parametrize(
    ("kernels", "device", "message"),
    [
        ("tritn", "cpu", "^kernels: 'tritn' .*did you mean 'triton'"),
        ("triton", "cpu", "^kernels: 'triton' needs a CUDA GPU: this computes on cpu"),
    ],
)
def test_kernels_that_cannot_be_had_are_an_input_error(
    kernels: str, device: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Runtime.resolve(device, kernels=kernels)


def test_where_triton_is_missing_that_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgg6.hardware.runtime.find_spec", lambda name: None)
    on_gpu = Runtime(device="cuda", precision="bf16", threads=1, kernels="triton")
    monkeypatch.setattr(VGG6, "to", lambda self, *place, **layout: self)
    with pytest.raises(InputError, match="^kernels: 'triton' needs Triton"):
        on_gpu.place(VGG6(narrow_config()))


def test_a_runtime_is_recorded_with_its_kernels_and_an_older_record_means_pytorchs() -> None:
    ours = replace(FP32, device="cuda", kernels="triton")
    for runtime in (FP32, ours):
        facts = RuntimeFacts(**runtime.to_dict())
        assert facts.to_dict() == runtime.to_dict() and Runtime(**facts.to_dict()) == runtime
    older = {"device": "cpu", "precision": "fp32", "threads": 1}
    assert Runtime(**RuntimeFacts(**older).to_dict()) == FP32
    assert str(FP32) == "cpu, fp32"
    assert str(ours) == "cuda, fp32, kernels in Triton"


def test_weights_do_not_depend_on_the_kernels() -> None:
    """A network is saved and read without them."""
    config = narrow_config()
    model = VGG6(config)
    before = weights_bytes(model.state_dict(), config)
    model.fused = lambda x, bias, pooled: x
    assert weights_bytes(model.state_dict(), config) == before
