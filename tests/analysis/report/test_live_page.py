"""The live report: what it sends, how often it is made, and how an open page takes it."""

from __future__ import annotations

import gzip
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run
from support.web.browser import Opened, needs_browser

from analysis.report.live_page import Changes, LivePage, plotly_address, plotly_library
from analysis.report.live_server import LiveServer, serve
from analysis.report.slow_parts import SlowParts
from analysis.results.search_tables import tables_of
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.usefixtures("few_draws")


@contextmanager
def served(run: RunFolder) -> Iterator[LiveServer]:
    with serve(run, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(
    server: LiveServer, path: str, host: str = "", packed: bool = False
) -> tuple[int, Message, bytes]:
    """The status, the headers and the body of an answer."""
    port = server.server_port
    headers = {"Host": host or f"127.0.0.1:{port}"}
    if packed:
        headers["Accept-Encoding"] = "gzip"
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, b""


def part_of(run: RunFolder, lines: int) -> list[str]:
    """Cut a run's journal to its first lines, and return all that it had."""
    journal = Path(run.file(JOURNAL))
    whole = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(whole[:lines]))
    return whole


def version_of(page: bytes) -> str:
    return page.decode().partition('data-live="')[2].partition('"')[0]


@pytest.mark.slow
def test_the_live_report_is_this_machines_alone_and_follows_the_journal(tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=12, epochs=3)
    whole = part_of(run, 20)
    with served(run) as server:
        assert server.server_address[0] == "127.0.0.1"
        status, _, page = ask(server, "/")
        before = version_of(page)
        assert status == 200 and before == server.live.version
        Path(run.file(JOURNAL)).write_text("".join(whole))
        server.live.update()
        after = version_of(ask(server, "/")[2])
        assert after == server.live.version != before
        assert ask(server, "/", "evil.example")[0] == 403
        assert ask(server, "/../../etc/passwd")[0] == 404
        assert json.loads(ask(server, "/news?since=another-3")[2]) == {"reload": True}


@pytest.mark.slow
def test_a_page_is_sent_only_what_changed(tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=48, epochs=8)
    whole = part_of(run, 150)
    with served(run) as server:
        server.live.update()  # with what its first page did not wait for
        _, headers, first = ask(server, "/", packed=True)
        page = gzip.decompress(first)
        assert len(first) < 100_000 and plotly_library().plain[:1000] not in page
        assert plotly_address().encode() in page
        _, library, sent = ask(server, plotly_address(), packed=True)
        assert "immutable" in library["Cache-Control"] and len(sent) < 1_600_000
        news = f"/news?since={version_of(page)}"
        status, headers, nothing = ask(server, news, packed=True)
        assert (status, nothing) == (204, b"") and len(headers.as_bytes()) < 300
        # One epoch of one trial more.
        row = next(line for line in whole[150:] if '"epoch"' in line[:20])
        with open(run.file(JOURNAL), "a") as journal:
            journal.write(row)
        assert server.live.update()
        status, _, packed = ask(server, news, packed=True)
        assert status == 200 and len(packed) < 20_000
        parts = json.loads(gzip.decompress(packed))["parts"]
        curves = [key for key in parts if key.startswith("figure/curves/")]
        every = [key for key in server.live._changes.texts if key.startswith("figure/curves/")]
        assert 1 <= len(curves) <= 5 < len(every), "the four panels of one pair, and the axes"
        assert "section/commands" not in parts and "figure/importance/0" not in parts


def test_changes_are_told_by_version_and_what_is_gone_by_its_key() -> None:
    changes = Changes()
    changes.take({"a": 1, "b": {"x": 2}, "c": 3})
    changes.take({"a": 1, "b": {"x": 4}})
    assert json.loads(changes.after(1, "v2")) == {
        "version": "v2", "parts": {"b": {"x": 4}}, "gone": ["c"],
    }  # fmt: skip
    changes.take({"a": 5, "b": {"x": 4}})
    assert json.loads(changes.after(2, "v3"))["parts"] == {"a": 5}
    assert json.loads(changes.after(0, "v3"))["parts"] == {"a": 5, "b": {"x": 4}}


def test_the_page_is_made_again_only_when_the_journal_has_grown(tmp_path: Path) -> None:
    live = LivePage(made_run(tmp_path, trials=6, epochs=2))
    assert live.update()
    page = live.page()
    assert not live.update()
    assert live.page() is page


def test_the_first_page_does_not_wait_for_what_takes_seconds_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(
        "analysis.report.slow_parts.importance",
        lambda tables: (None, f"has measured {calls.append(1) or len(calls)}"),
    )
    live = LivePage(made_run(tmp_path, trials=6, epochs=2))
    live.update(quick=True)
    first = live.version
    assert not calls and b"Importance is being measured" in live.page().plain
    assert live.update() and len(calls) == 1, "the next update does, though nothing is new"
    news = live.news(first)
    assert news and b"Importance has measured 1" in news.plain
    assert not live.update()


def test_importance_of_a_running_search_is_measured_only_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(
        "analysis.report.slow_parts.importance",
        lambda tables: (None, f"{calls.append(1) or len(calls)}"),
    )
    clock = [0.0]

    def passes() -> float:
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr("analysis.report.slow_parts.time.monotonic", passes)
    run = made_run(tmp_path, trials=6, epochs=2)
    whole = part_of(run, 10)
    slow = SlowParts()

    def measured() -> int:
        search = read_search(run)
        return int(slow.importance(search, tables_of(search))[1])

    assert measured() == 1
    Path(run.file(JOURNAL)).write_text("".join(whole[:11]))
    assert measured() == 1, "it took a second, a second ago"
    clock[0] = 100.0
    assert measured() == 2
    Path(run.file(JOURNAL)).write_text("".join(whole))
    assert [measured(), measured()] == [3, 3], "at once when the search has ended, and once"


@needs_browser
@pytest.mark.slow
def test_an_open_page_takes_what_is_new_and_keeps_what_was_done_to_it(
    browser: Any, tmp_path: Path
) -> None:
    run = made_run(tmp_path, trials=12, epochs=3)
    whole = part_of(run, 20)
    with served(run) as server:
        opened = Opened(browser, f"http://127.0.0.1:{server.server_port}/")
        page = opened.page
        opened.draw_all()
        page.locator("#activation-relu").uncheck()
        page.evaluate("window.same = document.getElementById('fig-curves')")
        points = "window.same.data.reduce((n, t) => n + t.x.length, 0)"
        before = page.evaluate(points)
        Path(run.file(JOURNAL)).write_text("".join(whole))
        page.wait_for_function(f"{points} > {before}")
        page.wait_for_function("document.querySelector('.sub').innerText.includes('completed')")
        assert page.evaluate("window.same === document.getElementById('fig-curves')")
        assert not page.locator("#activation-relu").is_checked()
        assert page.locator("#curves-whole").get_attribute("open") is not None
        page.wait_for_function(
            "window.same.data.every(t => (t.meta.activation !== 'relu') === (t.visible !== false))"
        )
        assert [url for url in opened.requests if "/news" in url]
        assert sum(url.endswith("/") for url in opened.requests) == 1, "it was never loaded again"
        assert opened.complaints == []
        page.close()
