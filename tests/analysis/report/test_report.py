"""The report in a real headless Chromium: drawn, brushed, filtered, escaped, live, on a phone."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.made_runs import made_run

import tune_vgg6
from analysis.figures.figure_files import SCALE, WIDTH, draw_files
from analysis.figures.learning_curves import curves
from analysis.figures.style import figure
from analysis.report.contents import ReportContents
from analysis.report.gather import gather
from analysis.report.page import render_page, write_report
from analysis.report.summary_md import write_summary
from analysis.report.watch import LivePage, serve
from analysis.results.timeline import rung_counts, running_trials, timeline
from search_spaces import load_space
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.usefixtures("few_draws")
needs_browser = pytest.mark.skipif(not BROWSER, reason="needs Chromium or Chrome")
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # fmt: skip
EVIL = "<script>window.broken=1</script><img src=x onerror='window.broken=2'>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return made_run(tmp_path_factory.mktemp("runs"), trials=90, epochs=8)


@pytest.fixture(scope="module")
def found(run: RunFolder, few_draws: None) -> ReportContents:
    """That search's report, for tests that only look at it."""
    return gather(read_search(run))


@pytest.fixture(scope="module")
def page_file(run: RunFolder, few_draws: None) -> Path:
    file = Path(run.path) / "report.html"
    assert tune_vgg6.main(["report", run.path]) == 0
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()


