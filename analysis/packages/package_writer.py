"""Writes a package, with what it was made with: versions, machine, arithmetic."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor

from analysis.demo.onnxruntime_web import FOLDER
from analysis.demo.page import demo_page
from analysis.packages.card import card
from analysis.packages.loader_code import onnx_loader, torch_loader
from analysis.packages.package_files import (
    CONFIG,
    DEMO,
    ENVIRONMENT,
    HISTORY,
    LOADER,
    METRICS,
    ONNX,
    README,
    WEIGHTS,
    check_out,
    write_sums,
)
from analysis.packages.package_metrics import Metrics
from analysis.packages.package_schema import Environment, Machine, Package, Sections
from vgg6.checkpoint import save_weights
from vgg6.common.machine import cpu_model, usable_cpus
from vgg6.common.schema import Record, read_record
from vgg6.model import widths_of
from vgg6.onnx_export.onnx_file import onnx_bytes, opset_of
from vgg6.onnx_export.onnx_versions import LOWEST
from vgg6.run_record import RuntimeFacts

PACKAGES = ("torch", "ray", "optuna", "numpy", "pandas", "safetensors", "onnx",
            "onnxruntime")  # fmt: skip


@dataclass(frozen=True)
class WrittenPackage:
    """A package that was written into the folder ``out``, and what its network scores."""

    out: str
    metrics: Metrics

    def to_dict(self) -> dict[str, Any]:
        return self.metrics.to_dict() | {"out": self.out}


def write_package(
    out: Path,
    package: Package,
    weights: Mapping[str, Tensor],
    title: str,
    *,
    onnx: bytes | None = None,
    opset: int = LOWEST,
    demo: bool = False,
) -> None:
    """Write a package into ``out``, whole or not at all.

    Args:
        weights: of its network; of one that was compressed, what that left of them.
        title: the card's heading.
        onnx: the network as ONNX, where it is not simply ``weights`` in fp32.
        opset: else the version of ONNX's operators that it is written in.
        demo: whether to write ``demo.html``, which runs the network in a browser.

    Raises:
        InputError: ``out`` holds other things.
    """
    config, data, metrics = package.config, package.data, package.metrics
    unusual: dict[str, Any] = {}  # only what is so is written
    if package.compression is not None:
        unusual["compression"] = package.compression
    if not package.metric.is_accuracy:
        unusual["metric"] = package.metric.name
    sections = Sections(
        config=config, data=data, runtime=package.runtime, stop_after=package.stop_after, **unusual
    )
    with _whole(out) as folder:
        (folder / CONFIG).write_text(
            yaml.safe_dump(sections.to_dict(), sort_keys=False), encoding="utf-8"
        )
        pd.DataFrame([row.to_dict() for row in package.history]).to_csv(
            folder / HISTORY, index=False
        )
        _write_json(folder / METRICS, metrics)
        _write_json(folder / ENVIRONMENT, package.environment)
        content = onnx or onnx_bytes(config, weights, data, opset)
        (folder / ONNX).write_bytes(content)
        if package.quantized:
            (folder / LOADER).write_text(onnx_loader(config, data), encoding="utf-8")
        else:
            save_weights(folder / WEIGHTS, weights, config)
            (folder / LOADER).write_text(
                torch_loader(config, data, widths_of(weights)), encoding="utf-8"
            )
        if demo:
            page = demo_page(config, data, content, metrics.val_acc, DEMO)
            (folder / DEMO).write_text(page, encoding="utf-8")
        text = card(title, package, out, opset_of(content), demo=demo)
        (folder / README).write_text(text, encoding="utf-8")
        write_sums(folder)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``out`` once it is filled without an error."""
    check_out(out)
    # "." has no name to put a folder beside. Path.resolve raises no OSError for a loop of links.
    out = Path(os.path.realpath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        yield folder
        if (folder / DEMO).exists() and (out / FOLDER).is_dir():
            os.rename(out / FOLDER, folder / FOLDER)  # what was fetched for the page before
        if out.exists():
            os.rename(out, Path(scratch) / "replaced")
        os.rename(folder, out)


def environment(runtime: RuntimeFacts, at_search: dict[str, str] | None = None) -> Environment:
    """The arithmetic of the training, and this machine.

    Args:
        runtime: of the training.
        at_search: the versions that the search recorded when it began, where one did: its nodes may
            be other machines than this one, which packs.

    Raises:
        InputError: a version is no text: the search's file may be anybody's.
    """
    found = {**runtime.to_dict(), **machine().to_dict()}
    if at_search is not None:
        found["versions_of_search"] = at_search
    return read_record(Environment, found)


def machine() -> Machine:
    """This machine and its versions, without its name."""
    gpus = range(torch.cuda.device_count())
    return Machine(
        os=platform.platform(),
        cpu=cpu_model(),
        cpus=usable_cpus(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        gpus=[torch.cuda.get_device_name(i) for i in gpus],
        versions={"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    )


def _write_json(file: Path, content: Record) -> None:
    file.write_text(json.dumps(content.to_dict(), indent=1) + "\n", encoding="utf-8")
