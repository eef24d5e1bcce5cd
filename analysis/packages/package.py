"""A package: one configuration with its weights, its numbers, and how to run it again."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from torch import Tensor

from analysis.packages import package_schema as p
from analysis.packages.checksums import SUMS, check_sums, listed, write_sums
from analysis.packages.compression_card import compression_card
from analysis.packages.environment import environment
from analysis.packages.loader_code import onnx_snippet, snippet
from analysis.packages.model_card import model_card
from analysis.packages.scoring import recorded_runtime
from analysis.packages.weights import read_weights
from vgg6.checkpoint import save_weights
from vgg6.common import old_schema as s
from vgg6.common.checks import InputError
from vgg6.common.files import check_target
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.data import ImageFacts
from vgg6.model import WIDTHS, Widths, widths_of
from vgg6.network import Network
from vgg6.onnx_file import OnnxNetwork, check_onnx, onnx_bytes
from vgg6.tuning.run.records import HISTORY as HISTORY_ROWS

CONFIG, WEIGHTS, HISTORY, METRICS, ENVIRONMENT, ONNX, SNIPPET, README = PACKAGE = (
    "config.yaml", "weights.safetensors", "history.csv", "metrics.json", "environment.json",
    "model.onnx", "load_model.py", "README.md",
)  # fmt: skip
QUANTIZED = tuple(name for name in PACKAGE if name != WEIGHTS)  # model.onnx holds its weights
PACKED = "best"  # where a finished search keeps its winner's package


@dataclass(frozen=True)
class Package:
    """A package as read back; ``stop_after`` is None for a run of full length.

    ``compression``: how its network was made smaller after its training (``source``, the checksum
    of the weights before; ``prune`` and ``int8``, each with its settings or None); None if it was
    not.
    """

    config: TrialConfig
    runtime: dict[str, Any]
    data: dict[str, Any]
    stop_after: int | None
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    environment: dict[str, Any]
    compression: dict[str, Any] | None = None

    @property
    def widths(self) -> Widths:
        """Of its network, as ``vgg6.model.WIDTHS``."""
        pruned = (self.compression or {}).get("prune")
        return tuple(pruned["widths"]) if pruned else WIDTHS

    @property
    def quantized(self) -> bool:
        """Whether it holds its weights as integers, in ``model.onnx`` alone."""
        return bool((self.compression or {}).get("int8"))


def train_command(
    config: TrialConfig,
    data: dict[str, Any],
    runtime: dict[str, Any],
    stop_after: int | None,
    out: str | None = None,
) -> str:
    """The command that runs ``config`` again. It spells out every value: a default may change."""
    flags = {f"--{k.replace('_', '-')}": v for k, v in config.to_dict().items() if v is not None}
    flags |= {"--data": data["argument"], "--split-seed": data["split_seed"]}
    if data["limit_train"] is not None:
        flags["--limit-train"] = data["limit_train"]
    flags |= {f"--{k}": runtime[k] for k in ("device", "precision", "threads")}
    if stop_after is not None:
        flags["--stop-after"] = stop_after
    if out is not None:
        flags["--out"] = out
    # str() of a float is its shortest form that reads back as the same float.
    words = [word for flag, value in flags.items() for word in (flag, str(value))]
    return shlex.join(["python", "tune_vgg6.py", "train", *words])


def check_out(out: Path) -> None:
    """Raise InputError unless ``out`` is new, empty, or an earlier package to be replaced."""
    check_target("out", out)
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError("out", str(out), "is a file: a package is a folder")
    held = {p.name for p in out.iterdir()}
    # Python leaves its cache beside a load_model.py that was imported.
    others = held - {*PACKAGE, SUMS, "__pycache__"}
    if others or (held and not {CONFIG, ONNX, METRICS} <= held):
        named = min(others or held)
        raise InputError("out", str(out), f"holds other things, which would be lost: {named}")


def write_package(
    out: Path,
    *,
    config: TrialConfig,
    runtime: dict[str, Any],
    data: dict[str, Any],
    weights: Mapping[str, Tensor],
    history: list[dict[str, Any]],
    metrics: dict[str, Any],
    stop_after: int | None,
    title: str,
    versions: dict[str, str] | None = None,
    compression: dict[str, Any] | None = None,
    onnx: bytes | None = None,
) -> None:
    """Write a package into ``out``, whole or not at all.

    Args:
        data: what ``data_facts`` recorded.
        versions: of the packages that the search began with, where the run is one of a search.
        compression: as in ``Package``; ``weights`` are then what it left of them.
        onnx: the network as ONNX, where it is not simply ``weights`` in fp32.

    Raises:
        InputError: ``out`` holds other things.
    """
    images = read_record(ImageFacts, data)
    with _whole(out) as folder:
        sections = {
            "config": config.to_dict(), "data": data, "runtime": runtime, "stop_after": stop_after,
        } | ({} if compression is None else {"compression": compression})  # fmt: skip
        (folder / CONFIG).write_text(yaml.safe_dump(sections, sort_keys=False))
        pd.DataFrame(history).to_csv(folder / HISTORY, index=False)
        made_with = environment(runtime, versions)
        (folder / METRICS).write_text(json.dumps(metrics, indent=1) + "\n")
        (folder / ENVIRONMENT).write_text(json.dumps(made_with, indent=1) + "\n")
        (folder / ONNX).write_bytes(onnx or onnx_bytes(config, weights, images))
        if compression and compression["int8"]:
            (folder / SNIPPET).write_text(onnx_snippet(config, images))
        else:
            save_weights(folder / WEIGHTS, weights, config)
            (folder / SNIPPET).write_text(snippet(config, images, widths_of(weights)))
        command = train_command(config, data, runtime, stop_after)
        if compression is None:
            card = model_card(title, config, data, metrics, made_with, stop_after, command)
        else:
            card = compression_card(title, config, data, metrics, made_with, compression, command)
        (folder / README).write_text(card)
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
    sections = _read(folder / CONFIG, _yaml, p.SECTIONS)
    compressed = sections.get("compression")
    metrics = _read(folder / METRICS, json.loads, p.COMPRESSED_METRICS if compressed else p.METRICS)
    history = _read(folder / HISTORY, _rows, HISTORY_ROWS)
    made_with = _read(folder / ENVIRONMENT, json.loads, p.ENVIRONMENT)
    package = Package(
        config=TrialConfig.from_mapping(sections["config"]),
        runtime=sections["runtime"],
        data=sections["data"],
        stop_after=sections["stop_after"],
        metrics=metrics,
        history=history,
        environment=made_with,
        compression=compressed,
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
    folder: Path, config: TrialConfig, widths: Widths = WIDTHS
) -> dict[str, Tensor]:
    """The weights of a package, unless they are int8.

    Raises:
        InputError: they are damaged, or not those of ``config`` and ``widths``; names the file.
    """
    file = folder / WEIGHTS
    named, weights = read_weights(file, widths=widths)
    if named != config:
        rule = f"are the weights of {named.label} ({named.fingerprint}), not of {CONFIG}"
        raise InputError("package", str(file), rule)
    return weights


def load_network(folder: Path, package: Package) -> Network | OnnxNetwork:
    """A package's network as a function of uint8 images (N, 32, 32, 3), which gives logits (N, 10).

    One that was compressed is its ``model.onnx``, on the threads that it was trained with.

    Raises:
        InputError: its weights are not what they should be, or are no network on such images.
    """
    runtime = recorded_runtime(package.runtime)
    if package.compression is None:
        weights, about = package_weights(folder, package.config), package.data
        return Network(package.config, weights, about["mean"], about["std"], runtime)
    content = (folder / ONNX).read_bytes()
    try:
        check_onnx(content)
    except ValueError as error:
        raise InputError("package", str(folder / ONNX), str(error)) from None
    return OnnxNetwork(content, runtime.threads)


def _rows(text: str) -> list[dict[str, Any]]:
    rows = pd.read_csv(StringIO(text)).to_dict("records")
    return [{str(k): v for k, v in row.items()} for row in rows]


def _yaml(text: str) -> Any:
    """Plain values only. An alias is none: a few of them can stand for more than memory holds."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise ValueError("it holds an alias")
    return yaml.safe_load(text)


def _read(file: Path, parse: Callable[[str], Any], check: s.Check) -> Any:
    """A file's content, parsed and checked; whatever is wrong inside is said of ``file``."""
    try:
        found = parse(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError("package", str(file), f"cannot be read: {error!r}") from None
    with s.located(f"{file}: "):
        check(s.TOP, found)
    return found
