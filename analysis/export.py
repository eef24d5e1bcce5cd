"""Export: the winner of a search as a package, scored once on the test images."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.package import (
    check_out,
    copy_package,
    read_package,
    train_command,
    write_package,
)
from analysis.selection import shown, stop_after, winner_of
from vgg6.checkpoint import DamagedCheckpoint, load_weights
from vgg6.config import InputError, TrialConfig
from vgg6.data import LabelledImages, load_recorded
from vgg6.evaluation import Evaluation, evaluate
from vgg6.model import VGG6
from vgg6.runtime import ResidentData, Runtime, resident
from vgg6.tuning.journal import read_history
from vgg6.tuning.run_folder import SEARCH, RunFolder, weights_file

WHERE = ("time", "node", "pid")  # of a row: where and when it was made, no part of the result
PACKED = "best"  # where a finished search keeps its winner's package


def export_best(run: RunFolder, out: Path) -> dict[str, Any]:
    """Pack the winner of a search; score it on the test images, once, now that it is chosen.

    A finished search has packed its winner already: that package is copied, and the test images
    are not looked at again. Returns the package's metrics and, as ``out``, its folder.

    Raises:
        InputError: there is no winner, its weights or its data are not there, ``out`` is taken.
    """
    check_out(out)
    facts, history = run.read_json(SEARCH), read_history(run)
    winner = winner_of(run, history)
    config = TrialConfig.from_mapping(winner.config)
    packed = Path(run.path) / PACKED
    if run.local and packed.is_dir() and packed.resolve() != out.resolve():
        package = read_package(packed)
        if package.config == config and package.metrics["val_acc"] == winner.best_val_acc:
            copy_package(packed, out)
            return package.metrics | {"out": str(out)}
    command = train_command(config, facts["data"], facts["runtime"], stop_after(winner))
    weights = _weights_of(run, weights_file(winner.number), command)
    source, data = load_recorded(facts["data"])
    runtime = Runtime(**facts["runtime"])
    if runtime.device == "cuda" and not torch.cuda.is_available():
        runtime = Runtime.resolve("cpu")
    runtime.apply()  # another number of threads sums in another order
    parts = resident(data, runtime.device)
    model = VGG6(config).to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.load_state_dict(weights)
    again = evaluate(model, parts.val_images, parts.val_labels, parts.normalize, runtime)
    tested = score(model, source.test, parts, runtime)
    rows = [row for _, row in sorted(winner.rows.items())]
    metrics = {
        "data": data.name,
        "val_acc": winner.best_val_acc,
        "best_epoch": rows[-1]["best_epoch"],
        "epochs_run": winner.epoch,
        "final": {k: rows[-1][k] for k in ("train_loss", "train_acc", "val_loss", "val_acc")},
        "test": {"accuracy": tested.accuracy, "loss": tested.loss, "images": len(source.test)},
        "selected_from": len(history.ranking()),
        "note": "val_acc is the highest of selected_from scores and so optimistic; the test images"
        " had no part in the choice",
    }
    if again.accuracy != winner.best_val_acc:
        metrics["val_acc_again"] = again.accuracy
        metrics["warning"] = (
            f"these weights score {again.accuracy} on the validation images here, and scored"
            f" {winner.best_val_acc} in the search: another machine or thread count rounds"
            " differently"
        )
    write_package(
        out,
        config=config,
        runtime=facts["runtime"],
        data=facts["data"],
        weights=weights,
        history=[{k: v for k, v in row.items() if k not in WHERE} for row in rows],
        metrics=metrics,
        stop_after=stop_after(winner),
        title=f"{config.label}, the best of the search {facts['name']} on {shown(data.name)}",
    )
    return metrics | {"out": str(out)}


def score(model: VGG6, images: LabelledImages, parts: ResidentData, runtime: Runtime) -> Evaluation:
    """Evaluate on images that are not resident, such as the test images."""
    # A copy: the decoded cache is a read-only memory map, and torch wants to own what it reads.
    x = torch.from_numpy(np.array(images.images)).to(runtime.device)
    y = torch.from_numpy(images.labels).to(runtime.device)
    return evaluate(model, x, y, parts.normalize, runtime)


def _weights_of(run: RunFolder, name: str, command: str) -> dict[str, Tensor]:
    if not run.exists(name):
        raise InputError("RUN", run.file(name), f"is not there; this makes it again: {command}")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "weights.safetensors"
        file.write_bytes(run.read(name))
        try:
            return load_weights(file)
        except DamagedCheckpoint as error:
            raise InputError("RUN", run.file(name), f"is damaged: {error}") from None
