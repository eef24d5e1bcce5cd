"""What the operating system grants this process."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """CPUs that this process may run on, which a container or taskset can make fewer."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
