"""What a control group grants of this machine: containers, batch systems and services set one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

MOUNTED, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
V1_NAMES = ("cpu", "cpu,cpuacct", "cpuacct,cpu")  # how version 1 may be mounted


def cpu_quota(mounted: Path = MOUNTED, own: Path = OWN) -> float:
    """CPUs' worth of time that this process gets; infinite where nothing limits it.

    Reads versions 1 and 2. A group is bound by those above it too, so the least counts. Inside a
    container the groups above are not visible, and its own one is the root.

    Args:
        mounted: where the groups are.
        own: which of them this process is in, as the kernel writes it.
    """
    return min((_quota(folder) for folder in _groups(mounted, own)), default=math.inf)


def memory_left(mounted: Path = MOUNTED, own: Path = OWN) -> float:
    """Bytes of memory that the groups of this process leave it; infinite where nothing limits it.

    Reads version 2. What the kernel keeps of files is given back when it is needed, and is free.
    """
    return min((_memory(folder) for folder in _groups(mounted, own)), default=math.inf)


def _memory(group: Path) -> float:
    limit = group / "memory.max"
    if not limit.is_file() or (most := limit.read_text(encoding="utf-8").strip()) == "max":
        return math.inf
    used = int((group / "memory.current").read_text(encoding="utf-8"))
    lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    kept = dict(line.split() for line in lines)
    files = sum(int(kept.get(name, 0)) for name in ("active_file", "inactive_file"))
    return float(max(0, int(most) - used + files))


def _groups(mounted: Path, own: Path) -> Iterator[Path]:
    """This process's group and all above it, in each version."""
    lines = own.read_text(encoding="utf-8").splitlines() if own.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in [mounted / name for name in V1_NAMES] if controllers else [mounted]:
            inside = Path(path.lstrip("/"))
            yield from (mount / group for group in (inside, *inside.parents))


def _quota(group: Path) -> float:
    """Of one group: microseconds of CPU time in each period, divided by the period."""
    if (file := group / "cpu.max").is_file():
        quota, period = file.read_text(encoding="utf-8").split()
    elif (file := group / "cpu.cfs_quota_us").is_file():
        quota = file.read_text(encoding="utf-8").strip()
        period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8")
    else:
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)
