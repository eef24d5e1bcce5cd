"""Claim: on 2 CPU threads a trial trains on images at least 4 times as fast as the plain loop.

    python -m benchmarks.speed.throughput  # the study's five activations
    python -m benchmarks.speed.throughput --activations relu,gelu --pairs 3

About half a minute for each pair of each activation on two cores. CIFAR-10 is found as by
``tune_vgg6.py train`` (``$CIFAR10_DIR``, else ``data/``).

The plain loop is the one of PyTorch's tutorials: PIL images, torchvision transforms, a DataLoader
with two workers, fp32, NCHW, an nn.Sequential with each activation before its pooling, and two
``.item()`` a step. Ours is ``vgg6.training.fit`` in the precision that it picks on this machine.

Both sides train one whole epoch on the same images: batch 128, SGD with momentum. Neither's
validation counts. The plain loop has none, and its time includes starting its workers, as in each
epoch of a real run. Ours is the epoch as ``fit`` reports it, less its call of ``evaluate``, timed
from outside: all else that an epoch does stays in. The whole epoch, with a validation set of a
ninth as many images, is printed beside it.

Each side warms up with one epoch. Then they take turns, and each pair gives one ratio. The kernel
floor is the time of the bare convolutions and linear layers, forward and backward, at VGG6's shapes
in our precision and layout. It is measured before each pair. No loop on these kernels can be
faster. ``aug+val`` is the part of the whole epoch that validation and augmentation, measured alone,
take.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import vgg6.training
from benchmarks.machine import describe, write_result
from vgg6.architecture import HIDDEN, LAYOUT
from vgg6.augment import epoch_batches
from vgg6.config import TrialConfig
from vgg6.data import LabelledImages, TrialData, load_source, split
from vgg6.evaluation import Evaluation
from vgg6.hardware.runtime import Runtime, resident
from vgg6.model import ACTIVATIONS
from vgg6.training import TrainState, fit

STUDY = "relu,sigmoid,tanh,silu,gelu"
BATCH = 128


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's data sets give them: PIL, transformed one by one."""

    def __init__(self, part: LabelledImages, data: TrialData) -> None:
        self.part = part
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.part.images[index])
        return self.transform(image), int(self.part.labels[index])


def plain_model(activation: str) -> nn.Sequential:
    act = ACTIVATIONS[activation][0]
    layers: list[nn.Module] = []
    for inputs, outputs, pooled in LAYOUT:
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), act()]
        layers += [nn.MaxPool2d(2)] if pooled else []
    layers += [nn.Flatten(), nn.Linear(4096, HIDDEN), act(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, 10))


def plain_epochs(activation: str, data: TrialData) -> Iterator[float]:
    """Seconds of each epoch of the plain loop, for as long as it is asked."""
    loader = DataLoader(PlainImages(data.train, data), BATCH, shuffle=True, num_workers=2)
    torch.manual_seed(0)
    model = plain_model(activation)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    while True:
        started = time.perf_counter()
        model.train()
        loss_sum, correct = 0.0, 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        yield time.perf_counter() - started


def our_epochs(activation: str, data: TrialData, runtime: Runtime) -> Iterator[tuple[float, float]]:
    """Seconds of each epoch of ``fit``: without its validation, and whole."""
    outside = 0.0
    evaluate = vgg6.training.evaluate

    def timed(*arguments: Any) -> Evaluation:
        nonlocal outside
        started = time.perf_counter()
        score = evaluate(*arguments)
        outside += time.perf_counter() - started
        return score

    vgg6.training.evaluate = timed  # type: ignore[assignment]
    try:
        config = TrialConfig(activation=activation, batch_size=BATCH, epochs=10_000)
        for metrics in fit(TrainState(config, runtime), data):
            yield metrics.seconds - outside, metrics.seconds
            outside = 0.0
    finally:
        vgg6.training.evaluate = evaluate


def augmentations(data: TrialData, runtime: Runtime) -> Iterator[float]:
    """Seconds of an epoch's shuffling, cropping, flipping and normalising alone."""
    parts = resident(data, "cpu")
    for epoch in count(1):
        runtime.apply()
        started = time.perf_counter()
        for images, _ in epoch_batches(
            parts.train_images, parts.train_labels, BATCH, seed=0, epoch=epoch, flip=parts.flip
        ):
            parts.normalize(images)
        yield time.perf_counter() - started


