"""Every use of names that Ray keeps private. A new version of Ray may change any of them.

Each entry says what it is for and what would replace it. tests/vgg6/tuning/cluster/
test_ray_internals.py imports each one, so that a new Ray fails there first, by name.

Imports of Ray stand inside the functions: a command that only reads must not pay for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# name: (what it is for, what would replace it)
INTERNALS = {
    "ray.tune.execution.tune_controller.RayActorError": (
        "a worker that the host's memory monitor ended counts as a dead actor",
        "Tune catching ray.exceptions.OutOfMemoryError itself",
    ),
    "ray.air.execution._internal.actor_manager.RayActorError": (
        "the same, where Tune waits for its actors",
        "Tune catching ray.exceptions.OutOfMemoryError itself",
    ),
    "ray.air._internal.usage.tag_callbacks": (
        "Tune imports W&B and MLflow to count for its telemetry whether they are used",
        "Tune counting only what is imported already",
    ),
    "ray.tune.trainable.metadata._TrainingRunMetadata": (
        "the run_metadata of a trial, with the failed attempts that Tune counts; and with averages"
        " of every metric, 35 KB a trial, that nobody reads",
        "a public way to say that a failure does not count, and an option for the averages",
    ),
    "ray._private.accelerators.NvidiaGPUAcceleratorManager": (
        "the number and the kind of this machine's GPUs, as Ray has them, without starting it",
        "the same in ray.util.accelerators",
    ),
    "ray._private.worker._global_node": (
        "ends the local Ray when its control process no longer answers",
        "a ray.shutdown() that never waits",
    ),
    "ray._private.node.Node": (
        "a local Ray starts without the processes that no search uses",
        "an option of ray.init for each of them",
    ),
    "ray.tune.execution.class_cache._ActorClassCache": (
        "trials run in the workers that a local Ray has started already. Tune asks for environment"
        " variables, which these have, and Ray would start other workers for that",
        "Tune asking for no variable that a worker has",
    ),
    "ray.tune.registry._global_registry": (
        "the trainable is read once from the cluster's store, and not several times for each trial",
        "Tune keeping what it has read",
    ),
    "ray._private.authentication.authentication_token_setup.AUTH_MODE_ENV_VAR": (
        "whether the user has chosen how to authenticate",
        "a public name of the variable",
    ),
    "ray._private.authentication.authentication_token_setup"
    ".maybe_enable_token_auth_if_token_available": (
        "uses the user's token when a cluster asks for it",
        "ray.init doing so by itself",
    ),
    "ray._raylet.GcsClient": (
        "asks a cluster whether it wants a token, before ray.init waits for minutes",
        "ray.init with a time limit",
    ),
    "ray._private.worker.global_worker": (
        "its client of the cluster's key-value store: workers write beats there, and the driver"
        " reads them. The client in ray.experimental.internal_kv is lost when another cluster of"
        " the same process ends",
        "a public key-value store of the cluster",
    ),
}
# The same of what ``ray.init`` is given.
OPTIONS = {
    "_system_config": (
        "workers start with the local Ray, import what trials need, and are kept until the first",
        "a public option of ray.init for each of these",
    ),
    "_temp_dir": (
        "where Ray's own folder is another user's, or its path too long for sockets",
        "a public option of ray.init",
    ),
}
# Workers import what trials need when they start. PyTorch's first optimizer imports its compiler.
PRELOAD = ["torch", "ray.tune", "torch._dynamo", "vgg6.tuning.session.trainable"]
REGISTER_S = 300  # a minute is too short where Ray's code comes over a network
WAITING_MS = 60_000  # the machine may be measured before the first trial, which takes seconds

# What starts them, as methods of Ray's Node. ``ray.init`` waits until the first one answers, even
# where ``include_dashboard`` is false.
UNUSED = {
    "start_api_server": "the dashboard's server",
    "start_monitor": "the autoscaler, for a cluster that grows",
    "start_log_monitor": "prints what workers print",
}
# A key of the cluster's store: its workers were started with the driver's variables.
_SAME_VARIABLES = "tune_vgg6/workers have the driver's variables"


def local_options(waiting: int, folder: str | None) -> dict[str, Any]:
    """What ``ray.init`` is given for a local Ray: at most ``waiting`` workers start with it, and at
    most as many at a time later on. Ray would start one a CPU, of 0.45 GB each.

    More than one a CPU, and trials that are asked for while the first ones start get others. Ray
    ends workers that have waited for a second, if it looks when Tune has just reserved the CPUs for
    the trials. These would then wait until new workers have imported the same.

    Args:
        folder: for Ray's files; None: Ray chooses.
    """
    workers = {
        "worker_register_timeout_seconds": REGISTER_S,
        "preload_python_modules": PRELOAD,
        "worker_maximum_startup_concurrency": waiting,
        "idle_worker_killing_time_threshold_ms": WAITING_MS,
    }
    return {"_system_config": workers, "_temp_dir": folder}


@contextmanager
def _with_methods(owner: Any, methods: dict[str, Any]) -> Iterator[None]:
    """Within the block, a class has these methods in place of its own."""
    before = {name: getattr(owner, name) for name in methods}
    try:
        for name, method in methods.items():
            setattr(owner, name, method)
        yield
    finally:
        for name, method in before.items():
            setattr(owner, name, method)


@contextmanager
def without_unused_processes() -> Iterator[None]:
    """Within the block, ``ray.init`` starts a local Ray without ``UNUSED``."""
    from ray._private.node import Node

    with _with_methods(Node, dict.fromkeys(UNUSED, _nothing)):
        yield


def _nothing(*given: Any, **named: Any) -> None:
    """In place of what Ray need not do."""


def workers_have_these_variables() -> None:
    """Tell that the Ray which this process has just started gave its workers this environment."""
    write_value(_SAME_VARIABLES, b"1")


@contextmanager
def trials_in_waiting_workers() -> Iterator[None]:
    """Within the block, Tune starts trials in workers that wait already, where these have the
    variables that it asks for. Such a worker has imported torch."""
    import ray
    from ray.tune.execution.class_cache import _ActorClassCache

    if read_value(_SAME_VARIABLES) is None:
        yield
        return

    def actor_class(cache: Any, trainable: type) -> Any:
        if trainable not in cache._cache:
            cache._cache[trainable] = ray.remote(trainable)
        return cache._cache[trainable]

    with _with_methods(_ActorClassCache, {"get": actor_class}):
        yield


@contextmanager
def trainable_is_read_once() -> Iterator[None]:
    """Within the block, Tune asks the cluster's store once for each trainable of its own."""
    from ray.tune.registry import _global_registry

    registry: Any = type(_global_registry)
    get, contains = registry.get, registry.contains
    known: dict[tuple[str, ...], Any] = {}

    def get_once(self: Any, *name: str) -> Any:
        if name not in known:
            known[name] = get(self, *name)
        return known[name]

    def contains_or_known(self: Any, *name: str) -> bool:
        return name in known or contains(self, *name)

    with _with_methods(registry, {"get": get_once, "contains": contains_or_known}):
        yield


