"""glibc's allocator, told to keep what a process frees.

By default it gives large blocks back to the kernel. A training step frees all that the step before
it has allocated, so that the kernel takes and clears the same pages again and again. On a virtual
machine that can be a fifth of a step.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

# Of <malloc.h>, where they are described.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
# A thread's memory comes in pieces of 64 MB, of which a free one is given back unless the padding
# is larger. Trials run in threads. What is larger than such a piece is given back all the same.
PADDING = 2**27
# Who has set one of these has told glibc what to do.
VARIABLES = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, until it ends. Returns whether it does: other C
    libraries than glibc are left alone, and one that the environment gives rules to.

    It then holds as much as it ever needed, and somewhat more, since blocks of different sizes do
    not fill each other's places.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or any(name in os.environ for name in VARIABLES):
        return False
    never, no_maps = -1, 0
    wanted = {M_TRIM_THRESHOLD: never, M_TOP_PAD: PADDING, M_MMAP_MAX: no_maps}
    return all([mallopt(name, value) == 1 for name, value in wanted.items()])
