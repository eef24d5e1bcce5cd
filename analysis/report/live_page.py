"""The newest report of a running search, and what changed in it since a page was sent."""

from __future__ import annotations

import gzip
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any

from plotly.offline import get_plotlyjs

from analysis.report.gather_contents import gather
from analysis.report.page import PageParts, assemble, page_parts
from analysis.report.slow_parts import SlowParts, Unmeasured
from analysis.winner.looks_at_test_set import LOOKS
from vgg6.common.checks import InputError
from vgg6.common.say import say
from vgg6.tuning.run.folder import CONFIRMATION, FRONT, JOURNAL, RunFolder
from vgg6.tuning.run.search import read_search

LOOK_EVERY_S = 1.0  # at the journal
REST = 3  # times as long as a report took to make, until the next one is made
WATCHED = (JOURNAL, CONFIRMATION, FRONT, LOOKS)


@dataclass(frozen=True)
class Body:
    """What an answer holds, and the same compressed."""

    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, text: str) -> Body:
        plain = text.encode()
        return cls(plain, gzip.compress(plain, 5))


@cache
def plotly_library() -> Body:
    """Plotly's source."""
    return Body.of(get_plotlyjs())


@cache
def plotly_address() -> str:
    """Where the page finds it: an address that changes with its content."""
    return f"/plotly-{sha256(plotly_library().plain).hexdigest()[:12]}.js"


@dataclass
class Changes:
    """The parts of a page as JSON texts, and at which version each last changed."""

    version: int = 0
    texts: dict[str, str] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)

    def take(self, parts: Mapping[str, Any]) -> None:
        """Take the newest parts as the next version."""
        self.version += 1
        fresh = {key: json.dumps(value, separators=(",", ":")) for key, value in parts.items()}
        for key in self.texts.keys() | fresh.keys():
            if self.texts.get(key) != fresh.get(key):
                self.since[key] = self.version
        self.texts = fresh

    def after(self, version: int, name: str) -> str:
        """The parts that changed after ``version``, and the keys of those that are gone, as JSON.

        ``name``: of the version that the page then has.
        """
        changed = [key for key, at in self.since.items() if at > version]
        parts = ",".join(
            f"{json.dumps(key)}:{self.texts[key]}" for key in changed if key in self.texts
        )
        gone = json.dumps([key for key in changed if key not in self.texts])
        return f'{{"version":{json.dumps(name)},"parts":{{{parts}}},"gone":{gone}}}'


def flat(parts: PageParts) -> dict[str, Any]:
    """The parts of a page by keys: a figure is its layout and each of its traces."""
    found: dict[str, Any] = {"head": parts.head, "trials": parts.trial_data}
    for id, html in parts.sections.items():
        found[f"section/{id}"] = {"html": html, "empty": id in parts.empty}
    for name, figure in parts.figure_data.items():
        found[f"figure/{name}/layout"] = figure["layout"]
        found |= {f"figure/{name}/{i}": trace for i, trace in enumerate(figure["data"])}
    return found


class LivePage:
    """The newest page of a run, made in the background when the run's files have changed.

    What is asked for is answered at once, from the page that was made last.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._name = secrets.token_hex(4)  # of this server: another one counts its own versions
        self._lock = threading.Lock()
        self._slow = SlowParts()
        self._changes = Changes()
        self._page = Body(b"", b"")
        self._of: object = None
        self._ended = threading.Event()

    @property
    def version(self) -> str:
        return f"{self._name}-{self._changes.version}"

    def page(self) -> Body:
        """The whole page, without Plotly's library."""
        return self._page

    def news(self, since: str) -> Body | None:
        """What a page of that version lacks, as JSON; None if nothing."""
        with self._lock:
            if since == self.version:
                return None
            name, _, version = since.rpartition("-")
            if name != self._name or not version.isdecimal():
                return Body.of('{"reload":true}')
            return Body.of(self._changes.after(int(version), self.version))

    def update(self, quick: bool = False) -> bool:
        """Make the page again if the run's files have changed. Returns whether it was.

        ``quick``: leave what takes seconds to measure to the next update.

        Raises:
            InputError: a file of the run is damaged.
        """
        state = [
            (info.size, info.mtime_ns)
            for info in self.run.fs.get_file_info([self.run.file(name) for name in WATCHED])
        ]
        if state == self._of:
            return False
        parts = page_parts(gather(read_search(self.run), Unmeasured() if quick else self._slow))
        with self._lock:
            self._changes.take(flat(parts))
        page = assemble(parts, live=self.version, plotly_address=plotly_address())
        self._page, self._of = Body.of(page), None if quick else state
        return True

    def follow(self) -> None:
        """Update the page until ``stop``."""
        while not self._ended.wait(LOOK_EVERY_S):
            began = time.monotonic()
            try:
                self.update()
            except InputError as error:
                say(f"the report stays as it was: {error}")
            self._ended.wait(REST * (time.monotonic() - began))

    def stop(self) -> None:
        self._ended.set()
