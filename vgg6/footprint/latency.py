"""How long a network takes for one image in onnxruntime on this machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from vgg6.common.machine import cpu_model, usable_cpus
from vgg6.config import TrialConfig
from vgg6.hardware.measurements import recall, remember
from vgg6.model import VGG6
from vgg6.onnx_export.onnx_file import OnnxNetwork, onnx_bytes
from vgg6.run_record import ImageFacts

WARM_UP, ROUNDS = 20, 101


@dataclass(frozen=True)
class Latency:
    """Seconds for one image: the median of single calls, and their quartiles."""

    median: float
    low: float
    high: float


def measure_file(content: bytes, images: ImageFacts) -> Latency:
    """Time an ONNX file on one image at a time, on as many threads as this process may use."""
    network, side = OnnxNetwork(content), images.image_size
    image = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), dtype=np.uint8)
    seconds = []
    for _ in range(WARM_UP + ROUNDS):
        started = time.perf_counter()
        network.run(image)
        seconds.append(time.perf_counter() - started)
    low, median, high = statistics.quantiles(seconds[WARM_UP:], n=4)
    return Latency(median, low, high)


def latency(config: TrialConfig, images: ImageFacts) -> Latency:
    """Time the network of ``config``, whose weights do not matter; or remember it.

    Only the width, the activation and the normalisation make a difference.
    """
    shape = TrialConfig(activation=config.activation, norm=config.norm, width=config.width)
    key = _key(shape, images)
    known: dict[str, Any] | None = recall(key)
    if known is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            weights = VGG6(shape, images.task).state_dict()
            content = onnx_bytes(shape, weights, images)
        known = asdict(measure_file(content, images))
        remember(key, known)
    return Latency(**known)


def _key(shape: TrialConfig, images: ImageFacts) -> str:
    import onnxruntime

    return (
        f"latency of one image, {cpu_model()}, {usable_cpus()} threads, onnxruntime"
        f" {onnxruntime.__version__}, {len(images.classes)} classes, {images.image_size} pixels,"
        f" {shape.activation},"
        f" {shape.norm}, width {shape.width:.6g}"
    )
