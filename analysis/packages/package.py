"""A package: one configuration with its weights, its numbers, and how to run it again."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from torch import Tensor

from analysis.packages.card import card
from analysis.packages.environment import environment
from analysis.packages.loader_code import onnx_loader, torch_loader
from analysis.packages.package_files import (
    CONFIG,
    ENVIRONMENT,
    HISTORY,
    LOADER,
    METRICS,
    ONNX,
    PACKAGE,
    QUANTIZED,
    README,
    WEIGHTS,
    check_out,
    check_sums,
    listed,
    write_sums,
)
from analysis.packages.package_schema import (
    CompressedMetrics,
    Compression,
    Environment,
    History,
    Metrics,
    Package,
    Sections,
)
from analysis.packages.scoring import recorded_runtime
from analysis.packages.weights import read_weights
from vgg6.checkpoint import save_weights
from vgg6.common.checks import InputError
from vgg6.common.schema import R, Record, read_record
from vgg6.config import TrialConfig
from vgg6.model import Widths, widths_of
from vgg6.network import Network
from vgg6.onnx_file import OnnxNetwork, check_onnx, onnx_bytes, opset_of
from vgg6.onnx_versions import LOWEST
from vgg6.run_record import CompleteFacts, EpochMetrics, RuntimeFacts
from vgg6.task import STUDY, Task


def write_package(
    out: Path,
    *,
    config: TrialConfig,
    runtime: RuntimeFacts,
    data: CompleteFacts,
    weights: Mapping[str, Tensor],
    history: Sequence[EpochMetrics],
    metrics: Metrics,
    stop_after: int | None,
    title: str,
    versions: dict[str, str] | None = None,
    compression: Compression | None = None,
    onnx: bytes | None = None,
    opset: int = LOWEST,
) -> None:
    """Write a package into ``out``, whole or not at all.

    Args:
        versions: of the packages that the search began with, where the run is one of a search.
        compression: as in ``Package``; ``weights`` are then what it left of them.
        onnx: the network as ONNX, where it is not simply ``weights`` in fp32.
        opset: else the version of ONNX's operators that it is written in.

    Raises:
        InputError: ``out`` holds other things.
    """
    sections = Sections(config=config, data=data, runtime=runtime, stop_after=stop_after)
    if compression is not None:
        sections = sections.model_copy(update={"compression": compression})
    package = Package(
        config=config,
        runtime=runtime,
        data=data,
        stop_after=stop_after,
        metrics=metrics,
        history=list(history),
        environment=environment(runtime, versions),
        compression=compression,
    )
    with _whole(out) as folder:
        (folder / CONFIG).write_text(
            yaml.safe_dump(sections.to_dict(), sort_keys=False), encoding="utf-8"
        )
        pd.DataFrame([row.to_dict() for row in history]).to_csv(folder / HISTORY, index=False)
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
        (folder / README).write_text(card(title, package, out, opset_of(content)), encoding="utf-8")
        write_sums(folder)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``out`` once it is filled without an error."""
    check_out(out)
    out = out.resolve()  # "." has no name to put a folder beside
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        yield folder
        if out.exists():
            os.rename(out, Path(scratch) / "replaced")
        os.rename(folder, out)


def read_package(folder: Path) -> Package:
    """Read a package.

    Raises:
        InputError: a file is missing or is not what it should be; names it.
    """
    for name in QUANTIZED:
        if not (folder / name).is_file():
            raise InputError("package", str(folder), f"is no package: it has no {name}")
    sections = _read(Sections, folder / CONFIG, _yaml)
    kind = CompressedMetrics if sections.compression else Metrics
    package = Package(
        config=sections.config,
        runtime=sections.runtime,
        data=sections.data,
        stop_after=sections.stop_after,
        metrics=_read(kind, folder / METRICS, json.loads),
        history=_read(History, folder / HISTORY, _rows).rows,
        environment=_read(Environment, folder / ENVIRONMENT, json.loads),
        compression=sections.compression,
    )
    if package.quantized == (folder / WEIGHTS).is_file():
        has = "has a" if package.quantized else "has no"
        raise InputError("package", str(folder), f"is no package: it {has} {WEIGHTS}")
    return package


def check_package(folder: Path) -> None:
    """Check that all files of a package are as they were written.

    Raises:
        InputError: one is missing or altered; names it.
    """
    quantized = folder.is_dir() and WEIGHTS not in listed(folder)
    check_sums(folder, QUANTIZED if quantized and not (folder / WEIGHTS).exists() else PACKAGE)


def package_weights(
    folder: Path, config: TrialConfig, widths: Widths | None = None, task: Task = STUDY
) -> dict[str, Tensor]:
    """The weights of a package, unless they are int8.

    Raises:
        InputError: they are damaged, or not those of ``config``, ``widths`` and ``task``; names the
            file.
    """
    file = folder / WEIGHTS
    named, weights = read_weights(file, widths=widths, task=task)
    if named != config:
        rule = f"are the weights of {named.label} ({named.fingerprint}), not of {CONFIG}"
        raise InputError("package", str(file), rule)
    return weights


def load_network(folder: Path, package: Package) -> Network | OnnxNetwork:
    """A package's network as a function of uint8 images (N, S, S, 3), which gives logits (N, C).

    One that was compressed is its ``model.onnx``, on the threads that it was trained with.

    Raises:
        InputError: its weights are not what they should be, or are no network on such images.
    """
    runtime = recorded_runtime(package.runtime)
    if package.compression is None:
        data = package.data
        weights = package_weights(folder, package.config, task=data.task)
        return Network(package.config, weights, data.mean, data.std, runtime)
    content = (folder / ONNX).read_bytes()
    try:
        check_onnx(content, package.data.task)
    except ValueError as error:
        raise InputError("package", str(folder / ONNX), str(error)) from None
    return OnnxNetwork(content, runtime.threads)


def _write_json(file: Path, content: Record) -> None:
    file.write_text(json.dumps(content.to_dict(), indent=1) + "\n", encoding="utf-8")


def _rows(text: str) -> dict[str, Any]:
    return {"rows": pd.read_csv(StringIO(text)).to_dict("records")}


def _yaml(text: str) -> Any:
    """Plain values only. An alias is none: a few of them can stand for more than memory holds."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise ValueError("it holds an alias")
    return yaml.safe_load(text)


def _read(kind: type[R], file: Path, parse: Callable[[str], Any]) -> R:
    """A file's content, parsed and checked; whatever is wrong inside is said of ``file``."""
    try:
        found = parse(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError("package", str(file), f"cannot be read: {error!r}") from None
    return read_record(kind, found, f"{file}: ")
