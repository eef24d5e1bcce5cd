"""Claims: int8 is 3.5 times smaller and 1.5 times as fast as fp32 at 256 images, for 0.5 points of
accuracy at most. Half of the FLOPs can be pruned for 1 point at most.

    python -m benchmarks.compression                         # trains a network first
    python -m benchmarks.compression --package packed/       # of one's own

About half an hour on two quiet cores. Without ``--package`` a network is trained for ten epochs on
10,000 images of CIFAR-10 (SiLU, Nesterov, one cycle). That is not the best that VGG6 can reach.
CIFAR-10 is found as by ``tune_vgg6.py train``.

The variants are the network in fp32, and the network pruned of 30, 50, 70 and 85 % of its FLOPs.
The pruned ones are trained for ``--epochs`` (5) more on the same images. More training alone
changes a network, so one is trained as much without a cut. Each is run by onnxruntime in fp32 and
in int8.

Accuracy is of all test images, which no choice here sees: best epochs are chosen on the validation
images. The points lost are of pairs, image by image, with their standard error. Speed is the ratio
of the median times to the fp32 network's in onnxruntime. All variants, and fp32 in torch, are timed
in turns in one run (A B C A B C). The quartiles are those of the rounds' ratios.

How fast int8 is depends on the activation: onnxruntime has integer kernels for some only. The last
table compares fp32 and int8 of untrained networks for each, timed in turns too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.figures.compression import compression
from analysis.figures.figure_files import check_figure, write_figure
from analysis.packages import compressed_networks
from analysis.packages.package import check_package, read_package
from analysis.packages.train import epoch_line
from analysis.packages.weights import load_network
from benchmarks.machine import RESULTS, describe, write_result
from vgg6.architecture import count_flops, count_parameters
from vgg6.common.intervals import wilson
from vgg6.config import ACTIVATIONS, TrialConfig
from vgg6.data import (
    Array,
    Source,
    TrialData,
    image_facts,
    load_recorded,
    load_source,
    split,
)
from vgg6.evaluation import assess, logits_of
from vgg6.hardware.runtime import Runtime
from vgg6.hardware.speedup import speedup, time_in_turns
from vgg6.model import VGG6
from vgg6.network import Network
from vgg6.onnx_export.onnx_file import OnnxNetwork, channels_first, onnx_bytes
from vgg6.onnx_export.quantization import CALIBRATED_ON, quantize
from vgg6.pruning import finetuning, prune
from vgg6.run_record import EpochMetrics
from vgg6.training import train

CONFIG = TrialConfig(
    activation="silu", optimizer="nesterov", schedule="onecycle", lr=0.04, init="kaiming",
    weight_decay=5e-4, batch_size=64, epochs=10,
)  # fmt: skip
IMAGES = 10_000
BASE, TORCH = "fp32", "torch"


def train_one(data: str, images: int, threads: int) -> tuple[Source, TrialData, Network]:
    source = load_source(data)
    parts = split(source, limit_train=images)
    runtime = Runtime.resolve("cpu", threads=threads)
    network = train(CONFIG, parts, runtime, on_epoch=print_epochs("training", CONFIG.epochs))
    return source, parts, network


def from_package(folder: Path) -> tuple[Source, TrialData, Network]:
    check_package(folder)
    package = read_package(folder)
    source, parts = load_recorded(package.data)
    network = load_network(folder, package)
    if not isinstance(network, Network):
        sys.exit(f"{folder}: is compressed already")
    return source, parts, network


def print_epochs(what: str, epochs: int) -> Callable[[EpochMetrics], object]:
    return lambda metrics: print(f"{what}: {epoch_line(metrics, epochs)}", flush=True)


def variants(
    network: Network, source: Source, data: TrialData, sparsities: list[float], epochs: int
) -> dict[str, tuple[Network, bytes]]:
    """By name: the network in fp32, and its ONNX file in fp32 or int8."""
    networks = {BASE: network}
    if epochs:
        config = finetuning(network.config, epochs)
        networks["trained on"] = train(
            config,
            data,
            network.runtime,
            start=network,
            on_epoch=print_epochs("trained on", epochs),
        )
    for sparsity in sparsities:
        name = f"pruned {sparsity:.0%}"
        networks[name] = prune(
            network, data, sparsity=sparsity, epochs=epochs, on_epoch=print_epochs(name, epochs)
        )
    found = {}
    for name, made in networks.items():
        fp32 = onnx_bytes(made.config, made.weights, image_facts(source))
        found[name] = (made, fp32)
        int8 = quantize(fp32, data.train.images[:CALIBRATED_ON])
        found["int8" if name == BASE else f"{name}, int8"] = (made, int8)
    return found


def correct_images(network: OnnxNetwork, images: Array, labels: Array) -> Array:
    """Whether each image is classified as its label says."""
    return np.asarray(logits_of(network, images).argmax(1) == labels)


def timed(
    networks: Mapping[str, OnnxNetwork], plain: Network, images: Array, rounds: int
) -> dict[int, dict[str, list[float]]]:
    """Seconds by batch size and name, all in turns; ``torch`` is the plain network's in fp32."""
    found = {}
    for batch, times in ((1, 10), (compressed_networks.BATCH, 1)):
        some = np.resize(images, (batch, *images.shape[1:]))
        pixels = channels_first(some)
        calls: dict[str, Callable[[], object]] = {TORCH: partial(plain, some)}
        calls |= {name: partial(network.run, pixels) for name, network in networks.items()}
        found[batch] = time_in_turns(calls, rounds * times)
        print(f"timed {len(calls)} networks at {batch} images", flush=True)
    return found


