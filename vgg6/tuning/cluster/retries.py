"""What the next attempt of a trial gets, and whether the last one counts against it.

Out of device memory, it is tried once more, from its last epoch, with a larger share of a GPU; out
of memory again, or with nothing larger to give, it is infeasible. At the same size it would only
fail again. An attempt that ended with its node does not count.
"""

from __future__ import annotations

import re
from pathlib import Path

from ray.tune.experiment import Trial

from vgg6.tuning.cluster.allotment import Allotment

# Here Ray begins to guess why a worker died.
CAUSES = "Some common causes include"
# And here, what to set when its memory monitor has ended one.
HOST_MEMORY = "how to address the out of memory issue"
# How it says that a worker went with its node, or that there was none to start it on.
NODE_LOST = re.compile(
    "is unavailable: |its node has died|it was cancelled before it started running"
)
LOSSES = 10  # nodes in a row, without an epoch gained: the trial may be what ends them


class OutOfDeviceMemory(RuntimeError):
    """A trial needs more device memory than its share, and a larger share can be given."""


def larger_share(gpus: float) -> float | None:
    """Twice a fraction of a GPU, at most a whole one; None where there is no larger one."""
    return min(1.0, 2 * gpus) if 0 < gpus < 1 else None


def fewer(at_once: int, times: int) -> int:
    """How many trials may run at once after ``times`` of them ran out of device memory.

    One less each time, to make room for the larger share; never less than half, rounded up: that
    is room for every one of them to have it.
    """
    return max(at_once - times, (at_once + 1) // 2)


def enlarge(allotment: Allotment, trial: Trial) -> None:
    """Give a trial that is between two attempts a larger share if the last one ran out of memory.

    The share goes with the trial's assignment, by which its process and Ray both know it.
    """
    if OutOfDeviceMemory.__name__ in last_error(trial):
        trial.config["gpus"] = larger_share(allotment.gpus)
        trial.update_resources(allotment.request(trial.config))


def last_error(trial: Trial) -> str:
    """Why a trial's last attempt ended, in a line. Read from the driver's own copy of Ray's
    messages: that in the storage comes later."""
    file = Path(trial.error_file) if trial.error_file else None
    lines = file.read_text(encoding="utf-8").strip().splitlines() if file and file.exists() else []
    if lines and HOST_MEMORY in lines[-1]:
        return "its host ran out of memory, and Ray ended the worker"
    return lines[-1].split(CAUSES)[0].strip() if lines else "the worker died"
