"""Verify: does a package give its numbers again, from what is in it alone?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from analysis.packages.compress import compress_again, onnx_tensors
from analysis.packages.package import check_package, read_package
from analysis.packages.package_files import CONFIG, METRICS
from analysis.packages.package_metrics import CompressedMetrics
from analysis.packages.package_schema import Package
from analysis.packages.package_writer import machine
from analysis.packages.scoring import data_here, recorded_runtime
from analysis.packages.train import epoch_line, progress_bar
from analysis.packages.weights import load_network, package_weights
from analysis.verification.comparison import BOUND, compare_score, first_difference
from analysis.verification.quick_check import compare_scores
from analysis.verification.verdict import BIT_IDENTICAL, NOT_REPRODUCED, WITHIN, Verified
from vgg6.common.checks import InputError
from vgg6.common.machine import usable_cpus
from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.data import TrialData, load_recorded
from vgg6.evaluation import assess
from vgg6.hardware.runtime import Runtime, native_bf16
from vgg6.network import Network
from vgg6.onnx_export.onnx_file import OnnxNetwork, opset_of
from vgg6.run_record import EpochMetrics
from vgg6.training import NonFiniteLoss, TrainState, fit


def verify(folder: Path, *, quick: bool = False, data: str | None = None) -> Verified:
    """Check a package's files, then run it again and compare.

    Args:
        quick: only score the packed weights on the recorded images.
        data: where the images are, if not where they were.

    Raises:
        InputError: a file is missing, altered or not what it should be, by its name; or the data
            is not here, or other data.
    """
    check_package(folder)
    package = read_package(folder)
    network = load_network(folder, package)
    weights = (
        {}
        if package.quantized
        else package_weights(folder, package.config, package.widths, package.data.task)
    )
    _check_consistent(folder, package)
    source, images = load_recorded(data_here(package.data, data))
    runtime = recorded_runtime(package.runtime)
    started = time.perf_counter()
    differs = differences(package, runtime)
    for line in differs:
        say(f"note: {line}")
    if quick:
        found = compare_scores(package, network, images, source.test)
    else:
        found = compare_runs(package, network, weights, images, runtime)
    seconds = round(time.perf_counter() - started, 1)
    found = replace(found, package=str(folder), metric=package.metric)
    return replace(found, differs=differs, seconds=seconds)


def compare_runs(
    package: Package,
    network: Network | OnnxNetwork,
    weights: Mapping[str, Tensor],
    data: TrialData,
    runtime: Runtime,
) -> Verified:
    """Train the package's configuration again, compress it as the package was, and compare every
    value with the recorded one.

    Args:
        weights: the package's, none where they are int8.
    """
    metric = package.metric
    state = TrainState(package.config, runtime, task=data.task, metric=metric)
    length = package.stop_after or package.config.epochs
    history: list[EpochMetrics] = []
    say(f"training {package.config.label} again: {counted(length, 'epoch')} on {data.name}")
    try:
        with progress_bar() as bar:
            task = bar.add_task("verifying", total=length)
            for metrics in fit(state, data, stop_after=package.stop_after):
                history.append(metrics)
                bar.update(task, completed=metrics.epoch)
                say(epoch_line(metrics, length, metric))
        first = first_difference(package.history, history)
        again, score_again, tensors = state.best.weights, state.best.score, dict(weights)
        if isinstance(network, OnnxNetwork):
            assert isinstance(package.metrics, CompressedMetrics)
            small = compress_again(package, again, data, runtime, opset_of(network.content))
            after_pruning = package.metrics.epochs_after_pruning or []
            first = first or first_difference(after_pruning, small.epochs)
            scored = assess(OnnxNetwork(small.onnx, runtime.threads), data.val)
            score_again = metric.evaluated(scored)
            again = onnx_tensors(small.onnx) | ({k: small.network.weights[k] for k in weights})
            tensors |= onnx_tensors(network.content)
    except NonFiniteLoss as error:
        return Verified(NOT_REPRODUCED, str(error))
    differing = [
        name for name in tensors.keys() | again.keys()
        if name not in again or name not in tensors or not _same_bits(tensors[name], again[name])
    ]  # fmt: skip
    if not differing and first is None:
        epochs = counted(len(history), "epoch")
        why = f"all {len(tensors)} tensors and every value of {epochs} are the same"
        return Verified(BIT_IDENTICAL, why)
    images = metric.images_behind(len(data.val), package.data.val_by_class)
    compared = compare_score(package.metrics, score_again, images)
    return Verified(
        WITHIN if compared.sds <= BOUND else NOT_REPRODUCED,
        f"{metric.label} {compared.recorded:.4f} recorded, {compared.again:.4f} now:"
        f" {compared.sds:.2f} standard deviations of a difference between two runs"
        f" ({compared.sd_of_difference:.4f}, from {compared.sd_from}); the bound is {BOUND:g}",
        score=compared,
        tensors_differing=len(differing),
        first_difference=first,
    )


def differences(package: Package, runtime: Runtime) -> list[str]:
    """How this machine is not the one that trained the package, each as a sentence's worth."""
    recorded, here = package.environment, machine()
    found = []
    asked = package.runtime
    if runtime.to_dict() != asked.to_dict():
        found.append(
            f"trained on {asked.device}, of which there is none here:"
            f" {runtime}, {counted(runtime.threads, 'thread')} here"
        )
    cpus = usable_cpus()
    if runtime.device == "cpu" and runtime.threads > cpus:
        found.append(f"{runtime.threads} threads share this machine's {counted(cpus, 'CPU')}")
    if (runtime.device, runtime.precision) == ("cpu", "bf16") and not native_bf16():
        found.append("this CPU has no bf16 of its own: it is emulated, slowly, and may round apart")
    for name in ("cpu", "instructions", "gpus"):
        if getattr(recorded, name) != getattr(here, name):
            found.append(f"{name}: packed on {getattr(recorded, name)}, here {getattr(here, name)}")
    versions = recorded.versions_of_search or recorded.versions
    for name in ("torch", "numpy"):
        if name in versions and versions[name] != here.versions[name]:
            found.append(f"{name} {versions[name]} recorded, {here.versions[name]} here")
    return found


def _check_consistent(folder: Path, package: Package) -> None:
    """A package whose own files contradict each other cannot be compared with anything."""
    length, metrics = package.stop_after or package.config.epochs, package.metrics
    if [row.epoch for row in package.history] != list(range(1, length + 1)):
        raise InputError(
            "package", str(folder / CONFIG), f"promises {counted(length, 'epoch')}, history has not"
        )
    metric = package.metric
    best = max(package.history, key=lambda row: metric.gain(metric.of(row)))
    trained = metrics.trained_val_acc if isinstance(metrics, CompressedMetrics) else metrics.val_acc
    if (trained, metrics.best_epoch) != (best.val_acc, best.epoch):
        rule = (
            f"says {trained} at epoch {metrics.best_epoch}; history {best.val_acc} at {best.epoch}"
        )
        raise InputError("package", str(folder / METRICS), rule)
    is_compressed, score = isinstance(metrics, CompressedMetrics), metric.of(best)
    if not (metric.is_accuracy or is_compressed or metrics.score == score):
        rule = f"says {metrics.score} at epoch {best.epoch}; history {score}"
        raise InputError("package", str(folder / METRICS), rule)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    a, b = (t.detach().cpu().contiguous() for t in (a, b))
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
