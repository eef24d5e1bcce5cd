"""Bad values in compressed packages and in the command line of ``compress``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import yaml


def altered(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change config.yaml."""

    def write(package: Path) -> None:
        sections = yaml.safe_load((package / "config.yaml").read_text())
        change(sections)
        (package / "config.yaml").write_text(yaml.safe_dump(sections))

    return write


def proto(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], object]:
    """Change model.onnx."""

    def write(package: Path) -> None:
        model = onnx.load(package / "model.onnx")
        change(model)
        (package / "model.onnx").write_bytes(model.SerializeToString())

    return write


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


BAD_PACKAGES: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("widths too wide", altered(lambda s: s["compression"]["prune"]["widths"].__setitem__(0, 72)),
     ["config.yaml", "compression.prune.widths", "72", "at most"]),
    ("widths too few", altered(lambda s: s["compression"]["prune"]["widths"].pop()),
     ["config.yaml", "compression.prune.widths", "list of 6"]),
    ("a misspelt method", altered(lambda s: s["compression"].update(purne=None)),
     ["config.yaml", "'purne'", "did you mean 'prune'"]),
    ("no compression", altered(lambda s: s.pop("compression")),
     ["has no weights.safetensors"]),
    ("colours", altered(lambda s: s["data"].update(mean=[0.5])), ["data.mean", "three numbers"]),
    ("no network", lambda at: (at / "model.onnx").write_bytes(b"no network"),
     ["model.onnx", "cannot be read as ONNX"]),
    ("tensors elsewhere", proto(outside), ["model.onnx"]),
    ("an operator of others", proto(lambda m: (
        m.graph.node[-1].__setattr__("domain", "evil"),
        m.opset_import.append(onnx.helper.make_opsetid("evil", 1)))), ["model.onnx", "'evil'"]),
    ("another input", proto(lambda m: setattr(
        m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 28)),
     ["model.onnx", "uint8 images (N, 3, 32, 32)"]),
]  # fmt: skip

BAD_COMMANDS: list[tuple[str, list[str]]] = [
    ("{whole} --method prone", ["--method", "'prone'", "did you mean 'prune'"]),
    ("{whole} --method prune --sparsity half", ["--sparsity", "'half'", "number"]),
    ("{whole} --method prune --sparsity 0", ["--sparsity", "0.0", "(0, 0.95]"]),
    ("{whole} --method prune --sparsity 0.99", ["--sparsity", "0.99", "(0, 0.95]"]),
    ("{whole} --method prune --sparsity nan", ["--sparsity", "nan", "(0, 0.95]"]),
    ("{whole} --method int8 --sparsity 0.5", ["--sparsity", "0.5", "--method prune"]),
    ("{whole} --method prune --epochs -1", ["--epochs", "-1", "[0, 1000]"]),
    ("{whole} --method int8 --rounds 0", ["--rounds", "0", "[1, 10000]"]),
    ("{whole} --method int8 --data {at}/none", ["--data", "none", "FOLDER"]),
    ("{whole} --method int8 --out {whole}/config.yaml", ["--out", "is a file"]),
    ("{whole} --method int8 --out {at}", ["--out", "holds other things"]),
    ("{whole} --method int8 --out {whole}", ["--out", "holds a package already", "--force"]),
    ("{whole}-int8 --method prune", ["DIR", "compressed already"]),
    ("{at} --method int8", ["DIR", "no SHA256SUMS"]),
    ("{whole}", ["--method", "required"]),
]
