"""CPUs and GPU fractions of a trial: how many trials fit, and refusing what never fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.tune import PlacementGroupFactory

from vgg6.common.checks import InputError, check_choice
from vgg6.common.numbers_in_words import counted
from vgg6.hardware import cpu_speed
from vgg6.hardware.cpu_speed import best_threads
from vgg6.tuning.cluster import gpu_sharing
from vgg6.tuning.cluster.gpu_sharing import SharedSpeeds, best_runs, share_of
from vgg6.tuning.settings import Settings

# VGG6 leaves most of a large GPU idle: trials that share it keep it busy.
DEFAULT_GPU_FRACTION = 0.25
# What Ray calls a kind of GPU among a node's resources, and how much of it a trial asks for, as Ray
# itself does.
KIND, KIND_SHARE = "accelerator_type:", 0.001


@dataclass(frozen=True)
class Allotment:
    """What one trial gets and how many run at once; ``why`` says it for the plan, and ``measured``
    what it was chosen by, where it was.

    ``most``: never more at once, whatever the cluster holds. ``queued``: so many are asked for even
    where fewer fit, which is what makes an autoscaler add nodes. ``kind``: of GPU, as Ray names it;
    only nodes that have it count.
    """

    cpus: float
    gpus: float
    threads: int
    concurrent: int
    why: str
    measured: str = ""
    most: int | None = None
    queued: bool = False
    kind: str | None = None

    def fits(self, nodes: list[dict[str, float]]) -> int:
        """How many trials these nodes hold."""
        return sum(_fits(node, self.cpus, self.gpus) for node in of_kind(nodes, self.kind))

    def at_once(self, fits: int) -> int:
        """How many trials may be started where ``fits`` fit; one waits where none does."""
        if self.queued and self.most:
            return self.most
        return max(1, min(self.most or fits, fits))

    def request(self, assignment: dict[str, Any]) -> PlacementGroupFactory:
        """A trial's resources as Ray counts them; an assignment may have a share of its own."""
        gpus = assignment.get("gpus", self.gpus)
        asked = {"CPU": self.cpus, "GPU": gpus}
        return PlacementGroupFactory(
            [asked | ({KIND + self.kind: KIND_SHARE} if self.kind else {})]
        )


