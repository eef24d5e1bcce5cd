"""CPUs and GPU fractions of a trial: how many trials fit, and refusing what never fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vgg6.calibration import best_threads, in_words
from vgg6.config import InputError
from vgg6.tuning.settings import Settings

# VGG6 leaves most of a large GPU idle: trials that share it keep it busy.
DEFAULT_GPU_FRACTION = 0.25


@dataclass(frozen=True)
class Allotment:
    """What one trial gets and how many run at once; ``why`` says it for the plan, and ``measured``
    what it was chosen by, where it was.

    ``most``: never more at once, whatever the cluster holds. ``queued``: so many are asked for even
    where fewer fit, which is what makes an autoscaler add nodes.
    """

    cpus: float
    gpus: float
    threads: int
    concurrent: int
    why: str
    measured: str = ""
    most: int | None = None
    queued: bool = False

    def fits(self, nodes: list[dict[str, float]]) -> int:
        """How many trials these nodes hold."""
        return sum(_fits(node, self.cpus, self.gpus) for node in nodes)

    def at_once(self, fits: int) -> int:
        """How many trials may be started where ``fits`` fit; one waits where none does."""
        if self.queued and self.most:
            return self.most
        return max(1, min(self.most or fits, fits))

    def request(self) -> dict[str, float]:
        """The trial's resources as Ray counts them."""
        return {"cpu": self.cpus, "gpu": self.gpus} if self.gpus else {"cpu": self.cpus}


def allot(
    settings: Settings,
    nodes: list[dict[str, float]],
    device: str,
    speeds: Callable[[], dict[str, float]] | None = None,
    *,
    can_grow: bool = False,
) -> Allotment:
    """Choose a trial's share of the cluster.

    Args:
        nodes: the resources of each live node as Ray names them (``CPU``, ``GPU``).
        device: ``cpu`` or ``cuda``.
        speeds: measures images a second of all CPU trials together by the threads of each; asked
            only where nothing else decides. The nodes of a cluster are taken to be alike.
        can_grow: the nodes are a cluster's, to which others may be added.

    Raises:
        InputError: no node can ever run one trial; says what the cluster has.
    """
    gpus = settings.gpus_per_trial
    if gpus is None:
        gpus = DEFAULT_GPU_FRACTION if device == "cuda" else 0.0
    cpus, measured = settings.cpus_per_trial or 1.0, ""
    free = settings.cpus_per_trial is None and settings.max_concurrent is None
    if speeds and free and not gpus and max((n.get("CPU", 0) for n in nodes), default=0) > 1:
        found = speeds()
        cpus, measured = float(best_threads(found)), f" ({in_words(found)})"
    fits = sum(_fits(node, cpus, gpus) for node in nodes)
    if not fits:
        has = "; ".join(f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes)
        asked = f"{cpus:g} CPUs and {gpus:g} GPUs"
        key = "--gpus-per-trial" if gpus and not any(n.get("GPU") for n in nodes) else ""
        key = key or ("--cpus-per-trial" if settings.cpus_per_trial else "--gpus-per-trial")
        raise InputError(key, asked, f"fits on no node: the cluster has {has or 'no node'}")
    wanted = min(settings.max_concurrent or fits, settings.trials or fits, fits)
    # Where fewer trials run than would fit, each may use more of the machine.
    if settings.cpus_per_trial is None and not gpus:
        cpus = max(1.0, max(n.get("CPU", 0) for n in nodes) // math.ceil(wanted / len(nodes)))
    threads = max(1, int(cpus))
    share = f"{gpus:g} GPU and {cpus:g} CPU" if gpus else f"{cpus:g} CPU ({threads} thread)"
    why = f"{wanted} at once, {share} each, on {len(nodes)} node{'s' * (len(nodes) > 1)}"
    most, queued = settings.max_concurrent, False
    if can_grow and most and most > fits:
        queued, most = True, min(most, settings.trials or most)
        why += f" ({most} as nodes are added)"
    return Allotment(cpus, gpus, threads, wanted, why, measured, most, queued)


def live_nodes(ray_nodes: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The resources of the nodes that are alive, from ``ray.nodes()``."""
    return [node["Resources"] for node in ray_nodes if node["Alive"]]


def _fits(node: dict[str, float], cpus: float, gpus: float) -> int:
    by_cpu = int(node.get("CPU", 0) / cpus + 1e-9)
    if not gpus:
        return by_cpu
    whole = node.get("GPU", 0)
    # A fraction never spans two GPUs: three trials of 0.4 need two of them.
    by_gpu = int(whole // gpus) if gpus >= 1 else int(whole) * int(1 / gpus + 1e-9)
    return min(by_cpu, by_gpu)
