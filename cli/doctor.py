"""``doctor``: what this machine has for a search, what is missing, and what to do about each."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from analysis.suggested_commands import command, pip_command
from cli.environment import check_home, check_python
from cli.exit_codes import DONE, FAILED
from cli.flags import add_storage_flag
from vgg6.common.checks import InputError
from vgg6.common.machine import mps_is_running, usable_cpus
from vgg6.common.numbers_in_words import counted
from vgg6.data import find_cifar10
from vgg6.data.sources import DOWNLOAD_FOLDER
from vgg6.tuning.cluster.connect import ray_temp_folder, running_cluster
from vgg6.tuning.cluster.mps import TOOL
from vgg6.tuning.trackers.wandb_mirror import default_mode

OK, WARN, FAIL = "ok", "warn", "fail"
NEEDED_DISK_GB = 2
NEEDED_FOR_RAY = 100e6  # bytes: its logs, and no objects, which lie in memory
PINNED = Path(__file__).resolve().parents[1] / "requirements.txt"


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``state``: ok, warn or fail; ``advice``: what to do, if anything."""

    topic: str
    state: str
    found: str
    advice: str = ""


def add_commands(add: Any) -> None:
    p = add("doctor", doctor, "check what this machine has for a search, and say what to do")
    add_storage_flag(p, "where searches would be kept")


def doctor(args: argparse.Namespace) -> int:
    findings = examine(args.storage)
    for f in findings:
        print(f"{f.state:<5}{f.topic:<10}{f.found}")
        if f.advice:
            print(f"{'':15}-> {f.advice}")
    return FAILED if any(f.state == FAIL for f in findings) else DONE


def examine(storage: str) -> list[Finding]:
    """Look at everything that a search needs. Starts no Ray and downloads nothing."""
    begun = [_python(), *_packages(), *(folders := _folders())]
    if any(f.state == FAIL for f in folders):
        return begun  # what the others look for is at home
    return [*begun, _torch(), _cpu(), _gpu(), _ray(), _data(), _wandb(), _disk(Path(storage))]


def _python() -> Finding:
    found = platform.python_version()
    try:
        check_python()
    except InputError as error:
        return Finding("python", FAIL, str(error), "start Python without it")
    if sys.version_info[:2] in ((3, 11), (3, 12), (3, 13)):
        return Finding("python", OK, found)
    return Finding("python", WARN, found, "tested on Python 3.11; the pins want 3.11 to 3.13")


def _packages() -> list[Finding]:
    wrong = []
    for line in PINNED.read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.split("#")[0].strip().partition("==")
        if not pinned:
            continue
        try:
            found = version(name.split("[")[0])
        except PackageNotFoundError:
            found = "missing"
        if found.split("+")[0] != pinned:
            wrong.append(f"{name} is {found}, pinned {pinned}")
    if wrong:
        return [Finding("packages", WARN, "; ".join(wrong), pip_command(PINNED))]
    return [Finding("packages", OK, "all as pinned in requirements.txt")]


def _torch() -> Finding:
    import torch

    return Finding(
        "torch", OK, f"{torch.__version__}, {counted(torch.get_num_threads(), 'thread')}"
    )


