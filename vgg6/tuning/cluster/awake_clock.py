"""A clock for those who wait for signs of life: it stands still while this process does."""

from __future__ import annotations

import threading
import time

PAUSE_S = 5.0  # nobody has asked for so long: the process was stopped meanwhile


class AwakeClock:
    """Seconds in which this process ran.

    After Ctrl-Z, a batch system's suspend or a frozen container the cluster has been as quiet as
    this process, and that says nothing against it. So a gap between two calls counts as ``PAUSE_S``
    at most. Threads that watch call it every few seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._awake, self._last = 0.0, time.monotonic()

    def __call__(self) -> float:
        with self._lock:
            now = time.monotonic()
            self._awake += min(now - self._last, PAUSE_S)
            self._last = now
            return self._awake
