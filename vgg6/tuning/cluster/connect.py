"""Starting Ray on this machine or joining a running cluster, without its noise."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil

from vgg6.common.checks import InputError
from vgg6.common.interrupts import in_main_thread, spared
from vgg6.common.machine import available_memory, usable_cpus
from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.tuning.cluster import mps
from vgg6.tuning.cluster.local_clusters import local_clusters, private_ray
from vgg6.tuning.cluster.ray_internals import (
    ask_cluster,
    authentication_variable,
    local_options,
    local_session_folder,
    use_token_of_user,
    without_unused_processes,
    workers_have_these_variables,
)
from vgg6.tuning.cluster.reaper import workers_end_with_this_process
from vgg6.tuning.cluster.start_watch import ended_if_it_cannot_start

GCS_PORT = 6379
ANSWER_S = 10.0
HERE = "this machine"
ROOT = Path(__file__).resolve().parents[3]
# A socket's path is at most 107 bytes, of which Ray takes 70 below its folder.
LONGEST_FOLDER = 37
# Ray has started when its processes take less than this part of a CPU, or after so many seconds.
QUIET, POLL_S, STARTING_S = 0.3, 0.1, 20.0
# Workers that wait for trials: at most so many, each for so much of the memory that is left.
MOST_WAITING, WORKER_BYTES = 16, 1e9


class ClusterLost(BaseException):
    """The Ray cluster answers no more. Not an Exception: Ray Tune would go on."""


def quiet_environment() -> None:
    """Set what Ray reads when it is imported and started. Call before the first import of Ray."""
    for name, value in {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal holds the results
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # and is what a search is resumed from
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the journal says them, each in a line
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }.items():
        os.environ.setdefault(name, value)


@contextmanager
def connected(
    address: str | None, verbose: bool, to_go_on: str = "", share_gpus: bool = False
) -> Iterator[str]:
    """``connect`` for as long as the block lasts. Says where Ray runs. If this process is killed
    meanwhile, its reaper says ``to_go_on``: the command that does.

    Args:
        share_gpus: trials may share this machine's GPUs. With a Ray that is started here, NVIDIA's
            Multi-Process Service is started for them, and ends after it.

    Entered before torch is imported: while this process does that, Ray's workers do so as well.
    A Ray that this process runs already is used, and left running.
    """
    import ray

    if ray.is_initialized() and address in (None, "local"):
        yield HERE
        return
    on_term = signal.getsignal(signal.SIGTERM)
    with workers_end_with_this_process() as reaper, ExitStack() as served:

        def serve() -> dict[str, str]:
            if share_gpus:
                served.enter_context(mps.service(reaper))
            return mps.variables()

        try:
            where = connect(address, verbose, serve, to_go_on)
            if where == HERE and not verbose:
                reaper.remove(local_session_folder())
            if to_go_on:
                why = "the search was killed, or its node of the Ray cluster has ended"
                reaper.say_if_killed(f"incomplete: {why}. To go on: {to_go_on}")
            if in_main_thread():
                signal.signal(signal.SIGTERM, on_term)  # Ray has put its own in its place
            yield where
        finally:
            ray.shutdown()


def connect(
    address: str | None, verbose: bool, before_start: Callable[[], dict[str, str]] = dict,
    to_go_on: str = "",
) -> str:  # fmt: skip
    """Join the cluster at ``address`` or start Ray here. Returns where it runs, for people.

    ``None`` joins a cluster that runs on this machine (or in ``$RAY_ADDRESS``) if there is one;
    ``local`` always starts one; ``auto`` must find one; else a host or host:port.

    Args:
        before_start: called before Ray starts here; gives variables for its processes alone.
        to_go_on: a command, for a person, said where this process ends since Ray cannot start.

    Raises:
        InputError: there is no cluster at the address.
    """
    import ray

    options: dict[str, Any] = {
        "logging_level": logging.INFO if verbose else logging.ERROR,
        "log_to_driver": verbose,
        "configure_logging": True,
    }
    if not verbose:  # of its own state, which Ray copies while it writes it, and nobody reads
        logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    found = address if address not in (None, "auto", "local") else running_cluster()
    if address == "auto" and not found:
        rule = "finds no running cluster: start one with `ray start --head`, or give its host"
        raise InputError("address", address, rule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if address == "local" or not found:
            if others := sum(cluster.private for cluster in local_clusters()):
                one, several = "other program with its own Ray", "other programs with their own Ray"
                say(f"beside {counted(others, one, several)}: they share this machine's CPUs")
            less = nullcontext() if verbose else without_unused_processes()
            given = before_start()
            with private_ray(), spared(signal.SIGHUP), less, ended_if_it_cannot_start(to_go_on):
                _start(options, given)
            workers_have_these_variables()
            return HERE
        target = found if ":" in found else f"{found}:{GCS_PORT}"
        logging.getLogger("ray").setLevel(options["logging_level"])
        _agree_on_token(address, target)
        packages = [str(ROOT / "vgg6"), str(ROOT / "search_spaces")]
        try:
            with ended_if_it_cannot_start():
                ray.init(address=target, runtime_env={"py_modules": packages}, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            rule = f"answers not as a Ray cluster: {error}"
            raise InputError("address", address or target, rule) from None
    return f"the Ray cluster at {target}"


def _start(options: dict[str, Any], given: dict[str, str]) -> None:
    """Start a Ray of this process.

    Args:
        given: variables that its processes have, and this one has not.

    Raises:
        ClusterLost: it does not start: memory, processes, files or room are too few here.
    """
    import ray

    # Workers look beside the program that started Ray, which may be a notebook's kernel.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        waiting = min(usable_cpus(), MOST_WAITING, int(available_memory() / WORKER_BYTES))
        with _environment({"PYTHONPATH": path, **given}):
            ray.init(
                address="local", num_cpus=usable_cpus(), include_dashboard=False,
                **local_options(max(1, waiting), ray_temp_folder()), **options,
            )  # fmt: skip
    except (InputError, OSError):
        raise
    except Exception as error:  # Ray raises it as it is
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ClusterLost(f"Ray cannot be started here: {cause}") from None


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set these variables while the block lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def wait_for_workers() -> None:
    """Return when the processes of a local Ray have started: until then its workers import, and
    keep the CPUs busy. A task could not tell: a worker that ran one is no more given to a trial."""
    give_up = time.monotonic() + STARTING_S
    before = _cpu_seconds_of_children()
    while time.monotonic() < give_up:
        time.sleep(POLL_S)
        used = _cpu_seconds_of_children()
        if sum(used[pid] - before.get(pid, 0.0) for pid in used) < QUIET * POLL_S:
            return
        before = used


def _cpu_seconds_of_children() -> dict[int, float]:
    """What the processes below this one have used of a CPU, by their numbers."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            times = child.cpu_times()
            found[child.pid] = times.user + times.system
    return found


