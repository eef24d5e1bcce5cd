"""Weights as a file keeps them, checked to be those of the configuration that they name; and the
network that they make."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from analysis.packages.package_files import CONFIG, ONNX, WEIGHTS
from analysis.packages.package_schema import Package
from analysis.packages.scoring import recorded_runtime
from vgg6.architecture import Widths
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.model import VGG6
from vgg6.network import Network
from vgg6.onnx_export.onnx_file import OnnxNetwork, check_onnx
from vgg6.task import STUDY, Task
from vgg6.tuning.run.folder import RunFolder


def run_weights(
    run: RunFolder, name: str, task: Task = STUDY, epoch: int | None = None
) -> tuple[TrialConfig, dict[str, Tensor]]:
    """Read weights of a run folder, which may be on a remote storage.

    Args:
        epoch: that they must be of, where the file says it.

    Raises:
        InputError: as ``read_weights``, there is no such file, or it is of another epoch.
    """
    if not run.exists(name):
        raise InputError("run", run.file(name), "is not there")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "weights.safetensors"
        file.write_bytes(run.read(name))
        found = read_weights(file, key="run", shown=run.file(name), task=task)
        with safe_open(file, "pt") as stored:
            of = stored.metadata().get("epoch")
    if None not in (of, epoch) and of != str(epoch):
        rule = (
            f"is of epoch {of}, and the trial's best is now epoch {epoch}: its weights are kept"
            " when it pauses or ends, so let `resume` go on"
        )
        raise InputError("run", run.file(name), rule)
    return found


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


def _form(tensor: Tensor | None) -> str:
    if tensor is None:
        return "absent"
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
