"""Whether a packed network is within what its search allowed: looked up in the files themselves."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.packages.package_metrics import KeptLimit
from vgg6.data import Array
from vgg6.footprint.latency import Latency, measure_file
from vgg6.footprint.limits import PARAMETERS, SIZE, Limit
from vgg6.network import Network
from vgg6.onnx_export.quantization import quantize
from vgg6.run_record import ImageFacts

CALIBRATED_ON = 64  # images: the size of an int8 file does not depend on them
TRIES = 3  # a time that is too long is measured again: other work comes and goes


def check_limits(
    limits: Sequence[Limit], network: Network, onnx: bytes, facts: ImageFacts, images: Array
) -> list[KeptLimit]:
    """What a network takes of each limit: its weights' numbers, its int8 file's bytes, its
    ``model.onnx``'s time for one image here.

    Args:
        onnx: the content of ``model.onnx``.
        images: uint8 (N, H, W, 3), to quantise with.
    """
    found = []
    for limit in limits:
        low = high = None
        if limit.kind == PARAMETERS:
            taken: float = sum(p.numel() for p in network.module().parameters())
        elif limit.kind == SIZE:
            taken = len(quantize(onnx, images[:CALIBRATED_ON]))
        else:
            times: list[Latency] = []
            while len(times) < TRIES and not any(t.median <= limit.most for t in times):
                times.append(measure_file(onnx, facts))
            best = min(times, key=lambda t: t.median)
            taken, low, high = best.median, best.low, best.high
        found.append(KeptLimit(kind=limit.kind, most=limit.most, found=taken, low=low, high=high))
    return found
