"""What this machine is and what the operating system grants this process of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import psutil

from vgg6.common.cgroups import cpu_quota, memory_left
from vgg6.common.checks import Range

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "bf16", "fp32")
KERNELS = ("torch", "triton")  # the first by default
THREADS = Range(1, 1024)


def usable_cpus() -> int:
    """CPUs that this process may keep busy: taskset, a container or a batch system can make them
    fewer. Of a quota that is no whole number, the whole CPUs count, one at least."""
    here = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if here else os.cpu_count() or 1
    return max(1, int(min(allowed, cpu_quota())))


def available_memory() -> float:
    """Bytes of memory that this process may still take: a container may have less than its host."""
    return min(float(psutil.virtual_memory().available), memory_left())


def cpu_model() -> str:
    """The CPU's name, as the kernel tells it where it does."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def mps_is_running(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether NVIDIA's Multi-Process Service runs for processes that have this environment. CUDA
    uses it by itself where it does. It leaves its socket behind when it ends, but not this file."""
    pipes = environment.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return Path(pipes, "nvidia-cuda-mps-control.pid").exists()