@contextmanager
def metrics_are_not_averaged() -> Iterator[None]:
    """Within the block, Tune keeps no averages, minima and maxima of what trials report."""
    from ray.tune.trainable.metadata import _TrainingRunMetadata

    with _with_methods(_TrainingRunMetadata, {"update_metric": _nothing}):
        yield


def out_of_host_memory_is_a_dead_actor() -> None:
    """Make Tune retry a trial whose worker Ray ended because its host ran out of memory.

    Ray says so with an error that its own Tune does not take for a dead actor. Without this the
    driver would end with it.
    """
    from ray.air.execution._internal import actor_manager
    from ray.exceptions import OutOfMemoryError, RayActorError
    from ray.tune.execution import tune_controller

    for module in (actor_manager, tune_controller):
        module.RayActorError = (RayActorError, OutOfMemoryError)  # type: ignore[attr-defined]


def callbacks_are_not_counted() -> None:
    """Make Tune start without importing trackers that the search may not use, for 1.6 s."""
    from ray.air._internal import usage

    usage.tag_callbacks = _nothing  # type: ignore[assignment]


def set_failures(trial: Any, count: int) -> None:
    """Set how many failed attempts Tune counts for a trial."""
    trial.run_metadata.num_failures = count


def local_gpu_kind() -> str | None:
    """The kind of this machine's GPUs as Ray names it, such as ``A100``; None without a GPU."""
    from ray._private.accelerators import NvidiaGPUAcceleratorManager

    kind = NvidiaGPUAcceleratorManager.get_current_node_accelerator_type()
    return None if kind is None else str(kind)


def local_gpus() -> int:
    """How many GPUs a Ray that starts here would find."""
    from ray._private.accelerators import NvidiaGPUAcceleratorManager as Nvidia

    seen = Nvidia.get_current_process_visible_accelerator_ids()
    found = int(Nvidia.get_current_node_num_accelerators())
    return found if seen is None else min(found, len(seen))


def local_session_folder() -> str:
    """The folder of the Ray that this process started: sockets, logs, spilled objects."""
    from ray._private import worker

    node = worker._global_node
    assert node is not None, "Ray is not started"
    return str(node.get_session_dir_path())


def end_local_ray() -> None:
    """Kill the Ray processes that this process started, without waiting for any of them."""
    from ray._private import worker

    if worker._global_node is not None:
        worker._global_node.kill_all_processes(check_alive=False, allow_graceful=False)


def ask_cluster(address: str) -> None:
    """Connect to a cluster's control process and leave again.

    Raises:
        ray.exceptions.AuthenticationError: it asks for a token that this process has not.
        RuntimeError: it is no Ray cluster.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    GcsClient(address=address)


def authentication_variable() -> str:
    """The environment variable that says how Ray authenticates."""
    from ray._private.authentication.authentication_token_setup import AUTH_MODE_ENV_VAR

    return str(AUTH_MODE_ENV_VAR)


def use_token_of_user() -> bool:
    """Authenticate with this user's token from here on. Returns whether there is one."""
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    return bool(maybe_enable_token_auth_if_token_available(warn_if_disabled=False))


def read_value(key: str) -> bytes | None:
    """A value of the cluster's own key-value store."""
    found = _store().internal_kv_get(key.encode(), None)
    return None if found is None else bytes(found)


def write_value(key: str, value: bytes) -> None:
    """Write a value into the cluster's own key-value store."""
    _store().internal_kv_put(key.encode(), value, True, None)


def _store() -> Any:
    from ray._private.worker import global_worker

    return global_worker.gcs_client  # type: ignore[attr-defined]