def table(
    found: Mapping[str, tuple[Network, bytes]],
    source: Source,
    data: TrialData,
    rounds: int,
    threads: int,
) -> list[dict[str, Any]]:
    networks = {name: OnnxNetwork(content, threads) for name, (_, content) in found.items()}
    base, test = found[BASE][0], source.test
    plain = replace(base, runtime=Runtime(device="cpu", precision="fp32", threads=threads))
    times = timed(networks, plain, test.images, rounds)
    correct = {name: correct_images(n, test.images, test.labels) for name, n in networks.items()}
    rows = []
    for name, (network, content) in found.items():
        lost = correct[BASE].astype(float) - correct[name]
        accuracy = float(correct[name].mean())
        rows.append(
            {
                "name": name,
                "accuracy": accuracy,
                **{k: wilson(accuracy, len(test))[k] for k in ("low", "high")},
                "points_lost": 100 * float(lost.mean()),
                "points_lost_se": 100 * float(lost.std() / np.sqrt(len(lost))),
                "val_acc": assess(networks[name], data.val).accuracy,
                "bytes": len(content),
                "parameters": count_parameters(network.config, network.widths),
                "flops": count_flops(network.widths),
                "widths": list(network.widths),
                "speed": {batch: asdict(speedup(t, BASE, name)) for batch, t in times.items()},
                "over_torch": {
                    batch: asdict(speedup(t, TORCH, name)) for batch, t in times.items()
                },
            }
        )
    return rows


def by_activation(source: Source, rounds: int, threads: int) -> list[dict[str, Any]]:
    """How many times as fast int8 is as fp32 at 256 images, in onnxruntime."""
    rows = []
    for activation in ACTIVATIONS:
        torch.manual_seed(0)
        config = TrialConfig(activation=activation, init="kaiming")
        fp32 = onnx_bytes(config, VGG6(config).state_dict(), image_facts(source))
        int8 = quantize(fp32, source.train.images[:64])
        pixels = channels_first(source.test.images[: compressed_networks.BATCH])
        both = {"fp32": OnnxNetwork(fp32, threads), "int8": OnnxNetwork(int8, threads)}
        calls = {name: partial(network.run, pixels) for name, network in both.items()}
        found = speedup(time_in_turns(calls, rounds), "fp32", "int8")
        rows.append({"activation": activation, "smaller": len(fp32) / len(int8), **asdict(found)})
        print(f"{activation:12}{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})")
    return rows


def networks_of(rows: list[dict[str, Any]]) -> list[compressed_networks.CompressedNetwork]:
    """The rows as what the report draws; their accuracy is of test images."""
    names = ("name", "low", "high", "bytes", "flops")
    return [
        compressed_networks.CompressedNetwork(
            score=row["accuracy"],
            **{name: row[name] for name in names},
            speed={batch: speed["ratio"] for batch, speed in row["speed"].items()},
        )
        for row in rows
    ]


def show(rows: list[dict[str, Any]]) -> None:
    front = {network.name for network in compressed_networks.on_front(networks_of(rows))}
    base = next(row for row in rows if row["name"] == BASE)
    heading = f"batch {compressed_networks.BATCH}"
    print(f"\n{'':20}accuracy  lost (se)      smaller  FLOPs  {heading:22}batch 1  front")
    for row in rows:
        speed = row["speed"][compressed_networks.BATCH]
        lost = f"{row['points_lost']:+.2f} ({row['points_lost_se']:.2f})"
        print(
            f"{row['name']:20}{row['accuracy']:.4f}    {lost}"
            f"{base['bytes'] / row['bytes']:10.2f}{row['flops'] / base['flops']:8.0%}"
            f"  {speed['ratio']:5.2f} ({speed['low']:.2f} to {speed['high']:.2f})"
            f"{row['speed'][1]['ratio']:9.2f}  {'*' if row['name'] in front else ''}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, help="a package, in place of training one")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=int, default=IMAGES, help="that it is trained on")
    parser.add_argument("--sparsities", default="0.3,0.5,0.7,0.85")
    parser.add_argument("--epochs", type=int, default=5, help="after pruning")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2, help="of onnxruntime and torch")
    parser.add_argument("--figure", type=Path, default=RESULTS / "compression" / "front.html")
    args = parser.parse_args()
    check_figure("--figure", args.figure)
    machine = describe(threads=args.threads, onnxruntime=version("onnxruntime"))
    source, data, network = (
        from_package(args.package)
        if args.package
        else train_one(args.data, args.images, args.threads)
    )
    sparsities = [float(s) for s in args.sparsities.split(",")]
    found = variants(network, source, data, sparsities, args.epochs)
    rows = table(found, source, data, args.rounds, args.threads)
    show(rows)
    result = {
        "machine": machine, "config": network.config.to_dict(), "data": source.name,
        "train_images": len(data.train), "val_images": len(data.val),
        "test_images": len(source.test), "epochs": args.epochs, "rounds": args.rounds,
        "rows": rows, "by_activation": by_activation(source, args.rounds, args.threads),
    }  # fmt: skip
    write_result("compression", result)
    title = "Test accuracy of compressed networks against size and speed"
    write_figure(compression(networks_of(rows), "test accuracy"), args.figure, title)


if __name__ == "__main__":
    main()
