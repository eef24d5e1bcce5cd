"""What the benchmarks share: the machine that figures depend on, and where results go.

A result is ``results/THEME/[PART/]MACHINE-DATE.json``, as in
``results/throughput/amd-epyc-2026-11-24.json``. A theme is a script's name; its parts are what the
script measures apart. Tables that grow are ``.csv`` or ``.parquet``.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vgg6.common.files import write_atomic
from vgg6.common.machine import cpu_model, usable_cpus

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(os.environ.get("BENCHMARK_RESULTS") or ROOT / "benchmarks" / "results")
SCRIPT = str(ROOT / "tune_vgg6.py")
INSTRUCTIONS: dict[str, Callable[[], bool]] = {
    "avx2": torch.cpu._is_avx2_supported,
    "avx512": torch.cpu._is_avx512_supported,
    "avx512_bf16": torch.cpu._is_avx512_bf16_supported,
    "amx": torch.cpu._is_amx_tile_supported,
}


def describe(**more: Any) -> dict[str, Any]:
    """The machine, the versions and ``more``; printed, and returned for the result file.

    ``device`` is the name of the GPU that is measured, where one is.
    """
    facts = {
        "cpu": cpu_model(),
        "cpus": usable_cpus(),
        "instructions": [name for name, has in INSTRUCTIONS.items() if has()],
        **{package: version(package) for package in ("torch", "ray", "optuna", "wandb")},
        "python": platform.python_version(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        **more,
    }
    print("\n".join(f"{name:13}{value}" for name, value in facts.items()), flush=True)
    return facts


def machine_name(facts: Mapping[str, Any]) -> str:
    """The machine as file names have it: ``amd-epyc``, ``intel-xeon-amx``, ``nvidia-h100``."""
    device = facts.get("device", "cpu")
    plain = re.sub(r"\(\w+\)|\b(processor|cpu)\b", " ", str(facts["cpu"]).lower())
    words = re.findall(r"[a-z0-9]+", str(device).lower() if device != "cpu" else plain)
    if device == "cpu" and "amx" in facts["instructions"]:
        words.append("amx")
    return "-".join(words)


def result_path(theme: str, facts: Mapping[str, Any], part: str = "", ending: str = "json") -> Path:
    """Where a result of the machine and the day in ``facts`` belongs."""
    return RESULTS / theme / part / f"{machine_name(facts)}-{facts['date'][:10]}.{ending}"


def growing_result(theme: str, facts: Mapping[str, Any], part: str = "", *, ending: str) -> Path:
    """The newest table of this kind, of whichever machine, which goes on; a new one otherwise."""
    found = sorted((RESULTS / theme / part).glob(f"*.{ending}"), key=lambda path: path.stem[-10:])
    return found[-1] if found else result_path(theme, facts, part, ending)


def write_result(theme: str, result: Mapping[str, Any], part: str = "") -> None:
    """Keep a benchmark's samples; an interruption leaves what was kept before."""
    content = json.dumps(result, indent=1) + "\n"
    write_file(result_path(theme, result["machine"], part), content.encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a result whole, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)
