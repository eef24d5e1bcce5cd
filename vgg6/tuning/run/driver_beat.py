"""A driver's sign of life in its run folder, for other machines to see.

A lock may hold on one machine alone: some network storage is mounted so, and some has no locks. The
sign is a small file that is written again and again. Whoever finds one of another machine watches
it for a while. No clock is compared: machines may differ.
"""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vgg6.common.files import write_atomic
from vgg6.common.say import say
from vgg6.tuning.run.folder import RunFolder

DRIVER = ".driver"
BEAT_S = 3.0
WATCH_S = 15.0  # network storage may show a file as it was some seconds ago
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def beating(run: RunFolder) -> Iterator[None]:
    """Leave the sign while the block lasts, in a local run folder."""
    path, over = Path(run.file(DRIVER)), threading.Event()

    def beat(number: int) -> None:
        sign = {"host": platform.node(), "machine": _machine(), "beat": number}
        with suppress(OSError):  # a storage that is lost is said by whoever writes results there
            write_atomic(path, json.dumps(sign).encode(), sync=False)

    def beat_on() -> None:
        number = 1
        while not over.wait(BEAT_S):
            beat(number)
            number += 1

    beat(0)
    thread = threading.Thread(target=beat_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def last_host(run: RunFolder) -> str:
    """The host name in the sign; empty where there is none."""
    return str((_read(run) or {}).get("host", ""))


def runs_elsewhere(run: RunFolder) -> bool:
    """Whether a driver on another machine runs this search. Watches for a while, and says so, where
    its sign is there: a driver that was killed leaves it too."""
    first = _read(run)
    if first is None or first.get("machine") == _machine():
        return False
    say(
        f"{run.path} was run on {first.get('host', 'another machine')} and did not end there:"
        f" looking for {WATCH_S:.0f} s whether it still runs"
    )
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        time.sleep(BEAT_S / 3)
        if (now := _read(run)) != first:
            return now is not None
    return False


def _read(run: RunFolder) -> dict[str, Any] | None:
    try:
        found = json.loads(Path(run.file(DRIVER)).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _machine() -> str:
    """What tells one running kernel from another: containers of one machine share its locks."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return platform.node()
