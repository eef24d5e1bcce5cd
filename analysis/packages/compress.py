"""Compress: a package's network made smaller, as a package of its own with before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from analysis.packages.compression_plan import INT8, PRUNE, Plan
from analysis.packages.package import check_package, read_package
from analysis.packages.package_files import DEMO, ONNX, WEIGHTS, check_out
from analysis.packages.package_metrics import CompressedMetrics, Interval, Side, Speed
from analysis.packages.package_schema import Compression, Package, Pruned, Quantized
from analysis.packages.package_writer import WrittenPackage, environment, write_package
from analysis.packages.scoring import data_here
from analysis.packages.train import epoch_line, score_facts
from analysis.packages.weights import load_network
from vgg6.architecture import Widths, count_flops, count_parameters
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.numbers_in_words import counted, interval_in_words
from vgg6.common.say import say
from vgg6.config import TrialConfig
from vgg6.data import ImageFacts, TrialData, load_recorded
from vgg6.evaluation import assess
from vgg6.hardware.runtime import Runtime
from vgg6.hardware.speedup import speedup, time_in_turns
from vgg6.metric import ACCURACY, Metric
from vgg6.network import Network
from vgg6.onnx_export.onnx_file import OnnxNetwork, channels_first, onnx_bytes, opset_of
from vgg6.onnx_export.onnx_versions import LOWEST, OPSETS
from vgg6.onnx_export.quantization import CALIBRATED_ON, quantize
from vgg6.pruning import check_prunable, prune
from vgg6.run_record import EpochMetrics

BATCHES = {1: 10, 256: 1}  # images at once: how many times as many rounds they are timed
BEFORE, AFTER, TORCH = "before", "after", "torch"


@dataclass(frozen=True)
class Compressed:
    """``network``: in fp32, pruned or not; ``onnx``: the result; ``epochs``: of the training after
    pruning."""

    network: Network
    onnx: bytes
    epochs: list[EpochMetrics]


@dataclass(frozen=True)
class CompressedPackage(WrittenPackage):
    """A package that was written, and what its compression cost and gained."""

    metrics: CompressedMetrics


def compress(folder: Path, out: Path, plan: Plan, data: str | None = None) -> CompressedPackage:
    """Make a package's network smaller and write it, with what it lost and gained, into ``out``.

    Args:
        data: where the package's images are, if not where they were.

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
    _, images = load_recorded(data_here(package.data, data))
    network = load_network(folder, package)
    assert isinstance(network, Network)
    before = (folder / ONNX).read_bytes()
    opset = opset_of(before)
    found = compress_network(
        network, images, package.data, plan, _say_epoch(plan, package.metric),
        opset=opset if opset in OPSETS else LOWEST, metric=package.metric,
    )  # fmt: skip
    widths = found.network.widths
    compression = Compression(
        source=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        prune=None
        if plan.sparsity is None
        else Pruned(sparsity=plan.sparsity, epochs=plan.epochs, widths=widths),
        int8=Quantized(images=min(CALIBRATED_ON, len(images.train))) if plan.quantizes else None,
    )
    threads = network.runtime.threads
    after = _side(OnnxNetwork(found.onnx, threads), images, network.config, widths)
    metrics = CompressedMetrics(
        data=images.name,
        val_acc=after.accuracy,
        val_acc_interval=Interval(**wilson(after.accuracy, len(images.val))),
        trained_val_acc=package.metrics.val_acc,
        best_epoch=package.metrics.best_epoch,
        epochs_run=len(package.history),
        confirmed=package.metrics.confirmed,
        before=_side(OnnxNetwork(before, threads), images, network.config, network.widths),
        after=after,
        speed=speeds(network, before, found.onnx, images, plan.rounds),
        threads=threads,
        onnxruntime=version("onnxruntime"),
        epochs_after_pruning=found.epochs or None,
        **score_facts(package.metric, package.metric.evaluated(after), package.data),
    )
    small = replace(
        package, compression=compression, metrics=metrics,
        environment=environment(package.runtime, package.environment.versions_of_search),
    )  # fmt: skip
    title = f"{package.config.label} on {images.name}, {compression.title}"
    demo = (folder / DEMO).is_file()
    write_package(out, small, found.network.weights, title, onnx=found.onnx, demo=demo)
    return CompressedPackage(str(out), metrics)


def compress_network(
    network: Network,
    data: TrialData,
    facts: ImageFacts,
    plan: Plan,
    on_epoch: Callable[[EpochMetrics], object] = lambda metrics: None,
    *,
    opset: int = LOWEST,
    metric: Metric = ACCURACY,
) -> Compressed:
    """What ``plan`` makes of a network. The same network, data and plan give the same bits.

    Args:
        opset: the version of ONNX's operators that it is written in.
        metric: the best epoch after pruning is chosen by.

    Raises:
        NonFiniteLoss: the training after pruning diverged.
    """
    epochs: list[EpochMetrics] = []

    def told(metrics: EpochMetrics) -> None:
        epochs.append(metrics)
        on_epoch(metrics)

    if plan.sparsity is not None:
        network = prune(
            network, data, sparsity=plan.sparsity, epochs=plan.epochs, on_epoch=told, metric=metric
        )
    content = onnx_bytes(network.config, network.weights, facts, opset)
    if plan.quantizes:
        content = quantize(content, data.train.images[:CALIBRATED_ON])
    return Compressed(network, content, epochs)


