"""Figures as files: one page that needs no network, or a picture that a browser draws."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go

from vgg6.common.checks import InputError
from vgg6.common.files import check_target, write_atomic

BROWSERS = ("google-chrome", "chromium", "chromium-browser", "chrome")
PAGE = ".html"
FORMATS = (PAGE, ".png", ".svg", ".pdf")
WIDTH, SCALE = 1000, 1.6  # of a PNG file: its pixels are their product


def find_browser() -> str:
    """The Chrome or Chromium that draws pictures, or an empty string where there is none."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), "")


def check_figure(key: str, out: Path) -> None:
    """Raise InputError unless a figure can be written to ``out``."""
    if out.suffix.lower() not in FORMATS:
        raise InputError(key, str(out), f"must end in {', '.join(FORMATS)}")
    check_target(key, out)
    if out.is_dir():
        raise InputError(key, str(out), "is a folder")
    if out.suffix.lower() != PAGE and not find_browser():
        rule = f"needs Chrome or Chromium (or BROWSER_PATH); {PAGE} does not"
        raise InputError(key, str(out), rule)


def write_figure(figure: go.Figure, out: Path) -> None:
    """Write a figure whose file ``check_figure`` has passed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == PAGE:
        write_atomic(out, figure.to_html(include_plotlyjs=True).encode())
        return
    draw_files({out: figure})


def draw_files(figures: Mapping[Path, go.Figure]) -> None:
    """Have the browser of ``find_browser`` draw pictures: figures by the files to write."""
    os.environ["BROWSER_PATH"] = find_browser()
    import plotly.io

    drawn = [_printed(figure) for figure in figures.values()]
    # Of several figures plotly would forget their own heights.
    heights = [figure.layout.height for figure in drawn]
    plotly.io.write_images(drawn, list(figures), width=WIDTH, height=heights, scale=SCALE)


def _printed(figure: go.Figure) -> go.Figure:
    """A copy in black on white, whatever it was."""
    copy = go.Figure(figure)
    return copy.update_layout(paper_bgcolor="#fff", plot_bgcolor="#fff", font_color="#1b1f24")
