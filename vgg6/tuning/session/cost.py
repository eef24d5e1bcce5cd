"""What a search will cost, from a few measured training steps, before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from search_spaces import Space
from search_spaces.unit_cube import suggest_at
from vgg6.architecture import count_flops, scaled_widths
from vgg6.config import TrialConfig
from vgg6.data import LabelledImages, TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.sharpness import is_sharpened
from vgg6.training import TrainState, fit
from vgg6.tuning.algorithms.early_stopping import expected_trials, trained_whole
from vgg6.tuning.settings import AUTO_TRIALS, Settings

PROBE_IMAGES = 256
SAMPLED = 64  # of a space's configurations


@dataclass(frozen=True)
class Estimate:
    """What a search will cost, from one measured step. Seconds, epochs, seconds; ``running``: about
    how many trials will run each epoch."""

    epoch_seconds: float
    epochs: float
    total_seconds: float
    running: list[float]


def estimate(
    settings: Settings,
    space: Space,
    data: TrialData,
    runtime: Runtime,
    trials: int,
    concurrent: int,
    *,
    added: int = 0,
) -> Estimate:
    """Cost of a search: seconds of a measured step, scaled to its expected epochs, of which
    sharpened ones count twice.

    Args:
        added: how many of the space's points a warm start added.
    """
    local = runtime if runtime.device == "cpu" else Runtime.resolve()
    configs = sampled_configs(space, settings.epochs)
    epoch = measure_epoch(data, local, typical_width(configs))
    running = expected_trials(
        settings.scheduler, epochs=settings.epochs, grace=settings.grace,
        reduction=settings.reduction, trials=trials,
        whole=trained_whole(space, settings.searcher, trials, added),
    )  # fmt: skip
    work = running.sum() + (running * sharpened_share(configs)).sum()
    seconds = float(epoch * work / min(concurrent, trials))
    return Estimate(epoch, float(running.sum()), seconds, running.tolist())


def sampled_configs(space: Space, epochs: int) -> list[TrialConfig]:
    """Configurations of a space that stand for all of them."""
    if space.points_only:
        points = [{**space.fixed, **point} for point in space.points]
    else:
        even = qmc.Sobol(len(space.names), rng=np.random.default_rng(0)).random(SAMPLED)
        points = [suggest_at(space, row) for row in even]
    return [TrialConfig.from_mapping({**point, "epochs": epochs}) for point in points]


def sharpened_share(configs: Sequence[TrialConfig]) -> npt.NDArray[np.float64]:
    """Of configurations of one length, those that sharpen each epoch, (epochs,)."""
    epochs = range(1, configs[0].epochs + 1)
    return np.mean([[is_sharpened(c, epoch) for c in configs] for epoch in epochs], axis=1)


def typical_width(configs: Sequence[TrialConfig]) -> float:
    """The width of the configuration whose network is nearest to their mean FLOPs."""
    flops = [count_flops(scaled_widths(c.width)) for c in configs]
    mean = np.mean(flops)
    return configs[int(np.argmin([abs(x - mean) for x in flops]))].width


def auto_trials(
    settings: Settings,
    space: Space,
    data: TrialData,
    runtime: Runtime,
    concurrent: int,
    limit: float,
) -> int:
    """As many trials as fit into about ``limit`` seconds, from 8 to 64."""
    most = int(AUTO_TRIALS.high)
    cost = estimate(settings, space, data, runtime, most, concurrent)
    return max(int(AUTO_TRIALS.low), min(most, int(most * limit / cost.total_seconds)))


def measure_epoch(data: TrialData, runtime: Runtime, width: float = 1.0) -> float:
    """Seconds of an epoch of a network of that width, from two steps and their share of
    validation, after a warm-up."""
    n = min(PROBE_IMAGES, len(data.train))
    part = replace(
        data,
        train=LabelledImages(data.train.images[:n], data.train.labels[:n]),
        val=LabelledImages(data.val.images[: max(1, n // 9)], data.val.labels[: max(1, n // 9)]),
        fingerprint=f"{data.fingerprint}-probe",
    )
    config = TrialConfig(activation="gelu", batch_size=128, width=width)
    state = TrainState(config, runtime, task=data.task)
    started = 0.0
    for metrics in fit(state, part, stop_after=2):
        if metrics.epoch == 1:
            started = time.perf_counter()
    return (time.perf_counter() - started) * len(data.train) / n
