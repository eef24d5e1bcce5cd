"""The report in a real headless Chromium: drawn, brushed, filtered, escaped, live, on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.made.runs import DATA, made_run
from support.web.browser import BROWSER, Opened, needs_browser

import tune_vgg6
from analysis.figures.figure_files import SCALE, WIDTH
from analysis.figures.learning_curves import curves
from analysis.report.contents import ReportContents
from analysis.report.gather_contents import gather
from analysis.report.page import render_page, write_report
from analysis.report.slow_parts import SlowParts
from analysis.report.summary_md import write_summary
from analysis.results.timeline import rung_counts, running_trials, timeline
from analysis.winner.chosen_run import choose
from search_spaces import load_space
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.usefixtures("few_draws")
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
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    """The page with all its figures; a test leaves its marks and filters as they were."""
    found = Opened(browser, page_file.as_uri())
    found.draw_all()
    yield found
    found.page.close()


@pytest.fixture(scope="module")
def fresh(browser: Any, page_file: Path) -> Iterator[Opened]:
    """The page of a system that prefers dark, with only its first figures drawn."""
    found = Opened(browser, page_file.as_uri(), color_scheme="dark")
    yield found
    found.page.close()


@needs_browser
@pytest.mark.slow
def test_every_figure_is_drawn_without_a_complaint_or_a_request(opened: Opened) -> None:
    figures = opened.page.evaluate("[...document.querySelectorAll('.figure')].map(f => f.id)")
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
    page.locator("button[data-all=optimizer]").click()
    page.locator("#activation-gelu").check()


@needs_browser
@pytest.mark.slow
def test_a_command_is_copied_by_its_button(opened: Opened) -> None:
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    command = opened.page.locator("#commands .command").nth(1)
    command.locator("button").click()
    command.get_by_text("Copied").wait_for()
    copied = opened.page.evaluate("navigator.clipboard.readText()")
    assert copied == command.locator("code").inner_text() and "resume" in copied


@needs_browser
@pytest.mark.slow
def test_the_skip_link_comes_first_and_focus_can_be_seen(fresh: Opened) -> None:
    fresh.page.keyboard.press("Tab")
    first = fresh.page.evaluate("document.activeElement.className")
    assert first == "skip"
    fresh.page.keyboard.press("Tab")
    width = fresh.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert width == "3px"


BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@needs_browser
@pytest.mark.slow
def test_a_printed_page_is_light_and_has_every_figure_as_wide_as_the_paper(fresh: Opened) -> None:
    page = fresh.page
    dark = page.evaluate(BACKGROUND)
    folded = page.locator("details:not([open])").count()
    page.locator("#fig-progress").scroll_into_view_if_needed()
    page.wait_for_selector("#fig-progress[data-drawn]")
    page.evaluate("Plotly.relayout('fig-progress', {'xaxis.range': [1, 2]})")
    zoom = "document.getElementById('fig-progress')._fullLayout.xaxis.range"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("[...document.querySelectorAll('.figure')].every(f => f.dataset.drawn)")
    assert folded >= 4 and page.locator("details:not([open])").count() == 0
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)" != dark
    widths = page.evaluate(
        "[...document.querySelectorAll('.figure')].map(f => f._fullLayout.width)"
    )
    assert min(widths) >= 600 and max(widths) <= 718, "of A4, without its margins, in pixels"
    assert page.evaluate(zoom) == [1, 2]
    assert page.locator(".updatemenu-button").count() == 0, "paper has nothing to press"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(zoom) == [1, 2]
    assert page.locator(".updatemenu-button").count() == 2
    assert page.evaluate(BACKGROUND) == dark
    assert page.locator("details:not([open])").count() == folded


@needs_browser
@pytest.mark.slow
def test_dark_and_light_follow_the_system_and_the_button(fresh: Opened) -> None:
    page = fresh.page
    dark = page.evaluate(BACKGROUND)
    page.locator("#fig-progress").scroll_into_view_if_needed()
    page.wait_for_selector("#fig-progress[data-drawn]")
    ink = "document.getElementById('fig-progress')._fullLayout.font.color"
    light_ink = page.evaluate(ink)
    page.locator("#theme").click()
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)" != dark
    page.wait_for_function(f"{ink} !== {json.dumps(light_ink)}")


# Of each figure: its text, its axes and, of parallel coordinates, their labels.
COLOURS = """[...document.querySelectorAll('.figure')].map(f => [f.id, f._fullLayout.font.color,
    Object.entries(f._fullLayout).filter(([key]) => /^[xy]axis\\d*$/.test(key)).map(
        ([key, a]) => [key, a.gridcolor, a.linecolor, a.zerolinecolor, a.tickcolor]),
    f._fullData.filter(t => t.type === 'parcoords').map(
        t => [t.labelfont.color, t.tickfont.color, t.rangefont.color, t.unselected.line.color])])"""


@needs_browser
@pytest.mark.slow
def test_a_figure_is_drawn_in_the_colours_in_which_it_would_be_painted_anew(fresh: Opened) -> None:
    fresh.draw_all()
    drawn = fresh.page.evaluate(COLOURS)
    assert any(lines for *_, lines in drawn) and any(len(axes) > 4 for _, _, axes, _ in drawn)
    for _ in range(2):
        fresh.page.locator("#theme").click()
    assert fresh.page.evaluate(COLOURS) == drawn


PANELS = (
    "['curves', 'by_activation', 'by_optimizer'].flatMap(name => {"
    " const f = document.getElementById('fig-' + name), left = f.getBoundingClientRect().left;"
    " return Object.entries(f._fullLayout).filter(([key]) => /^xaxis\\d*$/.test(key))"
    " .map(([, axis]) => [left + axis._offset, axis._length]); })"
)


@needs_browser
@pytest.mark.slow
def test_a_phone_needs_no_sideways_scrolling(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file.as_uri(), width=390)
    opened.draw_all()
    for width in (390, 320):
        opened.page.set_viewport_size({"width": width, "height": 900})
        opened.page.wait_for_function(
            "w => [...document.querySelectorAll('.figure')].every("
            "f => f.closest('.wide') || f._fullLayout.width <= w)", arg=width,
        )  # fmt: skip
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        panels = opened.page.evaluate(PANELS)
        assert len(panels) >= 15
        assert all(left >= 0 and left + wide <= width and wide >= 80 for left, wide in panels)
        hints = opened.page.locator(".hint")
        assert hints.count() >= 2 and all(hint.is_visible() for hint in hints.all())
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
def test_pictures_as_high_as_their_figures_and_a_summary_are_written_where_there_is_a_browser(
    found: ReportContents, tmp_path: Path
) -> None:
    why = write_summary(found, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "digits (not CIFAR-10)" in text and "| activation | val_acc |" in text
    if why:
        assert BROWSER is None and "![" not in text and "Chromium" in why
        pytest.skip("no Chromium or Chrome: no PNG files")
    for name, figure in found.figures.items():
        picture = Image.open(tmp_path / f"{name}.png")
        assert picture.format == "PNG" and f"]({name}.png)" in text
        title = picture.height / SCALE - figure.layout.height
        assert picture.width == WIDTH * SCALE
        assert 45 < title < 69, "one line or two above the figure"


def test_a_browser_that_does_not_start_costs_the_pictures_and_not_the_summary(
    found: ReportContents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/bin/false")
    why = write_summary(found, tmp_path)
    assert why.startswith("/bin/false cannot draw pictures: ")
    text = (tmp_path / "summary.md").read_text()
    assert "| activation | val_acc |" in text and "![" not in text
    assert not list(tmp_path.glob("*.png"))


def test_one_trial_alone_is_not_drawn_against_others(tmp_path: Path) -> None:
    figures = gather(read_search(made_run(tmp_path, trials=1, epochs=2))).figures
    assert {"progress", "curves", "cluster"} <= figures.keys()
    assert not {"parallel", "pareto"} & figures.keys()


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
    assert "No trial has a validation score yet" in page
    assert page.count(' class="empty"') >= 5, "a line each"
    assert "--confirm" not in page.partition('id="commands"')[2].partition("<script")[0]
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


def test_a_report_does_not_download_the_images_of_its_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    asked: list[str] = []
    monkeypatch.setattr(
        "torchvision.datasets.CIFAR10.download", lambda self: asked.append(self.root)
    )
    cifar10 = DATA | {"name": "cifar10", "argument": "cifar10"}
    search = read_search(made_run(tmp_path, trials=6, epochs=2, data=cifar10))
    search.folder.write(choose(search).weights, b"")
    said = SlowParts().mistakes(search)
    assert said == "The images of this search are not on this machine as they were."
    assert not asked
