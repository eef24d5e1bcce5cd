"""Atomic save and checked load of weights and training state, as safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from vgg6.common.files import write_atomic
from vgg6.config import TrialConfig
from vgg6.hardware.runtime import Runtime
from vgg6.metric import ACCURACY, Metric
from vgg6.task import STUDY, Task
from vgg6.training import Best, TrainState

TENSORS, STATE = "state.safetensors", "state.json"


class DamagedCheckpoint(RuntimeError):
    """A file of a checkpoint is missing, cut short or altered; the message names it."""


def weights_bytes(
    weights: Mapping[str, Tensor], config: TrialConfig, epoch: int | None = None
) -> bytes:
    """Weights in PyTorch's layout as a safetensors file, with their configuration in its metadata
    and, where it is given, the epoch that they are of."""
    of_epoch = {} if epoch is None else {"epoch": str(epoch)}
    return save(_packed(weights), {"config": json.dumps(config.to_dict()), **of_epoch})


def save_weights(path: Path, weights: Mapping[str, Tensor], config: TrialConfig) -> None:
    """Write ``weights_bytes`` to a file, whole or not at all."""
    write_atomic(path, weights_bytes(weights, config))


def save_state(state: TrainState, folder: Path, metrics: dict[str, Any] | None = None) -> None:
    """Save all that ``state`` carries into ``folder``; the small JSON file is written last.

    ``metrics``, of the epoch that led to it, lie beside it for whoever missed that epoch's report.

    The best weights are stored apart only while they are not the current ones. Nothing is forced
    onto the disk: the checksum tells a file that a power cut tore, and whoever needs more than this
    state keeps the one before it.
    """
    groups = {"model": state.model.state_dict(), "best": {}}
    if state.best.epoch != state.epoch:
        groups["best"] = state.best.weights
    tensors = {f"{group}/{k}": v for group, part in groups.items() for k, v in part.items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            if value is not None:
                tensors[f"optimizer/{index}/{slot}"] = torch.as_tensor(value)
    content = save(_packed(tensors))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / TENSORS, content, sync=False)
    facts = {
        "config": state.config.to_dict(),
        "epoch": state.epoch,
        "best_epoch": state.best.epoch,
        "best_val_acc": state.best.val_acc,
        "best_score": None if math.isnan(state.best.score) else state.best.score,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if metrics is not None:
        facts["metrics"] = metrics
    sealed = {**facts, "seal": _seal(facts)}
    write_atomic(folder / STATE, json.dumps(sealed, indent=1).encode(), sync=False)


def read_facts(folder: Path) -> dict[str, Any]:
    """The JSON part of a saved state: config, epoch, best_epoch, best_val_acc, best_score, sha256.
    Those of earlier versions lack the best score, which is the accuracy.

    Raises:
        DamagedCheckpoint: the file is missing, cut short or altered.
    """
    path = folder / STATE
    try:
        sealed = json.loads(path.read_bytes())
        facts = {k: v for k, v in sealed.items() if k != "seal"}
        intact = sealed["seal"] == _seal(facts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpoint(f"{path}: {error!r}") from error
    if not intact:
        raise DamagedCheckpoint(f"{path}: its checksum is not the one saved with it")
    return facts


def _seal(facts: dict[str, Any]) -> str:
    """The checksum of the facts' values, however they are laid out."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def load_state(
    folder: Path, runtime: Runtime, task: Task = STUDY, metric: Metric = ACCURACY
) -> TrainState:
    """Rebuild a TrainState so that going on from it equals never having stopped.

    Args:
        task: what its network was made for.
        metric: its best epoch was chosen by.

    Raises:
        DamagedCheckpoint: a file is missing, cut short, or not the one that was saved.
    """
    facts = read_facts(folder)
    tensors = _checked_tensors(folder, facts)
    config = TrialConfig.from_mapping(facts["config"])
    state = TrainState(config, runtime, task=task, metric=metric)
    state.model.load_state_dict(_group(tensors, "model"))
    _restore_optimizer(state, _group(tensors, "optimizer"))
    state.epoch = facts["epoch"]
    if facts["best_epoch"] == 0:  # no epoch has ended
        return state
    best = _group(tensors, "best")
    if facts["best_epoch"] == state.epoch:
        best = {k: v.detach().clone() for k, v in state.model.state_dict().items()}
    val_acc = facts["best_val_acc"]
    state.best = Best(facts["best_epoch"], val_acc, best, facts.get("best_score", val_acc))
    return state


def best_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of the best epoch from a saved state, on the CPU.

    Raises:
        DamagedCheckpoint: as ``load_state``.
    """
    facts = read_facts(folder)
    tensors = _checked_tensors(folder, facts)
    return _group(tensors, "model" if facts["best_epoch"] == facts["epoch"] else "best")


def _checked_tensors(folder: Path, facts: dict[str, Any]) -> dict[str, Tensor]:
    path = folder / TENSORS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: {error}") from error
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise DamagedCheckpoint(f"{path}: its checksum is not the one saved with it")
    return load_file(path)


def _restore_optimizer(state: TrainState, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    parameters = list(state.model.parameters())
    for name, value in tensors.items():
        index, slot = name.split("/")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # Fused kernels walk memory in order: a buffer must lie as its parameter does.
            value = torch.empty_like(parameter).copy_(value)
        slots.setdefault(int(index), {})[slot] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _group(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
