"""Bad values in packages: configurations, metrics, histories, weights and checksums."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

from support.bad_values.case import Case, keyed, written
from support.bad_values.spaces import BOMB

from analysis.packages.package_files import write_sums


def package(name: str, change: Callable[[Path], object], *says: str) -> Case:
    """A package that was altered and then given true checksums."""

    def altered(at: Path) -> None:
        change(at / "package")
        write_sums(at / "package")

    return Case(name, ["verify", "{at}/package", "--quick"], list(says), altered)


def yaml_text(old: str, new: str) -> Callable[[Path], object]:
    def change(at: Path) -> None:
        text = (at / "config.yaml").read_text()
        assert old in text
        (at / "config.yaml").write_text(text.replace(old, new, 1))

    return change


def sums(text: str) -> Callable[[Path], object]:
    def change(at: Path) -> None:
        with open(at / "package" / "SHA256SUMS", "a") as file:
            file.write(f"{'0' * 64}  {text}\n")

    return change


HUGE_HEADER = struct.pack("<Q", 2**40) + b"{}"
PACKAGES = [
    package("a Python object", yaml_text("config:", "x: !!python/object/apply:os.mkdir [owned]\n"
            "config:"), "config.yaml", "python/object"),
    package("a bomb of aliases", written("config.yaml", BOMB), "config.yaml", "alias"),
    package("a key too many", yaml_text("config:", "confg: 1\nconfig:"),
            "config.yaml", "'confg'", "did you mean 'config'"),
    package("a field too many", yaml_text("  lr:", "  lrr: 1\n  lr:"),
            "config.yaml", "'lrr'", "did you mean 'lr'"),
    package("a value out of range", yaml_text("  batch_size: 32", "  batch_size: -32"),
            "config.yaml", "config.batch_size", "-32", "[1, 4096]"),
    package("an integer too long to write", yaml_text("  seed: 42", "  seed: 0x" + "f" * 9000),
            "config.yaml", "config.seed", "integer of 36000 bits", "[0, 4294967295]"),
    package("a type", yaml_text("stop_after: null", "stop_after: soon"),
            "config.yaml", "stop_after", "'soon'", "whole number"),
    package("no arithmetic", yaml_text("precision: ", "precisoin: "),
            "config.yaml", "runtime", "'precisoin'", "did you mean 'precision'"),
    package("no mapping", written("config.yaml", "- 1\n"), "config.yaml", "not a mapping"),
    package("numbers as text", keyed("metrics.json", "val_acc", "0.5"),
            "metrics.json", "val_acc", "'0.5'", "number"),
    package("no JSON", written("metrics.json", "{"), "metrics.json", "cannot be read"),
    package("versions as text", keyed("environment.json", "versions", "all"),
            "environment.json", "versions", "'all'", "not a mapping"),
    package("a history without scores", written("history.csv", "epoch,lr\n1,0.1\n"),
            "history.csv", "is missing"),
    package("a history with a gap", lambda at: written("history.csv", "epoch,val_acc\n1,\n")(at),
            "history.csv", "[0]"),
    package("weights that are a pickle", written("weights.safetensors", pickle.dumps([1])),
            "weights.safetensors", "damaged"),
    package("weights with a huge header", written("weights.safetensors", HUGE_HEADER),
            "weights.safetensors", "damaged"),
    Case("sums above the package", ["verify", "{at}/package"], ["SHA256SUMS", "'../evil'"],
         sums("../evil")),
    Case("sums of an absolute path", ["verify", "{at}/package"], ["SHA256SUMS", "'/etc/passwd'"],
         sums("/etc/passwd")),
    Case("a file altered", ["verify", "{at}/package"], ["load_model.py", "altered"],
         written("package/load_model.py", "import os\n")),
    Case("a file missing", ["verify", "{at}/package"], ["model.onnx", "missing"],
         lambda at: (at / "package" / "model.onnx").unlink()),
]  # fmt: skip