def kernel_floors(runtime: Runtime, passes: int) -> Iterator[float]:
    """Images a second of the bare layers, forward and backward, in ``runtime``'s precision: the
    median of so many ``passes``, measured each time it is asked."""
    dtype = torch.bfloat16 if runtime.precision == "bf16" else torch.float32
    layer: nn.Module
    layers: list[tuple[nn.Module, Tensor, Tensor]] = []
    side = 32
    for inputs, outputs, pooled in LAYOUT:
        x = torch.randn(BATCH, inputs, side, side)
        x = x.to(dtype=dtype, memory_format=torch.channels_last)
        layer = nn.Conv2d(inputs, outputs, 3, padding=1)
        layer.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x.requires_grad_(inputs != 3)  # nothing asks for the gradient of the images
        layers.append((layer, x, torch.randn_like(layer(x))))
        side //= 2 if pooled else 1
    for inputs, outputs in ((4096, HIDDEN), (HIDDEN, 10)):
        x = torch.randn(BATCH, inputs, dtype=dtype, requires_grad=True)
        layers.append(
            (nn.Linear(inputs, outputs).to(dtype), x, torch.randn(BATCH, outputs).to(dtype))
        )
    while True:
        times = []
        for _ in range(passes):
            started = time.perf_counter()
            for layer, x, gradient in layers:
                wanted = [*layer.parameters(), *([x] if x.requires_grad else [])]
                torch.autograd.grad(layer(x), wanted, gradient)
            times.append(time.perf_counter() - started)
        yield BATCH / statistics.median(times)


def measure(
    activation: str, data: TrialData, runtime: Runtime, pairs: int, kernel_passes: int
) -> dict[str, Any]:
    """Images a second of both sides, taking turns after a warm-up epoch of each."""
    n = len(data.train)
    ours, plain = our_epochs(activation, data, runtime), plain_epochs(activation, data)
    floors, augments = kernel_floors(runtime, kernel_passes), augmentations(data, runtime)
    names = ("ours", "ours_whole", "plain", "floor", "beside")
    samples: dict[str, list[float]] = {name: [] for name in names}
    for pair in range(pairs + 1):
        floor, augment = next(floors), next(augments)
        training, whole = next(ours)
        tutorial = next(plain)
        if pair:
            samples["floor"].append(floor)
            samples["beside"].append((augment + whole - training) / whole)
            samples["ours"].append(n / training)
            samples["ours_whole"].append(n / whole)
            samples["plain"].append(n / tutorial)
    ours.close()  # type: ignore[attr-defined]
    ratios = [a / b for a, b in zip(samples["ours"], samples["plain"], strict=True)]
    of_floor = [a / b for a, b in zip(samples["ours"], samples["floor"], strict=True)]
    return {
        "activation": activation,
        "of_floor": statistics.median(of_floor),
        "beside": statistics.median(samples["beside"]),
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "images_per_second": {
            name: statistics.median(s) for name, s in samples.items() if name != "beside"
        },
        "samples": samples,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=2560, help="training images an epoch")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--activations", default=STUDY)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kernel-passes", type=int, default=6, help="over the bare layers")
    parser.add_argument("--data", default="cifar10")
    arguments = parser.parse_args()

    runtime = Runtime.resolve("cpu", threads=arguments.threads)
    runtime.apply()
    data = split(load_source(arguments.data), limit_train=arguments.images)
    facts = describe(
        torchvision=torchvision.__version__, precision=runtime.precision, threads=runtime.threads,
        data=data.name, images=len(data.train),
    )  # fmt: skip
    head = "activation   plain    ours  ours+val   floor  of floor  aug+val   ratio (min to max)"
    print(f"\n{head}", flush=True)
    rows = []
    for activation in arguments.activations.split(","):
        row = measure(activation, data, runtime, arguments.pairs, arguments.kernel_passes)
        rows.append(row)
        speed, ratio = row["images_per_second"], row["ratio"]
        print(
            f"{activation:10}{speed['plain']:8.0f}{speed['ours']:8.0f}{speed['ours_whole']:10.0f}"
            f"{speed['floor']:8.0f}{row['of_floor']:10.0%}{row['beside']:9.1%}{ratio['median']:8.2f}"
            f" ({ratio['min']:.2f} to {ratio['max']:.2f})",
            flush=True,
        )
    kernels = [r["images_per_second"]["floor"] / r["images_per_second"]["plain"] for r in rows]
    print(f"\nthe bare kernels: {min(kernels):.2f} to {max(kernels):.2f} times the plain loop")
    low = min(row["ratio"]["median"] for row in rows)
    print(f"the claim of 4 times {'holds' if low >= 4 else 'does NOT hold'} here: {low:.2f}")
    result = {"machine": facts, "pairs": arguments.pairs, "rows": rows}
    write_result("throughput", result)


if __name__ == "__main__":
    main()
