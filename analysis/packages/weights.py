"""Weights as a file keeps them, checked to be those of the configuration that they name."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.model import VGG6, Widths
from vgg6.task import STUDY, Task
from vgg6.tuning.run.folder import RunFolder


def run_weights(
    run: RunFolder, name: str, task: Task = STUDY
) -> tuple[TrialConfig, dict[str, Tensor]]:
    """Read weights of a run folder, which may be on a remote storage.

    Raises:
        InputError: as ``read_weights``, or there is no such file.
    """
    if not run.exists(name):
        raise InputError("run", run.file(name), "is not there")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "weights.safetensors"
        file.write_bytes(run.read(name))
        return read_weights(file, key="run", shown=run.file(name), task=task)


def read_weights(
    file: Path,
    *,
    key: str = "package",
    shown: str | None = None,
    widths: Widths | None = None,
    task: Task = STUDY,
) -> tuple[TrialConfig, dict[str, Tensor]]:
    """The configuration in a file's metadata and its weights, on the CPU. No code is run.

    Args:
        widths: that the network must have; by default those of its configuration.
        task: that it must be made for.

    Raises:
        InputError: the file is damaged, or its tensors are not those of its configuration's
            network; names the file (as ``shown``, where it is a copy).
    """
    where = shown or str(file)
    try:
        with safe_open(file, "pt") as stored:
            config = TrialConfig.from_mapping(json.loads(stored.metadata()["config"]))
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(key, where, f"is damaged: {error!r}") from None
    with torch.device("meta"):
        expected = VGG6(config, task, widths=widths).state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        want, got = (_form(tensors.get(name)) for tensors in (expected, weights))
        if want != got:
            rule = f"does not fit its configuration: {name} must be {want} and is {got}"
            raise InputError(key, where, rule)
    return config, weights


def _form(tensor: Tensor | None) -> str:
    if tensor is None:
        return "absent"
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