def _cpu() -> Finding:
    import torch

    from vgg6.hardware.cpu_speed import (
        best_threads,
        describe,
        precision_speeds,
        thread_speeds,
        why_not_kept,
    )
    from vgg6.hardware.measurements import cache_file
    from vgg6.hardware.runtime import Runtime, emulates_bf16, native_bf16

    precision = Runtime.resolve("cpu").precision
    speeds = thread_speeds(precision)
    threads = best_threads(speeds)
    reason = why_not_kept(precision)
    kept = f"not kept: {reason}" if reason else f"kept in {cache_file()}"
    found = (
        f"{counted(usable_cpus(), 'CPU')}, {torch.backends.cpu.get_cpu_capability()},"
        f" {'AMX' if torch.cpu._is_amx_tile_supported() else 'no AMX'}; trials compute in"
        f" {precision} on {counted(threads, 'thread')} each ({describe(speeds)};"
        f" {kept})"
    )
    if native_bf16():
        return Finding("cpu", OK, found)
    advice = "a CPU with AMX or AVX-512 BF16 is several times as fast"
    if emulates_bf16():
        both = ", ".join(f"{name} {speed:.0f}" for name, speed in precision_speeds().items())
        advice += f"; images a second: {both}"
    return Finding("cpu", WARN, found, advice)


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        advice = "none is needed; if there is one, its driver must fit torch's CUDA build"
        return Finding("gpu", WARN, "no CUDA GPU", advice)
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = "is running" if mps_is_running() else "is not running"
    found = f"{', '.join(names)}; MPS {mps}; {_measured_sharing(names)}"
    if mps_is_running():
        return Finding("gpu", OK, found)
    if shutil.which(TOOL) is None:
        advice = f"trials that share a GPU take turns: {TOOL}, of NVIDIA's driver, is not on PATH"
        return Finding("gpu", OK, found, advice)
    return Finding("gpu", OK, f"{found}; a search that shares a GPU starts MPS")


def _measured_sharing(names: list[str]) -> str:
    """How many trials train fastest at once on each kind of GPU, as far as it has been measured."""
    from vgg6.hardware.measurements import remembered
    from vgg6.tuning.cluster.gpu_sharing import SharedSpeeds, best_runs, describe, key_start

    known = [
        SharedSpeeds.from_dict(found)
        for name in sorted(set(names))
        for found in remembered(key_start(name)).values()
    ]
    measured = "; ".join(f"{describe(p)}: {best_runs(p)} at once" for p in known)
    return (
        measured or f"not measured yet; this does: {command('search', '--gpus-per-trial', 'auto')}"
    )


def _folders() -> list[Finding]:
    """What keeps a search from starting here, if anything does."""
    try:
        check_home()
        folder = ray_temp_folder()
    except InputError as error:
        advice = f"set {error.field} to a folder that can be written"
        return [Finding("folders", FAIL, str(error), advice)]
    found = []
    if folder:
        why = "the usual folder is another user's, read-only, or its path too long for sockets"
        found.append(Finding("folders", WARN, f"Ray's files go to {folder}: {why}"))
    used = Path(folder or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    free = shutil.disk_usage(used if used.exists() else used.parent).free
    if free < NEEDED_FOR_RAY:
        text = f"{free / 1e6:.0f} MB free in {used}, where Ray keeps its files"
        found.append(Finding("folders", WARN, text, "free some, or set RAY_TMPDIR"))
    return found


def _ray() -> Finding:
    import ray

    if running := running_cluster():
        return Finding("ray", OK, f"{ray.__version__}, a search joins the cluster at {running}")
    return Finding("ray", OK, f"{ray.__version__}, no cluster here: a search starts its own")


def _data() -> Finding:
    try:
        folder = find_cifar10()
    except InputError as error:
        return Finding("data", FAIL, str(error), "correct or unset CIFAR10_DIR")
    if folder:
        return Finding("data", OK, f"CIFAR-10 in {folder}")
    advice = (
        f"set CIFAR10_DIR, or put it into {DOWNLOAD_FOLDER}/, or let the first search download it;"
        " --data digits needs nothing"
    )
    return Finding("data", WARN, "no CIFAR-10 on this disk", advice)


def _wandb() -> Finding:
    if default_mode() == "online":
        return Finding("wandb", OK, "a key is set: searches are logged online")
    return Finding("wandb", WARN, "no key: searches are logged offline", "wandb login")


def _disk(storage: Path) -> Finding:
    folder = storage.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if not os.access(folder, os.W_OK):
        return Finding("disk", FAIL, f"{folder} cannot be written", "choose another --storage")
    if free < NEEDED_DISK_GB:
        return Finding("disk", WARN, f"{free:.1f} GB free for {storage}", "free some, or --storage")
    return Finding("disk", OK, f"{free:.0f} GB free for {storage}")
