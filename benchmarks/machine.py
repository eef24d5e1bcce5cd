"""What the benchmarks share: the machine that figures depend on, and where results go."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vgg6.hardware.machine import cpu_model, usable_cpus

RESULTS = Path(os.environ.get("BENCHMARK_RESULTS") or Path(__file__).parent / "results")
INSTRUCTIONS: dict[str, Callable[[], bool]] = {
    "avx2": torch.cpu._is_avx2_supported,
    "avx512": torch.cpu._is_avx512_supported,
    "avx512_bf16": torch.cpu._is_avx512_bf16_supported,
    "amx": torch.cpu._is_amx_tile_supported,
}


def describe(**more: Any) -> dict[str, Any]:
    """The machine, the versions and ``more``; printed, and returned for the result file."""
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


def write_result(name: str, result: dict[str, Any]) -> None:
    """Keep a benchmark's samples in ``results/NAME.json``, or in ``$BENCHMARK_RESULTS``."""
    RESULTS.mkdir(exist_ok=True)
    written = RESULTS / f"{name}.json.part"  # an interruption leaves what was kept before
    written.write_text(json.dumps(result, indent=1) + "\n")
    written.replace(RESULTS / f"{name}.json")
