"""The tests' own cache of measurements, which a whole checkout shares. Images that the user's cache
has decoded are in it, too.

Tests run side by side. A process that measures the machine then finds it busy and keeps nothing,
and so would every other one after it, for seconds.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vgg6.common.user_folders import user_cache


def use(folder: Path) -> None:
    """This process and those that it starts keep there what a user has in ``~/.cache``. What the
    machine is fastest with is settled."""
    of_the_user = user_cache()
    os.environ["XDG_CACHE_HOME"] = str(folder)
    if of_the_user.exists() and not user_cache().exists():
        other = shutil.ignore_patterns("speeds.json", "staging")
        shutil.copytree(of_the_user, user_cache(), ignore=other)
    from vgg6.hardware.cpu_speed import PROCESSES, thread_speeds
    from vgg6.hardware.measurements import remember, remembered
    from vgg6.hardware.runtime import Runtime

    thread_speeds(Runtime.resolve("cpu").precision)
    for key, found in remembered(", fastest").items():
        if found["processes"] < PROCESSES:
            remember(key, found | {"processes": PROCESSES})
