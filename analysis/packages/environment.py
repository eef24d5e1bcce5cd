"""What a package was made with: versions, machine, arithmetic."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

from vgg6.hardware.machine import cpu_model, usable_cpus

PACKAGES = ("torch", "ray", "optuna", "numpy", "pandas", "safetensors", "onnx",
            "onnxruntime")  # fmt: skip


def environment(runtime: dict[str, Any], at_search: dict[str, str] | None) -> dict[str, Any]:
    """The arithmetic of the training, and this machine.

    Args:
        runtime: device, precision and threads of the training.
        at_search: the versions that the search recorded when it began, where one did: its nodes may
            be other machines than this one, which packs.
    """
    found = {**runtime, **machine()}
    return found if at_search is None else found | {"versions_of_search": at_search}


def machine() -> dict[str, Any]:
    """This machine and its versions, without its name."""
    gpus = range(torch.cuda.device_count())
    return {
        "os": platform.platform(),
        "cpu": cpu_model(),
        "cpus": usable_cpus(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(i) for i in gpus],
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }
