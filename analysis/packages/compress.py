"""Compress: a package's network made smaller, as a package of its own with before and after."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from analysis.packages.compression_card import in_words
from analysis.packages.compression_plan import Plan
from analysis.packages.latency import in_turns, speedup
from analysis.packages.package import (
    ONNX,
    WEIGHTS,
    check_out,
    check_package,
    load_network,
    read_package,
    write_package,
)
from analysis.packages.scoring import located
from analysis.packages.train import epoch_line
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.data import DataFacts, ImageFacts, TrialData, load_recorded
from vgg6.evaluation import assess
from vgg6.model import Widths, count_flops, count_parameters
from vgg6.network import Network
from vgg6.onnx_file import OnnxNetwork, channels_first, onnx_bytes
from vgg6.pruning import check_prunable, prune
from vgg6.quantization import CALIBRATED_ON, quantize
from vgg6.run_record import EpochMetrics

BATCHES = {1: 10, 256: 1}  # images at once: how many times as many rounds they are timed
BEFORE, AFTER, TORCH = "before", "after", "torch"


@dataclass(frozen=True)
class Compressed:
    """``network``: in fp32, pruned or not; ``onnx``: the result; ``epochs``: of the training after
    pruning."""

    network: Network
    onnx: bytes
    epochs: list[dict[str, Any]]


def compress(folder: Path, out: Path, plan: Plan, data: str | None = None) -> dict[str, Any]:
    """Make a package's network smaller and write it, with what it lost and gained, into ``out``.

    Args:
        data: where the package's images are, if not where they were (as ``data``).

    Returns:
        the new package's metrics and, as ``out``, its folder.

    Raises:
        InputError: the package, its data or ``out`` are not what they must be, or the package is
            compressed already.
        NonFiniteLoss: the training after pruning diverged; nothing is written.
    """
    check_out(out)
    check_package(folder)
    package = read_package(folder)
    if package.compression is not None:
        rule = "is compressed already: compress the package that it was made from"
        raise InputError("package", str(folder), rule)
    if plan.sparsity is not None:
        check_prunable(package.config, plan.sparsity)
    _, images = load_recorded(read_record(DataFacts, located(package.data, data)))
    network = load_network(folder, package)
    assert isinstance(network, Network)
    found = made_smaller(network, images, package.data, plan, _say_epoch(plan))
    widths = found.network.widths
    compression = {
        "source": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "prune": {"sparsity": plan.sparsity, "epochs": plan.epochs, "widths": list(widths)}
        if plan.prunes
        else None,
        "int8": {"images": min(CALIBRATED_ON, len(images.train))} if plan.quantizes else None,
    }
    threads, before = network.runtime.threads, (folder / ONNX).read_bytes()
    sides = {
        BEFORE: _side(OnnxNetwork(before, threads), images, network.config, network.widths),
        AFTER: _side(OnnxNetwork(found.onnx, threads), images, network.config, widths),
    }
    accuracy = sides[AFTER]["accuracy"]
    metrics = {
        "data": images.name,
        "val_acc": accuracy,
        "val_acc_interval": wilson(accuracy, len(images.val)),
        "trained_val_acc": package.metrics["val_acc"],
        "best_epoch": package.metrics["best_epoch"],
        "epochs_run": len(package.history),
        "confirmed": package.metrics.get("confirmed"),
        **sides,
        "speed": speeds(network, before, found.onnx, images, plan.rounds),
        "threads": threads,
        "onnxruntime": onnxruntime.__version__,
        "epochs_after_pruning": found.epochs or None,
    }
    write_package(
        out,
        config=package.config,
        runtime=package.runtime,
        data=package.data,
        weights=found.network.weights,
        history=package.history,
        metrics=metrics,
        stop_after=package.stop_after,
        title=f"{package.config.label} on {images.name}, {in_words(compression)}",
        versions=package.environment.get("versions_of_search"),
        compression=compression,
        onnx=found.onnx,
    )
    return metrics | {"out": str(out)}


def made_smaller(
    network: Network,
    data: TrialData,
    facts: Mapping[str, Any],
    plan: Plan,
    on_epoch: Callable[[EpochMetrics], object] = lambda metrics: None,
) -> Compressed:
    """What ``plan`` makes of a network. The same network, data and plan give the same bits.

    Args:
        facts: what ``data_facts`` recorded of the data.

    Raises:
        NonFiniteLoss: the training after pruning diverged.
    """
    epochs: list[dict[str, Any]] = []

    def told(metrics: EpochMetrics) -> None:
        epochs.append(metrics.to_dict())
        on_epoch(metrics)

    if plan.sparsity is not None:
        network = prune(network, data, sparsity=plan.sparsity, epochs=plan.epochs, on_epoch=told)
    content = onnx_bytes(network.config, network.weights, read_record(ImageFacts, facts))
    if plan.quantizes:
        content = quantize(content, data.train.images[:CALIBRATED_ON])
    return Compressed(network, content, epochs)


def speeds(
    network: Network, before: bytes, after: bytes, data: TrialData, rounds: int
) -> list[dict[str, Any]]:
    """How many times as fast onnxruntime runs ``after`` as it runs ``before``, and as torch runs
    ``network`` in fp32 (``over_torch``), all in one run and on as many threads."""
    threads = network.runtime.threads
    old, new = OnnxNetwork(before, threads), OnnxNetwork(after, threads)
    torch_fp32 = replace(network, runtime=replace(network.runtime, device="cpu", precision="fp32"))
    found = []
    for batch, times in BATCHES.items():
        images = np.resize(data.val.images, (batch, *data.val.images.shape[1:]))
        pixels = channels_first(images)
        seconds = in_turns(
            {
                BEFORE: partial(old.run, pixels),
                AFTER: partial(new.run, pixels),
                TORCH: partial(torch_fp32, images),
            },
            rounds * times,
        )
        over_torch = speedup(seconds, TORCH, AFTER)["ratio"]
        found.append({"batch": batch, **speedup(seconds, BEFORE, AFTER), "over_torch": over_torch})
    return found


def _side(
    network: OnnxNetwork, data: TrialData, config: TrialConfig, widths: Widths
) -> dict[str, Any]:
    scored = assess(network, data.val)
    return {
        "accuracy": scored.accuracy,
        "loss": scored.loss,
        "bytes": len(network.content),
        "parameters": count_parameters(config, widths),
        "flops": count_flops(widths),
    }


def _say_epoch(plan: Plan) -> Callable[[EpochMetrics], object]:
    def say(metrics: EpochMetrics) -> None:
        print(epoch_line(metrics, plan.epochs), file=sys.stderr, flush=True)

    return say


def render(found: dict[str, Any]) -> str:
    """The result for a person."""
    before, after = found[BEFORE], found[AFTER]
    lost = 100 * (before["accuracy"] - after["accuracy"])
    interval = found["val_acc_interval"]
    rows = [
        f"accuracy    {before['accuracy']:.4f} -> {after['accuracy']:.4f}, {lost:+.2f} points lost"
        f" (95 % of chance in the images: {interval['low']:.4f} to {interval['high']:.4f})",
        f"size        {before['bytes']:,} -> {after['bytes']:,} bytes of model.onnx,"
        f" {before['bytes'] / after['bytes']:.2f} times smaller",
        f"parameters  {before['parameters']:,} -> {after['parameters']:,}",
        f"FLOPs       {before['flops']:,} -> {after['flops']:,} an image,"
        f" {1 - after['flops'] / before['flops']:.0%} less",
    ]
    for row in found["speed"]:
        rows.append(
            f"batch {row['batch']:<6}{row['ratio']:.2f} times as fast as fp32 in onnxruntime"
            f" ({row['low']:.2f} to {row['high']:.2f}), {row['over_torch']:.2f} times as torch in"
            f" fp32; {found['threads']} threads"
        )
    return "\n".join([*rows, f"saved in {found['out']}"])
