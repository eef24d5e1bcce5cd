"""The files of a package: their names, where they may be written, and their checksums.

``SHA256SUMS`` says what each file was when it was written, as ``sha256sum`` writes it. Nothing
heavy is imported here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from analysis.demo.onnxruntime_web import FOLDER
from vgg6.common.checks import InputError
from vgg6.common.files import check_target

CONFIG, WEIGHTS, HISTORY, METRICS, ENVIRONMENT, ONNX, LOADER, README = PACKAGE = (
    "config.yaml", "weights.safetensors", "history.csv", "metrics.json", "environment.json",
    "model.onnx", "load_model.py", "README.md",
)  # fmt: skip
QUANTIZED = tuple(name for name in PACKAGE if name != WEIGHTS)  # model.onnx holds its weights
DEMO = "demo.html"  # the one file that a package may lack; beside it may lie its runtime's folder
PACKED = "best"  # where a finished search keeps its winner's package
SUMS = "SHA256SUMS"
HEX = set("0123456789abcdef")


def check_out(out: Path) -> None:
    """Raise InputError unless ``out`` is new, empty, or an earlier package to be replaced."""
    check_target("out", out)
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError("out", str(out), "is a file: a package is a folder")
    held = {p.name for p in out.iterdir()}
    # Python leaves its cache beside a load_model.py that was imported.
    others = held - {*PACKAGE, DEMO, FOLDER, SUMS, "__pycache__"}
    if others or (held and not {CONFIG, ONNX, METRICS} <= held):
        named = min(others or held)
        raise InputError("out", str(out), f"holds other things, which would be lost: {named}")


def check_new(out: Path) -> None:
    """Raise InputError unless ``out`` is new or empty; says what is there."""
    check_out(out)
    if out.exists() and any(out.iterdir()):
        title = "without a README.md"
        if (out / README).is_file():
            title = (
                (out / README)
                .read_text(encoding="utf-8", errors="replace")
                .partition("\n")[0]
                .lstrip("# ")
            )
        rule = f"holds a package already ({title}): choose another folder, or `force`"
        raise InputError("out", str(out), rule)


def write_sums(folder: Path) -> None:
    """Write the checksums of all files in ``folder``; ``sha256sum -c SHA256SUMS`` reads them."""
    names = sorted(p.name for p in folder.iterdir() if p.name != SUMS)
    lines = [f"{_digest(folder / name)}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="ascii")


def check_sums(folder: Path, names: Collection[str]) -> None:
    """Check that the files ``names``, no fewer and no others, are as they were written.

    Raises:
        InputError: one is missing, altered, not listed, or listed and no part of a package; names
            it.
    """
    if not folder.is_dir():
        raise InputError("package", str(folder), "is no folder")
    sums = _read_sums(folder / SUMS)
    for name in sorted(sums.keys() - set(names)):
        raise InputError("package", str(folder / SUMS), f"lists {name!r}, which no package has")
    for name in names:
        file = folder / name
        if not file.is_file():
            raise InputError("package", str(file), "is missing from the package")
        if name not in sums:
            raise InputError("package", str(folder / SUMS), f"does not list {name}")
        if _digest(file) != sums[name]:
            raise InputError("package", str(file), f"has been altered: {SUMS} has another checksum")


def listed(folder: Path) -> set[str]:
    """The names that a package has checksums of.

    Raises:
        InputError: the file of checksums is missing or damaged.
    """
    return set(_read_sums(folder / SUMS))


def _read_sums(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise InputError("package", str(file.parent), f"is no package: it has no {SUMS}")
    sums: dict[str, str] = {}
    # Bytes, and no other line ends than the one written: whatever was altered must show.
    *lines, rest = file.read_bytes().split(b"\n")
    for line in [*lines, rest] if rest else lines:
        text = line.decode("ascii", errors="backslashreplace")
        digest, gap, name = text[:64], text[64:66], text[66:]
        if rest == line or gap != "  " or name in ("", *sums) or set(digest) - HEX:
            raise InputError("package", str(file), f"is damaged: {text!r} is no checksum of a file")
        sums[name] = digest
    return sums


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