class Opened:
    """A page with what it complained of and what it asked the network for."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        size = {"width": options.pop("width", 1280), "height": 900}
        self.page = browser.new_page(viewport=size, **options)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", timeout=60_000)

    def _heard(self, message: Any) -> None:
        # Plotly says its warnings as traces.
        if message.type in ("error", "warning", "trace"):
            self.complaints.append(message.text)

    def draw_all(self) -> list[str]:
        figures = self.page.locator(".figure")
        for index in range(figures.count()):
            figures.nth(index).scroll_into_view_if_needed()
            self.page.wait_for_function(
                "i => document.querySelectorAll('.figure')[i].dataset.drawn", arg=index,
                timeout=60_000,
            )  # fmt: skip
        return list(self.page.evaluate("[...document.querySelectorAll('.figure')].map(f => f.id)"))


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    found = Opened(browser, page_file.as_uri())
    yield found
    found.page.close()


@needs_browser
@pytest.mark.slow
def test_every_figure_is_drawn_without_a_complaint_or_a_request(opened: Opened) -> None:
    figures = opened.draw_all()
    assert {"fig-parallel", "fig-progress", "fig-curves", "fig-by_activation", "fig-by_optimizer",
            "fig-importance", "fig-rungs", "fig-cluster", "fig-pareto"} <= set(figures)  # fmt: skip
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    empty = opened.page.evaluate(
        "[...document.querySelectorAll('.figure')].filter(f => !f.querySelector('.main-svg,canvas')"
        " || !f.data.length).map(f => f.id)"
    )
    assert empty == []


@needs_browser
@pytest.mark.slow
def test_brushing_an_axis_leaves_only_the_trials_inside(opened: Opened) -> None:
    page = opened.page
    page.locator("#fig-parallel").scroll_into_view_if_needed()
    page.wait_for_selector("#fig-parallel[data-drawn]")
    before = page.locator("#brushed").inner_text()
    assert before == "90 of 90 trials selected"
    # The last axis is the accuracy: mark its upper half with the mouse.
    box = page.locator("#fig-parallel .axis-brush").last.bounding_box()
    x, top = box["x"] + box["width"] / 2, box["y"] + 6
    page.mouse.move(x, top)
    page.mouse.down()
    page.mouse.move(x, top + box["height"] * 0.3, steps=12)
    page.mouse.up()
    page.wait_for_function("!document.getElementById('brushed').textContent.startsWith('90 of')")
    dimension = page.evaluate(
        "(d => [d.values, d.constraintrange])(document.getElementById('fig-parallel')"
        "._fullData[0].dimensions.at(-1))"
    )
    values, (low, high) = dimension
    inside = sum(low <= value <= high for value in values)
    assert page.locator("#brushed").inner_text() == f"{inside} of 90 trials selected"
    assert 0 < inside < 90
    assert "Best of them: trial" in page.locator("#brushed-list").inner_text()
    page.locator("#unbrush").click()
    page.wait_for_function("document.getElementById('brushed').textContent.startsWith('90 of')")


VISIBLE = (
    "[...document.getElementById('fig-curves').data].filter(t => t.visible !== false)"
    ".map(t => [t.meta.activation, t.meta.optimizer])"
)


@needs_browser
@pytest.mark.slow
def test_filters_hide_the_curves_of_what_is_not_ticked_and_work_by_keyboard(
    opened: Opened,
) -> None:
    page = opened.page
    page.locator("#fig-curves").scroll_into_view_if_needed()
    page.wait_for_selector("#fig-curves[data-drawn]")
    assert len({tuple(pair) for pair in page.evaluate(VISIBLE)}) > 20
    page.locator("#activation-gelu").focus()
    page.keyboard.press("Space")
    assert not page.locator("#activation-gelu").is_checked()
    page.wait_for_function(f"!{VISIBLE}.some(([a]) => a === 'gelu')")
    page.locator("button[data-all=optimizer]").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{VISIBLE}.length === 0")
    page.locator("#optimizer-adam").check()
    page.wait_for_function(
        f"{VISIBLE}.length > 0 && {VISIBLE}.every(([a, o]) => o === 'adam' && a !== 'gelu')"
    )


@needs_browser
@pytest.mark.slow
def test_the_skip_link_comes_first_and_focus_can_be_seen(opened: Opened) -> None:
    opened.page.keyboard.press("Tab")
    first = opened.page.evaluate("document.activeElement.className")
    assert first == "skip"
    opened.page.keyboard.press("Tab")
    width = opened.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert width == "3px"


@needs_browser
@pytest.mark.slow
def test_dark_and_light_follow_the_system_and_the_button(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file.as_uri(), color_scheme="dark")
    page = opened.page
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.locator("#fig-progress").scroll_into_view_if_needed()
    page.wait_for_selector("#fig-progress[data-drawn]")
    ink = "document.getElementById('fig-progress')._fullLayout.font.color"
    light_ink = page.evaluate(ink)
    page.locator("#theme").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)" != dark
    page.wait_for_function(f"{ink} !== {json.dumps(light_ink)}")
    page.close()


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, page_file: Path, width: int) -> None:
    opened = Opened(browser, page_file.as_uri(), width=width)
    opened.draw_all()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    panels = opened.page.evaluate(
        "['curves', 'by_activation', 'by_optimizer'].flatMap(name => {"
        " const f = document.getElementById('fig-' + name), left = f.getBoundingClientRect().left;"
        " return Object.entries(f._fullLayout).filter(([key]) => /^xaxis\\d*$/.test(key))"
        " .map(([, axis]) => [left + axis._offset, axis._length]); })"
    )
    assert len(panels) >= 15
    assert all(left >= 0 and left + wide <= width and wide >= 80 for left, wide in panels)
    opened.page.close()


@needs_browser
@pytest.mark.slow
def test_a_printed_page_has_every_figure(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file.as_uri())
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.page.wait_for_function(
        "[...document.querySelectorAll('.figure')].every(f => f.dataset.drawn)", timeout=60_000
    )
    opened.page.close()


@needs_browser
@pytest.mark.slow
def test_texts_of_the_run_are_shown_as_text(browser: Any, tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=20, epochs=3, command=f"search {EVIL}")
    facts = run.read_json(SEARCH)
    facts["name"] = EVIL
    facts["data"]["name"] = EVIL
    run.write_json(SEARCH, facts)
    journal = Path(run.file(JOURNAL))
    evil = json.dumps(f"loss {EVIL} </script><script>window.broken=3</script>")[1:-1]
    lines = journal.read_text().replace("the run diverged", evil).replace("node0", evil)
    journal.write_text(lines)
    write_report(gather(read_search(run)), tmp_path / "r.html")
    opened = Opened(browser, (tmp_path / "r.html").as_uri())
    opened.draw_all()
    assert opened.page.evaluate("window.broken === undefined")
    assert opened.page.locator("h1").inner_text().startswith(EVIL)
    assert opened.complaints == []
    opened.page.close()


@pytest.mark.slow
def test_the_page_stays_under_10_mb_at_a_thousand_trials_of_30_epochs(tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=1000, epochs=30)
    page = render_page(gather(read_search(run)))
    assert len(page.encode()) < 10e6


@pytest.mark.slow
def test_pictures_and_a_summary_are_written_where_there_is_a_browser(
    found: ReportContents, tmp_path: Path
) -> None:
    drawn = write_summary(found, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "digits (not CIFAR-10)" in text and "| activation | val_acc |" in text
    if not drawn:
        assert BROWSER is None and "![" not in text
        pytest.skip("no Chromium or Chrome: no PNG files")
    for name in found.figures:
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert f"]({name}.png)" in text


@needs_browser
def test_every_picture_is_as_high_as_its_figure(tmp_path: Path) -> None:
    heights = (300, 700)
    draw_files({tmp_path / f"{h}.png": figure([], h) for h in heights})
    for height in heights:
        assert Image.open(tmp_path / f"{height}.png").size == (WIDTH * SCALE, height * SCALE)


@pytest.mark.parametrize("what", ["no trial", "only diverged ones", "one running"])
def test_a_search_without_results_has_a_report_that_says_so(tmp_path: Path, what: str) -> None:
    run = made_run(tmp_path, trials=2, epochs=2)
    journal = Path(run.file(JOURNAL))
    lines = journal.read_text().splitlines(keepends=True)
    if what == "no trial":
        lines = lines[:1]
    elif what == "one running":
        lines = lines[:2]
    else:
        lines = [x.replace('"completed"', '"infeasible"') for x in lines if '"epoch"' not in x[:20]]
    journal.write_text("".join(lines))
    page = render_page(gather(read_search(run)))
    assert "no trial has a validation score yet" in page
    assert 'id="fig-curves"' not in page


def test_one_loss_that_went_astray_does_not_flatten_the_curves_of_the_others(
    found: ReportContents,
) -> None:
    table = found.table
    calm = curves(table)
    assert calm.layout.yaxis.range is None and calm.layout.yaxis3.range is None
    astray = table.assign(train_loss=[1e9, *table.train_loss[1:]])
    drawn = curves(astray)
    assert drawn.layout.yaxis.range[1] < 4 and "up to 3.5" in drawn.layout.annotations[0].text
    others = [drawn.layout[f"yaxis{n}"].range for n in (2, 3, 4)]
    assert others == [None] * 3, "the accuracies and the other loss are as they were"


def test_the_rungs_count_who_arrived_and_who_went_on(run: RunFolder) -> None:
    search = read_search(run)
    history = search.history
    first = rung_counts(search)[0]
    assert first.name == "epoch 1" and first.arrived == len(
        [t for t in history.trials.values() if t.epoch >= 1]
    )
    assert first.went_on == len([t for t in history.trials.values() if t.epoch > 1])
    assert 0.2 < first.cutoff < 0.6
    facts = search.facts.model_copy(update={"space": load_space("default"), "trials": 64})
    pointed = rung_counts(replace(search, facts=facts))
    assert pointed[0].arrived == first.arrived - 2, "trained whole"


def test_spans_are_unbroken_stretches_of_one_trial_on_one_worker(run: RunFolder) -> None:
    history = read_history(run)
    spans = timeline(history).spans
    assert len({span.trial for span in spans}) == len(history.trials) and len(spans) == len(
        history.trials
    )
    whole = next(span for span in spans if span.trial == 0)
    assert whole.length == pytest.approx((8 * 10 - 0.5) / 60)
    counts = [count for _, count in running_trials(spans)]
    assert counts[-1] == 0 and max(counts) >= 2


def ask(port: int, path: str, host: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


@pytest.mark.slow
def test_the_live_report_is_this_machines_alone_and_follows_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.watch.LEAST_S", 0.0)
    run = made_run(tmp_path, trials=12, epochs=3)
    journal = Path(run.file(JOURNAL))
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[: len(lines) // 2]))
    server = serve(run, 0)
    port = server.server_port
    assert server.server_address[0] == "127.0.0.1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = f"127.0.0.1:{port}"
    _, before = ask(port, "/version", own)
    status, page = ask(port, "/", own)
    assert status == 200 and f'data-live="{before}"' in page
    journal.write_text("".join(lines))
    _, after = ask(port, "/version", own)
    assert after != before
    assert f'data-live="{after}"' in ask(port, "/", own)[1]
    assert ask(port, "/", "evil.example")[0] == 403
    assert ask(port, "/../../etc/passwd", own)[0] == 404
    server.shutdown()


def test_the_page_is_made_again_only_when_the_journal_has_grown(tmp_path: Path) -> None:
    live = LivePage(made_run(tmp_path, trials=6, epochs=2))
    assert live.page() is live.page()


@needs_browser
@pytest.mark.slow
def test_a_live_page_refreshes_itself_and_keeps_its_filters(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.watch.LEAST_S", 0.0)
    run = made_run(tmp_path, trials=12, epochs=3)
    journal = Path(run.file(JOURNAL))
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[: len(lines) // 2]))
    server = serve(run, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    opened = Opened(browser, f"http://127.0.0.1:{server.server_port}/")
    page = opened.page
    page.locator("#activation-relu").uncheck()
    before = page.locator("[data-live]").get_attribute("data-live")
    journal.write_text("".join(lines))
    page.wait_for_function(
        "v => (document.querySelector('[data-live]') || {dataset: {live: v}}).dataset.live !== v",
        arg=before, timeout=60_000,
    )  # fmt: skip
    page.wait_for_selector("html[data-ready]")
    assert not page.locator("#activation-relu").is_checked()
    assert "completed" in page.locator(".sub").inner_text()
    page.close()
    server.shutdown()
