"""A package: one configuration with its weights, its numbers, and how to run it again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
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

from vgg6.checkpoint import save_weights
from vgg6.config import InputError, TrialConfig

CONFIG, WEIGHTS, HISTORY, METRICS, README = PACKAGE = (
    "config.yaml", "weights.safetensors", "history.csv", "metrics.json", "README.md",
)  # fmt: skip


@dataclass(frozen=True)
class Package:
    """A package as read back; ``stop_after`` is None for a run of full length."""

    config: TrialConfig
    runtime: dict[str, Any]
    data: dict[str, Any]
    stop_after: int | None
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


def train_command(
    config: TrialConfig, data: dict[str, Any], runtime: dict[str, Any], stop_after: int | None
) -> str:
    """The command that runs ``config`` again. It spells out every value: a default may change."""
    flags = {f"--{k.replace('_', '-')}": v for k, v in config.to_dict().items() if v is not None}
    flags |= {"--data": data["argument"], "--split-seed": data["split_seed"]}
    if data["limit_train"] is not None:
        flags["--limit-train"] = data["limit_train"]
    flags |= {f"--{k}": runtime[k] for k in ("device", "precision", "threads")}
    if stop_after is not None:
        flags["--stop-after"] = stop_after
    # str() of a float is its shortest form that reads back as the same float.
    words = [word for flag, value in flags.items() for word in (flag, str(value))]
    return shlex.join(["python", "tune_vgg6.py", "train", *words])


def check_out(out: Path) -> None:
    """Raise InputError unless ``out`` is new, empty, or an earlier package to be replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError("--out", str(out), "is a file: a package is a folder")
    held = {p.name for p in out.iterdir()}
    if held and not {CONFIG, WEIGHTS, METRICS} <= held:
        raise InputError("--out", str(out), "holds other things, which would be replaced")


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
) -> None:
    """Write a package into ``out``, whole or not at all.

    Raises:
        InputError: ``out`` holds other things.
    """
    with _whole(out) as folder:
        sections = {
            "config": config.to_dict(), "data": data, "runtime": runtime, "stop_after": stop_after,
        }  # fmt: skip
        (folder / CONFIG).write_text(yaml.safe_dump(sections, sort_keys=False))
        save_weights(folder / WEIGHTS, weights, config)
        pd.DataFrame(history).to_csv(folder / HISTORY, index=False)
        (folder / METRICS).write_text(json.dumps(metrics, indent=1) + "\n")
        command = train_command(config, data, runtime, stop_after)
        (folder / README).write_text(_readme(title, config, data, runtime, metrics, command))


def copy_package(source: Path, out: Path) -> None:
    """Copy a package, whole or not at all; InputError where ``out`` holds other things."""
    with _whole(out) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)


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
    for name in PACKAGE:
        if not (folder / name).is_file():
            raise InputError("DIR", str(folder), f"is no package: it has no {name}")
    sections = _read(folder / CONFIG, yaml.safe_load)
    with _named(folder / CONFIG):
        config = TrialConfig.from_mapping(sections["config"])
        stored = (sections["runtime"], sections["data"], sections["stop_after"])
    metrics = _read(folder / METRICS, json.loads)
    history = _read(folder / HISTORY, lambda text: pd.read_csv(StringIO(text)).to_dict("records"))
    return Package(config, *stored, metrics, [{str(k): v for k, v in r.items()} for r in history])


def _read(file: Path, parse: Callable[[str], Any]) -> Any:
    with _named(file):
        return parse(file.read_text(encoding="utf-8"))


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Whatever is wrong inside is said of ``file``."""
    try:
        yield
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        text = str(error) if isinstance(error, InputError) else repr(error)
        raise InputError("DIR", str(file), f"cannot be read: {text}") from None


def _readme(
    title: str,
    config: TrialConfig,
    data: dict[str, Any],
    runtime: dict[str, Any],
    metrics: dict[str, Any],
    command: str,
) -> str:
    lines = [
        f"# {title}",
        "",
        f"VGG6 trained on {data['train_images']:,} images of {data['name']}"
        f" ({data['fingerprint']}), {data['val_images']:,} more for validation.",
        "",
        f"- best validation accuracy {metrics['val_acc']:.4f} at epoch {metrics['best_epoch']}"
        f" of {metrics['epochs_run']}"
        + (
            f": the highest of {metrics['selected_from']}, and so optimistic"
            if "selected_from" in metrics
            else ""
        ),
    ]
    if test := metrics.get("test"):
        lines.append(f"- test accuracy {test['accuracy']:.4f} on {test['images']:,} images")
    return "\n".join(
        [
            *lines,
            "",
            f"This runs it again ({runtime['device']}, {runtime['precision']},"
            f" {runtime['threads']} threads; the same machine gives the same bits):",
            "",
            "```",
            command,
            "```",
            "",
            "And this loads the weights:",
            "",
            "```python",
            "from pathlib import Path",
            "from analysis.package import read_package",
            "from vgg6.checkpoint import load_weights",
            "from vgg6.model import VGG6",
            "",
            'here = Path(".")',
            "model = VGG6(read_package(here).config)",
            'model.load_state_dict(load_weights(here / "weights.safetensors"))',
            "```",
            "",
        ]
    )