def compress_again(
    package: Package,
    weights: Mapping[str, Tensor],
    data: TrialData,
    runtime: Runtime,
    opset: int,
) -> Compressed:
    """What the compression that a package records makes of ``weights``, as training left them.
    ``opset``: of its ``model.onnx``.

    Raises:
        NonFiniteLoss: the training after pruning diverged.
    """
    assert package.compression is not None
    pruned = package.compression.prune
    plan = Plan(methods=[INT8]) if pruned is None else Plan(
        methods=[PRUNE] + [INT8] * package.quantized,
        sparsity=pruned.sparsity,
        epochs=pruned.epochs,
    )  # fmt: skip
    network = Network(package.config, weights, package.data.mean, package.data.std, runtime)
    return compress_network(network, data, package.data, plan, opset=opset, metric=package.metric)


def onnx_tensors(content: bytes) -> dict[str, Tensor]:
    """All tensors that a network in ONNX holds, by name."""
    graph = onnx.load_from_string(content).graph
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    return {f"model.onnx: {k}": torch.from_numpy(a.copy()) for k, a in arrays.items()}


def speeds(
    network: Network, before: bytes, after: bytes, data: TrialData, rounds: int
) -> list[Speed]:
    """How many times as fast onnxruntime runs ``after`` as it runs ``before``, and as torch runs
    ``network`` in fp32 (``over_torch``), all in one run and on as many threads."""
    threads = network.runtime.threads
    old, new = OnnxNetwork(before, threads), OnnxNetwork(after, threads)
    torch_fp32 = replace(network, runtime=replace(network.runtime, device="cpu", precision="fp32"))
    found = []
    for batch, times in BATCHES.items():
        images = np.resize(data.val.images, (batch, *data.val.images.shape[1:]))
        pixels = channels_first(images)
        seconds = time_in_turns(
            {
                BEFORE: partial(old.run, pixels),
                AFTER: partial(new.run, pixels),
                TORCH: partial(torch_fp32, images),
            },
            rounds * times,
        )
        faster = speedup(seconds, BEFORE, AFTER)
        over_torch = speedup(seconds, TORCH, AFTER).ratio
        found.append(Speed(batch=batch, **asdict(faster), over_torch=over_torch))
    return found


def _side(network: OnnxNetwork, data: TrialData, config: TrialConfig, widths: Widths) -> Side:
    scored = assess(network, data.val)
    return Side(
        accuracy=scored.accuracy,
        loss=scored.loss,
        bytes=len(network.content),
        parameters=count_parameters(config, widths, data.task),
        flops=count_flops(widths, data.task),
        balanced_accuracy=scored.balanced_accuracy,
    )


def _say_epoch(plan: Plan, metric: Metric) -> Callable[[EpochMetrics], object]:
    return lambda metrics: say(epoch_line(metrics, plan.epochs, metric))


def _points(lost: float) -> str:
    """Percentage points of accuracy, lost or gained."""
    return f"{abs(lost):.2f} points {'gained' if lost < 0 else 'lost'}"


def _times(ratio: float) -> str:
    """How much smaller, or larger: a small network's int8 file can be larger."""
    return f"{ratio:.2f} times smaller" if ratio >= 1 else f"{1 / ratio:.2f} times larger"


def _less(before: int, after: int) -> str:
    """``50% less``; int8 alone takes no operation away."""
    return f"{1 - after / before:.0%} less" if after != before else "as many"


def _chosen_by(metrics: CompressedMetrics) -> list[str]:
    """What it lost by the metric that it was chosen by, where that is not accuracy."""
    metric = metrics.measure
    if metric.is_accuracy:
        return []
    before, after = metric.evaluated(metrics.before), metric.evaluated(metrics.after)
    return [f"chosen by   {metric.label}: {before:.4f} -> {after:.4f}"]


def render(found: CompressedPackage) -> str:
    """The result for a person."""
    metrics = found.metrics
    before, after, interval = metrics.before, metrics.after, metrics.val_acc_interval
    assert interval is not None
    lost = 100 * (before.accuracy - after.accuracy)
    rows = [
        *_chosen_by(metrics),
        f"accuracy    {before.accuracy:.4f} -> {after.accuracy:.4f}, {_points(lost)}"
        f" (95 %, for so many images: {interval_in_words(interval.low, interval.high)})",
        f"size        {before.bytes:,} -> {after.bytes:,} bytes of model.onnx,"
        f" {_times(before.bytes / after.bytes)}",
        f"parameters  {before.parameters:,} -> {after.parameters:,}",
        f"FLOPs       {before.flops:,} -> {after.flops:,} an image,"
        f" {_less(before.flops, after.flops)}",
    ]
    for row in metrics.speed:
        rows.append(
            f"batch {row.batch:<6}{row.ratio:.2f} times as fast as fp32 in onnxruntime"
            f" (quartiles {row.low:.2f} to {row.high:.2f}), {row.over_torch:.2f} times as torch in"
            f" fp32; {counted(metrics.threads, 'thread')}"
        )
    return "\n".join([*rows, f"saved in {found.out}"])
