"""The plan of a session: from settings, data and nodes to trials, shares and arithmetic."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import ray
import torch

from search_spaces import Space
from search_spaces.parameter import PARAMETER_NAMES
from vgg6.common.checks import InputError
from vgg6.common.machine import usable_cpus
from vgg6.common.numbers_in_words import counted, duration, roughly
from vgg6.common.say import say
from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.cpu_speed import thread_speeds
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.algorithms.warm_start import WarmStart, describe_sources
from vgg6.tuning.cluster import connect as cluster
from vgg6.tuning.cluster import mps
from vgg6.tuning.cluster.allotment import KIND, Allotment, allot, live_nodes, of_kind
from vgg6.tuning.cluster.connect import HERE
from vgg6.tuning.cluster.gpu_probe import hungriest, probe_each, probe_here
from vgg6.tuning.cluster.gpu_sharing import SharedSpeeds
from vgg6.tuning.cluster.ray_internals import local_gpu_kind
from vgg6.tuning.run import training_depth
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.search_facts import SearchFacts
from vgg6.tuning.session.cost import auto_trials, estimate
from vgg6.tuning.session.trial_end import DEFAULT_KEEPING, Keeping
from vgg6.tuning.settings import AUTO, Settings
from vgg6.tuning.trackers.wandb_mirror import default_mode

JOINING_S = 15.0  # how long a cluster's first worker may take to join


@dataclass(frozen=True)
class Plan:
    """All that a session needs, decided before the first trial starts.

    ``keep``: what is kept of ended trials; ``warm``: what it begins from; ``to_go_on``: the command
    that resumes the search, for a person; ``extensions``: what was added to the search; ``added``:
    that of them which is not recorded yet; ``lengths``: the full lengths it had, this one last;
    ``began``: when its time budget did, on the monotonic clock, if not with the session.
    """

    settings: Settings
    space: Space
    trials: int
    data: TrialData
    runtime: Runtime
    allotment: Allotment
    wandb_mode: str
    keep: Keeping = DEFAULT_KEEPING
    warm: WarmStart = field(default_factory=WarmStart)
    to_go_on: str = ""
    extensions: tuple[Extension, ...] = ()
    added: Extension | None = None
    lengths: tuple[int, ...] = ()
    began: float | None = None


def plan_confirmation(
    where: str,
    settings: Settings,
    facts: SearchFacts,
    data: TrialData,
    runs: int,
    time_budget: float | None = None,
) -> Plan:
    """Plan ``runs`` full-length runs in the arithmetic of the search that ``facts`` tells of.

    Args:
        time_budget: seconds, after which it ends, done or not.

    Raises:
        InputError: no node can run one.
    """
    wanted = replace(
        settings, name=f"{facts.name[:90]}-confirm", trials=runs, searcher="random",
        scheduler="none", time_budget=time_budget, patience=None,
    )  # fmt: skip
    recorded = Runtime(**facts.runtime.to_dict())
    what = f"confirmation of {facts.name}: at most {counted(runs, 'run')}"
    plan = make_plan(wanted, facts.space, data, where, recorded, what)
    return replace(plan, keep=Keeping(weights=runs, room=0))


def make_plan(
    settings: Settings,
    space: Space,
    data: TrialData,
    where: str,
    recorded: Runtime | None = None,
    what: str = "",
) -> Plan:
    """Plan on the Ray that this process is connected to, and say it on standard error.

    Args:
        recorded: what a search that goes on computes in; else it is chosen.
        what: how many runs of what, in words; by default, of the search.

    Raises:
        InputError: no node can run a trial.
    """
    mode = settings.wandb or default_mode()
    patient = where != HERE
    plan = decide_with_nodes(settings, space, data, mode, recorded, patient=patient)
    if settings.wandb is None and mode == "offline":
        say("W&B: no key found, logging offline. `wandb login` stores one")
    what = what or f"search {settings.name}: {counted(plan.trials, 'trial')}"
    say(
        f"{what} of up to {counted(settings.epochs, 'epoch')} on {data.name},"
        f" {len(data.train):,} training and {len(data.val):,} validation images"
    )
    if not settings.measure.is_accuracy:
        say(f"what it chooses by: {settings.measure.label}")
    if plan.allotment.gpus and plan.allotment.measured:
        say(f"GPUs{plan.allotment.measured}")
    say(f"{where}: {plan.allotment.why}; {plan.runtime}")
    shares = where == HERE and plan.runtime.device == "cuda" and 0 < plan.allotment.gpus < 1
    if shares and (reason := mps.why_not()):
        say(f"warning: trials that share the GPU take turns: {reason}")
    if budget := plan.settings.time_budget:
        say(f"it ends after {duration(budget)} at the latest, with the best found by then")
    return plan


def decide_with_nodes(
    settings: Settings,
    space: Space,
    data: TrialData,
    mode: str,
    recorded: Runtime | None = None,
    *,
    patient: bool,
) -> Plan:
    """``decide`` with the nodes that there are. ``patient``: they are a cluster's, whose workers
    may be joining just now.

    Raises:
        InputError: no node can run a trial.
    """
    give_up = time.monotonic() + (JOINING_S if patient else 0.0)
    while True:
        try:
            nodes = live_nodes(ray.nodes())
            return decide(
                settings, space, data, nodes, mode, probe_each, recorded=recorded, can_grow=patient,
                until_quiet=None if patient else cluster.wait_for_workers,
            )  # fmt: skip
        except InputError:
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


def decide(
    settings: Settings,
    space: Space,
    data: TrialData,
    nodes: list[dict[str, float]],
    mode: str,
    probe: Callable[..., list[SharedSpeeds]] = probe_here,
    *,
    recorded: Runtime | None = None,
    can_grow: bool = False,
    until_quiet: Callable[[], None] | None = None,
) -> Plan:
    """Resources, runtime and the number of trials, from the resources of the nodes.

    Args:
        probe: measures ``gpus_per_trial=auto``: on Ray's nodes, or here without Ray.
        recorded: as for ``make_plan``.
        until_quiet: as for ``thread_speeds``.
    """
    device = recorded.device if recorded else choose_device(settings, nodes)
    kind, runtime = settings.accelerator_type, recorded or cluster_runtime(settings, device)
    allotment = allot(
        settings, nodes, device, lambda: thread_speeds(runtime.precision, until_quiet),
        lambda: probe(runtime, hungriest(space), len(data.train), of_kind(nodes, kind)),
        threads=recorded.threads if recorded else None, can_grow=can_grow,
    )  # fmt: skip
    runtime = replace(runtime, threads=allotment.threads)
    trials = settings.trials
    if trials is None:
        limit = settings.budget(data.name) or math.inf
        trials = auto_trials(settings, space, data, runtime, allotment.concurrent, limit)
        # The plan is an estimate; what was promised is the time.
        settings = replace(settings, time_budget=limit)
    if settings.searcher == "grid":
        trials = min(trials, len(space.grid()))
    return Plan(settings, space, trials, data, runtime, allotment, mode)


def choose_device(settings: Settings, nodes: list[dict[str, float]]) -> str:
    """``cuda`` where the cluster has GPUs and trials may use them, else ``cpu``."""
    if settings.device != "auto":
        return settings.device
    wants = settings.gpus_per_trial != 0
    usable = of_kind(nodes, settings.accelerator_type)
    return "cuda" if wants and any(node.get("GPU") for node in usable) else "cpu"


def cluster_runtime(settings: Settings, device: str) -> Runtime:
    """One runtime for all trials, but for their threads. On GPUs the driver itself may have none
    to ask.

    Raises:
        InputError: there are no kernels of that kind for the device.
    """
    if device == "cuda":
        precision = "bf16" if settings.precision == "auto" else settings.precision
        return Runtime(device="cuda", precision=precision, threads=1, kernels=settings.kernels)
    return Runtime.resolve("cpu", settings.precision, threads=1, kernels=settings.kernels)


@dataclass(frozen=True)
class DryRun:
    """A plan as text. ``rests_on_few``: so few of its trials will be trained to the end that the
    ranking may be chance."""

    text: str
    rests_on_few: bool


def dry_run(settings: Settings, space: Space, data: TrialData, warm: WarmStart) -> DryRun:
    """The plan, without starting Ray here or a trial anywhere."""
    mode = settings.wandb or default_mode()
    if settings.address in (None, "local"):
        where = HERE
        if settings.address is None and (found := cluster.running_cluster()):
            where += (
                f"; a search would join the cluster at {found}: name its address to plan for it"
            )
        # What is measured here is measured as trials will run.
        with mps.service_for(settings.gpus_per_trial == AUTO and mps.may_share(settings)):
            plan = decide(settings, space, data, [this_node()], mode)
    else:
        with cluster.connected(settings.address, settings.verbose) as where:
            plan = decide_with_nodes(settings, space, data, mode, patient=True)
    allotment, runtime, trials = plan.allotment, plan.runtime, plan.trials
    cost = estimate(settings, space, data, runtime, trials, allotment.concurrent, added=warm.points)
    text = "\n".join(
        [
            f"search       {settings.name} in {settings.storage}",
            f"planned for  {where}",
            f"data         {data.name}: {len(data.train):,} training,"
            f" {len(data.val):,} validation images ({data.fingerprint})",
            f"trials       {trials} of up to {counted(settings.epochs, 'epoch')}"
            + (f", {duration(limit)} at most" if (limit := plan.settings.time_budget) else ""),
            f"searcher     {settings.searcher}, seed {settings.seed}",
            f"metric       {settings.measure.label}",
            *(f"limit        {limit.words}" for limit in settings.limits),
            f"scheduler    {settings.scheduler}, grace {settings.grace},"
            f" reduction {settings.reduction:g}",
            f"trained      {training_depth.expected_in_words(cost.running)}",
            f"concurrency  {allotment.why}{allotment.measured}",
            f"arithmetic   {runtime}, {counted(runtime.threads, 'thread')} a trial",
            f"estimate     {cost.epoch_seconds:.1f} s an epoch (one step measured),"
            f" about {counted(round(cost.epochs), 'epoch')} in all,"
            f" {roughly(cost.total_seconds)}",
            *(f"begins from  {line}" for line in describe_sources(warm.sources)),
            f"space        {space.name}{f': {space.description}' if space.description else ''}",
            space.describe(),
            *_not_varied(space),
        ]
    )
    few = trials >= training_depth.OTHERS and round(cost.running[-1]) <= training_depth.FEW
    return DryRun(text, few)


def _not_varied(space: Space) -> list[str]:
    """A line of what every trial of a space keeps at its default; none where it is nothing."""
    varied = {*space.names, *(p.name for p in space.parameters), *space.fixed}
    varied |= {name for point in space.points for name in point}
    default = TrialConfig().to_dict()
    kept = {name: default[name] for name in PARAMETER_NAMES if name not in varied}
    texts = [f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in kept.items()]
    return [f"in every trial: {', '.join(texts)}"] if texts else []


def this_node() -> dict[str, float]:
    """What Ray would find here."""
    node = {"CPU": float(usable_cpus()), "GPU": float(torch.cuda.device_count())}
    if kind := local_gpu_kind():
        node[KIND + kind] = 1.0
    return node
