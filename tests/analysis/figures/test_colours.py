"""Colours: seen on light and dark pages, and the same for the same value in every figure."""

from __future__ import annotations

import re
from itertools import chain, pairwise
from pathlib import Path

import pytest
from support.made.runs import made_run

from analysis.figures import palette
from analysis.figures.effects import interaction
from analysis.figures.learning_curves import curves, small_multiples, steps
from analysis.figures.palette import colour_of, ordered
from analysis.figures.style import BUTTONS, error_bars
from analysis.insights.interaction import Interaction
from analysis.report.page import TEMPLATES
from analysis.results.search_tables import tables_of
from vgg6.config import ACTIVATIONS, CHOICES, OPTIMIZERS
from vgg6.tuning.run.search import read_search

HALF = 0.5  # of the way from one colour of a scale to the next


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def theme(name: str) -> dict[str, str]:
    """The page's own colours, from its style sheet."""
    css = (TEMPLATES / "page.css").read_text()
    start = ':root[data-theme="dark"]' if name == "dark" else ":root {"
    rules = css[css.index(start) :].split("}")[0]
    return dict(re.findall(r"--(\w+): (#\w+)", rules))


def between(one: str, other: str, share: float) -> str:
    """The colour that Plotly draws so far between two others."""
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def colours_of(scale: tuple[tuple[float, str], ...]) -> list[str]:
    colours = [colour for _, colour in scale]
    return [*colours, *(between(a, b, HALF) for a, b in pairwise(colours))]


@pytest.mark.parametrize("name", ["light", "dark"])
def test_marks_have_a_contrast_of_3_and_texts_of_4_5_on_both_pages(name: str) -> None:
    page = theme(name)
    bars = error_bars([], [], [])["color"]
    marks = {*palette.COLOURS, *palette.STATES.values(), palette.MUTED, bars,
             *colours_of(palette.LINE_SCALE), page["soft"]}  # fmt: skip
    assert len(marks) > 12
    weak = {(m, b): contrast(m, page[b]) for m in marks for b in ("bg", "panel")
            if contrast(m, page[b]) < 3}  # fmt: skip
    assert not weak
    assert contrast(page["ink"], page["bg"]) >= 4.5 <= contrast(page["soft"], page["bg"])


def test_texts_in_cells_and_on_buttons_have_a_contrast_of_4_5() -> None:
    cells = colours_of(palette.CELL_SCALE)
    assert min(contrast(palette.CELL_INK, cell) for cell in cells) >= 4.5
    font = BUTTONS["font"]["color"]
    pressed = "#F4FAFF"  # Plotly's own
    assert min(contrast(font, b) for b in (BUTTONS["bgcolor"], pressed)) >= 4.5
    assert contrast(theme("dark")["bg"], cells[0]) >= 3


def test_each_activation_optimizer_and_state_has_a_colour_of_its_own() -> None:
    for kind in ("activation", "optimizer"):
        assert len({colour_of(kind, v) for v in CHOICES[kind]}) == len(CHOICES[kind])
        assert len({palette.symbol_of(kind, v) for v in CHOICES[kind]}) == len(CHOICES[kind])
    assert len(set(palette.STATES.values())) == len(palette.STATES)


def test_values_stand_in_the_order_of_the_configuration_whatever_comes_first() -> None:
    assert ordered("optimizer", reversed(OPTIMIZERS)) == list(OPTIMIZERS)
    assert ordered("activation", ["new", "gelu", "relu", "gelu"]) == ["relu", "gelu", "new"]


def test_every_figure_of_a_search_gives_a_value_one_colour(tmp_path: Path) -> None:
    table = tables_of(read_search(made_run(tmp_path, trials=30, epochs=3))).epochs
    figures = [curves(table), small_multiples(table, "activation", "optimizer"),
               small_multiples(table, "optimizer", "activation"), steps(table, 300)]  # fmt: skip
    seen: dict[str, set[str]] = {}
    for trace in chain.from_iterable(figure.data for figure in figures):
        seen.setdefault(trace.name, set()).add(trace.line.color)
        assert trace.opacity is None, "a paler line has less contrast"
    for kind, names in (
        ("activation", ACTIVATIONS[:5]),
        ("optimizer", set(OPTIMIZERS) - {"adamw"}),
    ):
        assert {v: seen[v] for v in names} == {v: {colour_of(kind, v)} for v in names}
    shown = [trace.name for trace in figures[0].data if trace.showlegend]
    assert shown == list(ACTIVATIONS[:5])


def test_an_interaction_lists_optimizers_from_the_top_in_the_usual_order() -> None:
    found = Interaction(
        lr_bins=[0.001, 0.01, 0.1], optimizers=["adam", "sgd"], count=[[1, 0], [2, 3]],
        mean_score=[[0.5, None], [0.25, 0.123456]], epoch=1, strength=None, p=None,
    )  # fmt: skip
    trace = interaction(found).data[0]
    assert list(trace.y) == ["adam", "sgd"]
    assert trace.text[0][0] == "0.5000 (n=1)" and trace.text[1][1] == "0.1235 (n=3)"
    assert trace.z[1][1] == 0.123456, "the full value is there on hover"
