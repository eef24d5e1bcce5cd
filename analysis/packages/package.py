"""A package: one configuration with its weights, its numbers, and how to run it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.packages.package_files import (
    CONFIG,
    DEMO,
    ENVIRONMENT,
    HISTORY,
    METRICS,
    PACKAGE,
    QUANTIZED,
    WEIGHTS,
    check_sums,
    listed,
)
from analysis.packages.package_metrics import CompressedMetrics, Metrics
from analysis.packages.package_schema import Environment, History, Package, Sections
from vgg6.common.checks import InputError
from vgg6.common.schema import R, read_record
from vgg6.metric import metric_named


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
        metric=metric_named(sections.metric),
    )
    metric = package.metric
    if package.metrics.metric != metric.name:
        rule = f"goes by {package.metrics.metric}, and {CONFIG} by {metric.name}"
        raise InputError("package", str(folder / METRICS), rule)
    if any(getattr(row, metric.column) is None for row in package.history):
        rule = f"lacks {metric.column}, by which its best epoch was chosen"
        raise InputError("package", str(folder / HISTORY), rule)
    if package.quantized == (folder / WEIGHTS).is_file():
        has = "has a" if package.quantized else "has no"
        raise InputError("package", str(folder), f"is no package: it {has} {WEIGHTS}")
    return package


def check_package(folder: Path) -> None:
    """Check that all files of a package are as they were written.

    Raises:
        InputError: one is missing or altered; names it.
    """
    known = listed(folder) if folder.is_dir() else set(PACKAGE)
    here = known | {name for name in (WEIGHTS, DEMO) if (folder / name).exists()}
    names = PACKAGE if WEIGHTS in here else QUANTIZED
    check_sums(folder, [*names, *{DEMO} & here])


def _rows(text: str) -> dict[str, Any]:
    rows = pd.read_csv(StringIO(text)).to_dict("records")
    # Empty where a search of an earlier version went on: that is no number of any epoch.
    later = ("val_balanced_acc", "best_score")
    return {"rows": [{k: v for k, v in r.items() if k not in later or v == v} for r in rows]}


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