def _agree_on_token(address: str | None, target: str) -> None:
    """Use this user's Ray token if the cluster asks for one, and only then: to a cluster without
    one, a driver that insists on it looks dead.

    Raises:
        InputError: nothing listens at ``target``, or it asks for another token: Ray would wait for
            it for minutes.
    """
    from ray.exceptions import AuthenticationError

    if silence := _silence(target):
        rule = f"answers not as a Ray cluster: {silence}"
        raise InputError("address", address or target, rule)
    chosen = authentication_variable() in os.environ
    try:
        with _no_standard_error():
            ask_cluster(target)
        os.environ.setdefault(authentication_variable(), "disabled")
    except AuthenticationError:
        if not chosen and use_token_of_user():
            _agree_on_token(address, target)
            return
        rule = "asks for its token: copy its ~/.ray/auth_token to this user's"
        raise InputError("address", address or target, rule) from None
    except RuntimeError as error:
        rule = f"answers not as a Ray cluster: {error}"
        raise InputError("address", address or target, rule) from None


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """Drop what Ray's C++ writes there: being asked for a token is no fault."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def ray_temp_folder() -> str | None:
    """The folder for Ray's files where the one that it would take will not do: it is another
    user's, cannot be written, or its path is too long. Sockets lie below it, and Linux allows them
    107 bytes. None: Ray's own choice will do.

    Raises:
        InputError: there is no other folder.
    """
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), None)
    base = Path(os.environ[variable] if variable else "/tmp")
    fault = ""
    if len(os.fsencode(base)) > LONGEST_FOLDER:
        fault = f"has over {LONGEST_FOLDER} bytes, too many for Ray's sockets"
    elif (base / "ray").exists() and (base / "ray").stat().st_uid != os.getuid():
        fault = "holds the Ray of another user"
    elif not os.access(next(p for p in (base / "ray", base, *base.parents) if p.exists()), os.W_OK):
        fault = "cannot be written"
    if not fault:
        return None
    short = Path(f"/tmp/ray-{os.getuid()}")
    usable = short if short.exists() else short.parent
    if not os.access(usable, os.W_OK):
        rule = fault if usable == base else f"{fault}, and {usable} cannot be written"
        raise InputError(variable or "TMPDIR", str(base), rule)
    return str(short)


def running_cluster() -> str | None:
    """The address of a cluster on this machine that listens, and that somebody has started for
    others: with ``ray start``, or named in ``$RAY_ADDRESS``."""
    named = os.environ.get("RAY_ADDRESS")
    if named and named not in ("local", "auto"):
        return named.removeprefix("ray://")
    shared = [cluster.address for cluster in local_clusters() if not cluster.private]
    return next((address for address in shared if not _silence(address)), None)


def _silence(target: str) -> str:
    """Why nothing can be reached at ``host:port``; empty where something can."""
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except (OSError, ValueError) as error:
        return f"nothing listens at {target} ({error})"
    return ""