def allot(
    settings: Settings,
    nodes: list[dict[str, float]],
    device: str,
    speeds: Callable[[], dict[str, float]] | None = None,
    shared_speeds: Callable[[], list[SharedSpeeds]] | None = None,
    *,
    threads: int | None = None,
    can_grow: bool = False,
) -> Allotment:
    """Choose a trial's share of the cluster.

    Args:
        nodes: the resources of each live node as Ray names them (``CPU``, ``GPU``).
        device: ``cpu`` or ``cuda``.
        speeds: measures images a second of all CPU trials together by the threads of each; asked
            only where nothing else decides. The nodes of a cluster are taken to be alike.
        shared_speeds: measures how many runs train most at once on one GPU, of each kind that
            trials may get; asked only for ``gpus_per_trial=auto``. A trial does not know which kind
            it will run on: it gets the largest of the shares that are best on each.
        threads: of each trial, where they are decided: those of a search that goes on. A trial then
            gets as many CPUs, or all of a smaller node.
        can_grow: the nodes are a cluster's, to which others may be added.

    Raises:
        InputError: no node can ever run one trial; says what the cluster has.
    """
    gpus, kind = settings.gpus_per_trial, settings.accelerator_type
    if kind is not None:
        check_kind(kind, nodes)
    usable = of_kind(nodes, kind)
    largest = max((node.get("CPU", 0.0) for node in usable), default=0.0)
    decided = settings.cpus_per_trial or (threads and max(1.0, min(float(threads), largest)))
    cpus, measured = decided or 1.0, ""
    if gpus is None:
        gpus = DEFAULT_GPU_FRACTION if device == "cuda" else 0.0
    elif isinstance(gpus, str):
        if shared_speeds is None or not any(n.get("GPU") for n in usable):
            has = "; ".join(map(_in_words, nodes)) or "no node"
            raise InputError("gpus_per_trial", gpus, f"has no GPU to measure: there is {has}")
        found_on = shared_speeds()
        gpus = max(share_of(best_runs(found)) for found in found_on)
        measured = f" ({'; '.join(map(gpu_sharing.describe, found_on))})"
    free = decided is None and settings.max_concurrent is None
    if speeds and free and not gpus and max((n.get("CPU", 0) for n in nodes), default=0) > 1:
        found = speeds()
        cpus, measured = float(best_threads(found)), f" ({cpu_speed.describe(found)})"
    fits = sum(_fits(node, cpus, gpus) for node in usable)
    if not fits:
        has = "; ".join(map(_in_words, nodes))
        asked = f"{_cpus(cpus)} and {_plural(gpus, 'GPU')}" + (f" of kind {kind}" if kind else "")
        key = "gpus_per_trial" if gpus and not any(n.get("GPU") for n in usable) else ""
        key = key or ("cpus_per_trial" if settings.cpus_per_trial else "gpus_per_trial")
        raise InputError(key, asked, f"fits on no node: the cluster has {has or 'no node'}")
    wanted = min(settings.max_concurrent or fits, settings.trials or fits, fits)
    # Where fewer trials run than would fit, each may use more of the machine.
    if decided is None and not gpus:
        cpus = max(1.0, largest // math.ceil(wanted / len(usable)))
    threads = threads or max(1, int(cpus))
    share = f"{_cpus(cpus)} ({counted(threads, 'thread')})"
    if gpus:
        held = "" if device == "cuda" else ", held and not used"
        share = f"{gpus:g} {f'{kind} ' if kind else ''}GPU{held} and {_cpus(cpus)}"
    why = f"{wanted} at once, {share} each, on {counted(len(usable), 'node')}"
    most, queued = settings.max_concurrent, False
    if can_grow and most and most > fits:
        queued, most = True, min(most, settings.trials or most)
        why += f" ({most} as nodes are added)"
    return Allotment(cpus, gpus, threads, wanted, why, measured, most, queued, kind)


def live_nodes(ray_nodes: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The resources of the nodes that are alive, from ``ray.nodes()``."""
    return [node["Resources"] for node in ray_nodes if node["Alive"]]


def of_kind(nodes: list[dict[str, float]], kind: str | None) -> list[dict[str, float]]:
    """The nodes whose GPUs are of this kind; all of them where none is asked for."""
    return [node for node in nodes if kind is None or node.get(KIND + kind)]


def kinds(nodes: list[dict[str, float]]) -> list[str]:
    """The kinds of GPU that these nodes name, as Ray spells them (``A100``)."""
    return sorted({key.removeprefix(KIND) for n in nodes for key in n if key.startswith(KIND)})


def check_kind(kind: str, nodes: list[dict[str, float]]) -> None:
    """Raises InputError: no node has this kind; says which the cluster has and the nearest."""
    if known := kinds(nodes):
        check_choice("accelerator_type", kind, known)
        return
    has = "; ".join(map(_in_words, nodes)) or "no node"
    rule = f"is on no node, nor is any other kind of GPU: the cluster has {has}"
    raise InputError("accelerator_type", kind, rule)


def _in_words(node: dict[str, float]) -> str:
    named = " or ".join(kinds([node]))
    gpus = _plural(node.get("GPU", 0), f"{f'{named} ' * bool(named)}GPU")
    return f"{_cpus(node.get('CPU', 0))} and {gpus}"


def _fits(node: dict[str, float], cpus: float, gpus: float) -> int:
    by_cpu = int(node.get("CPU", 0) / cpus + 1e-9)
    if not gpus:
        return by_cpu
    whole = node.get("GPU", 0)
    # A fraction never spans two GPUs: three trials of 0.4 need two of them.
    by_gpu = int(whole // gpus) if gpus >= 1 else int(whole) * int(1 / gpus + 1e-9)
    return min(by_cpu, by_gpu)


def _cpus(count: float) -> str:
    return _plural(count, "CPU")


def _plural(count: float, one: str) -> str:
    return f"{count:g} {one}{'s' * (count > 1 or count == 0)}"
