"""A search on a machine whose clock was set back while it ran, by itself or by a person."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from support.made.runs import made_run

from analysis.results.timeline import timeline
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.status import status_of


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """The clock was set back by an hour after its third trial."""
    run = made_run(tmp_path, trials=8, epochs=4)
    events = [json.loads(line) for line in run.read(JOURNAL).splitlines()]
    for event in events:
        if event.get("trial", 0) >= 3 or event["event"] == "session_end":
            event["time"] -= 3600
    run.write(JOURNAL, "".join(json.dumps(event) + "\n" for event in events).encode())
    return run


@pytest.fixture(autouse=True)
def at_most_a_minute() -> Iterator[None]:
    """A reader that counts on a clock may never end."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def test_its_timeline_is_drawn(run: RunFolder) -> None:
    spans = timeline(read_search(run).history).spans
    assert {span.trial for span in spans} == set(range(8))
    assert all(span.length >= 0 for span in spans)


def test_its_status_is_not_from_the_future_and_it_is_not_said_to_start(
    run: RunFolder, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = status_of(read_search(run))
    assert begun.state == "complete" and begun.epochs_run == 23
    events = run.read(JOURNAL).splitlines()
    run.write(JOURNAL, b"\n".join(events[:-1]) + b"\n")  # it still runs
    monkeypatch.setattr("time.time", lambda: json.loads(events[-2])["time"] + 5)
    with FileLock(run.file(".lock")):
        found = status_of(read_search(run))
    assert found.state == "running" and found.last_news_s >= 0
    status, out, _ = said("status", run.path)
    assert status == 0 and "made on digits" in out
