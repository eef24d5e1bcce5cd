"""What a package was made with: versions, machine, arithmetic."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from analysis.packages.package_schema import Environment, Machine
from vgg6.common.schema import read_record
from vgg6.hardware.machine import cpu_model, usable_cpus
from vgg6.run_record import RuntimeFacts

PACKAGES = ("torch", "ray", "optuna", "numpy", "pandas", "safetensors", "onnx",
            "onnxruntime")  # fmt: skip


def environment(runtime: RuntimeFacts, at_search: dict[str, str] | None) -> Environment:
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
