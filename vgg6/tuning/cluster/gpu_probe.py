"""The probe of ``gpus_per_trial=auto``: how many trials train most together on a GPU.

It measures one idle GPU of each kind in the cluster, with the largest batches of the space. What it
found is remembered on the driver's machine, by device and torch version.
"""

from __future__ import annotations

import socket
from typing import Any

import ray
import torch
from ray.exceptions import GetTimeoutError, RayTaskError

from search_spaces import Space
from vgg6.common.checks import InputError
from vgg6.common.say import say
from vgg6.config import TrialConfig
from vgg6.hardware.measurements import recall, remember, remembered
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.cluster.allotment import kinds
from vgg6.tuning.cluster.gpu_sharing import (
    SHARED,
    SharedSpeeds,
    measure_shared_speeds,
    measurement_key,
)

KEY = "gpus_per_trial"
PATIENCE_S = 600.0  # for a whole GPU to be free, and measured


def hungriest(space: Space) -> TrialConfig:
    """A configuration with the largest batches and the widest network that the space has, and an
    activation and an optimizer that keep most in memory. Small steps: what it learns does not
    matter."""
    return TrialConfig(
        activation="gelu", optimizer="adam", lr=1e-5, epochs=10_000,
        batch_size=int(_largest(space, "batch_size")), width=_largest(space, "width"),
    )  # fmt: skip


def _largest(space: Space, name: str) -> float:
    """The largest value that a space has of a number."""
    varied = [p for p in space.parameters if p.name == name]
    values = [value for p in varied for value in (p.choices or (p.high,)) if value is not None]
    return float(max(values, default=space.fixed.get(name, getattr(TrialConfig, name))))


def probe_here(
    runtime: Runtime, config: TrialConfig, images: int, nodes: list[dict[str, float]]
) -> list[SharedSpeeds]:
    """Measure this machine's first device, or remember what was found on it."""
    key = measurement_key(runtime, config, images)
    known = recall(key)
    if known is None:
        say("measuring how many trials train most on a GPU: once, then it is known")
        known = measure_shared_speeds(runtime, config, images, _most(nodes[:1])).to_dict()
        remember(key, known)
    return [SharedSpeeds.from_dict(known)]


def probe_each(
    runtime: Runtime, config: TrialConfig, images: int, nodes: list[dict[str, float]]
) -> list[SharedSpeeds]:
    """Measure one GPU of each kind that these nodes have, at the same time; or remember it.

    Raises:
        InputError: torch sees no GPU where the cluster counts one, or none is free in ten minutes.
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    by_kind = {" or ".join(kinds([node])): node for node in reversed(with_gpu)}
    say("how many trials train most on a GPU is measured now, if it is not known yet")
    answers = []
    for _, node in sorted(by_kind.items()):
        place = next(key for key in node if key.startswith("node:") and "internal" not in key)
        task = _measure.options(resources={place: 0.001})  # type: ignore[attr-defined]
        answers.append(task.remote(runtime, config, images, _most([node]), remembered(SHARED)))
    try:
        found = dict(ray.get(answers, timeout=PATIENCE_S))
    except GetTimeoutError:
        for answer in answers:
            ray.cancel(answer, force=True)
        rule = f"found no whole idle GPU to measure in {PATIENCE_S:.0f} s: give a fraction"
        raise InputError(KEY, "auto", rule) from None
    except RayTaskError as error:
        raise InputError(KEY, "auto", f"could not be measured: {error.cause}") from None
    for key, speeds in found.items():
        remember(key, speeds)
    return [SharedSpeeds.from_dict(speeds) for speeds in found.values()]


@ray.remote(num_gpus=1, num_cpus=0, max_retries=0)
def _measure(
    runtime: Runtime, config: TrialConfig, images: int, most: int, known: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """What is known of the GPU that Ray gave this process, or is measured now; with its key."""
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"torch sees no CUDA GPU on {socket.gethostname()}, where Ray counts one. Trials on the"
            " CPU can hold a fraction: `device` cpu with `gpus_per_trial` 0.25"
        )
    key = measurement_key(runtime, config, images)
    found = known.get(key) or measure_shared_speeds(runtime, config, images, most).to_dict()
    return key, found


def _most(nodes: list[dict[str, float]]) -> int:
    """Trials that the nodes' CPUs allow on one GPU, one CPU each."""
    return max(1, int(min(node.get("CPU", 1) // max(1, node.get("GPU", 1)) for node in nodes)))
