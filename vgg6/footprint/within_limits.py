"""What the network of a configuration takes, by the kinds of limits that there are."""

from __future__ import annotations

from vgg6.architecture import count_parameters
from vgg6.config import TrialConfig
from vgg6.footprint.int8_size import int8_bytes
from vgg6.footprint.latency import latency
from vgg6.footprint.limits import PARAMETERS, SIZE, Limit
from vgg6.run_record import ImageFacts


def taken(kind: str, config: TrialConfig, images: ImageFacts) -> float:
    """A figure that the network stays within: its parameters exactly, its size from above, and of
    its times the upper quartile."""
    if kind == PARAMETERS:
        return count_parameters(config, task=images.task)
    if kind == SIZE:
        return int8_bytes(config, images)
    return latency(config, images).high


def fits(limits: list[Limit], config: TrialConfig, images: ImageFacts) -> bool:
    """Whether the network of ``config`` is within all of ``limits``."""
    return all(taken(limit.kind, config, images) <= limit.most for limit in limits)
