"""How the page looks: its length, its contrast, its numbers, and what it does not show."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.web.browser import Opened, needs_browser

from analysis.report.gather_contents import gather
from analysis.report.page import TEMPLATES, page_parts, winner_settings, write_report
from analysis.report.page_markup import configuration, measured, number, prose, sentence
from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.usefixtures("few_draws")
SCREEN = 900  # pixels
FITS = "width => document.documentElement.scrollWidth <= width"  # soon: figures follow the window
# Each on each ground it may lie on.
TEXTS, EDGES, GROUNDS = ("ink", "soft", "accent"), ("edge", "accent", "soft"), ("bg", "panel")


def themes() -> dict[str, dict[str, str]]:
    """The colours of the style sheet, by theme and name."""
    css = (TEMPLATES / "page.css").read_text()
    light, dark = re.findall(r"^:root(?:\[data-theme=\"dark\"\])? \{ (--bg.*?) \}$", css, re.M)
    return {
        name: dict(re.findall(r"--(\w+): (#\w+);", rules))
        for name, rules in (("light", light), ("dark", dark))
    }


def contrast(one: str, other: str) -> float:
    """The ratio of two colours' luminances (WCAG 2.1)."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        red, green, blue = (
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_a_contrast_of_4_5_and_edges_of_3_to_1(theme: str) -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21)
    colours = themes()[theme]
    for names, least in ((TEXTS, 4.5), (EDGES, 3.0)):
        for name in names:
            for ground in GROUNDS:
                found = contrast(colours[name], colours[ground])
                assert found >= least, (name, ground, found)


def test_numbers_have_four_digits_and_their_full_value_on_hover() -> None:
    assert number(0.001837516697766738) == (
        '<span class="cut" title="0.001837516697766738">0.001838</span>'
    )
    assert [str(number(v)) for v in (0.0, 0.5, 64, "<b>")] == ["0", "0.5", "64", "&lt;b&gt;"]
    assert str(measured(0.717)) == "0.7170" and measured(None) == ""
    assert "0.7253" in measured(0.72533333) and 'title="0.72533333"' in measured(0.72533333)
    shown = configuration(TrialConfig(lr=0.00183752))
    assert 'title="Gelu_SGD_0.00183752_128_30"' in shown
    assert "gelu, sgd, lr 0.001838, batch 128" in shown
    assert "gelu" not in configuration(TrialConfig(), "activation").partition(">")[2]


def test_texts_are_sentences_without_markdown() -> None:
    assert sentence("trial 3 won.") == "Trial 3 won." and sentence("it won") == "It won."
    assert prose("`best` <it>") == "<code>best</code> &lt;it&gt;"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The recorded search of 48 trials, which keeps no weights."""
    folder = tmp_path_factory.mktemp("recorded") / "cifar10-48"
    shutil.copytree(ROOT / "docs" / "cifar10-48", folder)
    return RunFolder(str(folder))


def test_hyperparameters_at_a_default_that_nobody_varied_stand_apart(recorded: RunFolder) -> None:
    found = winner_settings(gather(read_search(recorded)))
    assert {"lr", "activation", "optimizer", "epochs", "seed"} <= found.varied.keys()
    assert found.defaults["dropout"] == 0.5 and "dropout" not in found.varied


@needs_browser
@pytest.mark.slow
def test_a_search_of_48_trials_takes_six_screens_and_shows_nothing_internal(
    browser: Any, recorded: RunFolder, tmp_path: Path
) -> None:
    contents = gather(read_search(recorded))
    parts = page_parts(contents)
    assert {"wrong", "smaller"} <= parts.empty, "it keeps no weights"
    write_report(contents, tmp_path / "r.html")
    opened = Opened(browser, (tmp_path / "r.html").as_uri())
    page = opened.page
    assert page.evaluate("document.documentElement.scrollHeight") <= 6 * SCREEN
    text = page.evaluate("document.body.innerText")
    assert ".safetensors" not in text and "`" not in text and "RUN:" not in text
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": SCREEN})
        page.wait_for_function(FITS, arg=width)
        wider = page.evaluate(
            "[...document.querySelectorAll('nav ul, .scroll, pre')]"
            ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
        )
        assert wider == []
    answer = page.locator("#result .tile").first.bounding_box()
    assert answer["y"] < SCREEN / 2
    page.set_viewport_size({"width": 390, "height": SCREEN})
    rows = page.locator("#result .cards tbody tr")
    assert rows.count() == 3 and rows.first.evaluate("e => getComputedStyle(e).display") == "block"
    page.wait_for_function(FITS, arg=390)
    wider = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{wider}.map(e => e.innerText)") == []
    page.close()


def test_a_search_that_did_not_beat_chance_says_so_before_its_winner(
    recorded: RunFolder,
) -> None:
    contents = gather(read_search(recorded))
    assert "No trial beat chance" not in page_parts(contents).sections["result"]
    assert contents.best
    contents.best = replace(contents.best, beats_chance=False)
    said = page_parts(contents).sections["result"]
    assert said.index("No trial beat chance") < said.index('class="tile"')
