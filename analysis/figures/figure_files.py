"""Figures as files: one page that needs no network, or a picture that a browser draws."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup
from PIL import Image

from vgg6.common.checks import InputError
from vgg6.common.files import check_target, write_atomic
from vgg6.common.templates import render

TEMPLATES = Path(__file__).parent / "templates"
_BREAK = re.compile("<br>")
BROWSERS = ("google-chrome", "chromium", "chromium-browser", "chrome")
PAGE = ".html"
FORMATS = (PAGE, ".png", ".svg", ".pdf")
TITLE_WIDTH = 100  # letters in a line of a title
PNG_COLOURS = 64
WIDTH, SCALE = 1000, 1.6  # of a PNG file: its pixels are their product


class BrowserFailed(OSError):
    """The browser that should draw pictures does not start, or has ended."""


def find_browser() -> str:
    """The Chrome or Chromium that draws pictures, or an empty string where there is none."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), "")


def check_browser() -> None:
    """Raise InputError where ``$BROWSER_PATH`` names a browser that is not there."""
    browser = os.environ.get("BROWSER_PATH")
    if browser and not shutil.which(browser):
        raise InputError("BROWSER_PATH", browser, "is no program")


def check_figure(key: str, out: Path) -> None:
    """Raise InputError unless a figure can be written to ``out``."""
    if out.suffix.lower() not in FORMATS:
        raise InputError(key, str(out), f"must end in {', '.join(FORMATS)}")
    check_target(key, out)
    if out.is_dir():
        raise InputError(key, str(out), "is a folder")
    if out.suffix.lower() == PAGE:
        return
    check_browser()
    if not find_browser():
        rule = f"needs Chrome or Chromium (or BROWSER_PATH); {PAGE} does not"
        raise InputError(key, str(out), rule)


def write_figure(figure: go.Figure, out: Path, title: str = "") -> None:
    """Write a figure whose file ``check_figure`` has passed.

    A page is light or dark as the system is, and prints in black on white.

    Args:
        title: of a figure that has none of its own.
    """
    if title:
        figure = _titled(figure, title)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == PAGE:
        config = {"displayModeBar": False, "responsive": True}
        drawn = figure.to_html(full_html=False, include_plotlyjs=True, config=config)
        title = _BREAK.split(figure.layout.title.text or "")[0]
        page = render(TEMPLATES, "figure.html", figure=Markup(drawn), title=Markup(title))
        write_atomic(out, page.encode())
        return
    draw_files({out: figure})


def draw_files(figures: Mapping[Path, go.Figure], titles: Mapping[Path, str] | None = None) -> None:
    """Have the browser of ``find_browser`` draw pictures: figures by the files to write.

    Args:
        titles: of those figures that get one.

    Raises:
        BrowserFailed: it does not start, or ends before the pictures are drawn.
    """
    os.environ["BROWSER_PATH"] = find_browser()
    import plotly.io
    from choreographer.errors import BrowserClosedError, BrowserFailedError, ChannelClosedError

    titles = titles or {}
    drawn = [_printed(figure, titles.get(file, "")) for file, figure in figures.items()]
    # Of several figures plotly would forget their own heights.
    heights = [figure.layout.height for figure in drawn]
    try:
        plotly.io.write_images(drawn, list(figures), width=WIDTH, height=heights, scale=SCALE)
    except (BrowserClosedError, BrowserFailedError, ChannelClosedError) as error:
        cause = " ".join(str(error).split())
        raise BrowserFailed(f"{find_browser()} cannot draw pictures: {cause}") from None
    for file in figures:
        if file.suffix.lower() == ".png":
            shrink(file)


def _printed(figure: go.Figure, title: str) -> go.Figure:
    """A copy in black on white, whatever it was, without what only a page can do."""
    copy = go.Figure(figure)
    copy.update_layout(paper_bgcolor="#fff", plot_bgcolor="#fff", font_color="#1b1f24")
    lines = {"gridcolor": "#d5dae0"} | dict.fromkeys(
        ("linecolor", "zerolinecolor", "tickcolor"), "#57606a"
    )
    copy.update_xaxes(lines).update_yaxes(lines)
    if copy.layout.updatemenus:
        copy.layout.updatemenus = ()
    return _titled(copy, title) if title else copy


def _titled(figure: go.Figure, title: str) -> go.Figure:
    """A copy that is higher by its title."""
    lines = wrap(title, TITLE_WIDTH)
    room = 24 + 22 * len(lines)
    extra = 22 * (len(lines) - 1)
    height = (figure.layout.height or 450) + room
    return go.Figure(figure).update_layout(
        height=height, margin_t=(figure.layout.margin.t or 30) + room,
        title={"text": "<br>".join(map(escape, lines)), "font": {"size": 17}, "x": 0.02,
               "xanchor": "left", "y": 1 - (14 + extra) / height, "yanchor": "top"},
    )  # fmt: skip


def shrink(file: Path) -> None:
    """Write a PNG file again with few colours: the most frequent, of which lines and bars are made,
    and others spread over all that it has, so that rare ones on a scale keep their hue.

    The colours between them, at the edges of letters and lines, become the nearest of those.
    """
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    packed = pixels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    colours, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    frequent = parts[np.argsort(-counts, kind="stable")[: PNG_COLOURS // 3]]
    each_once = Image.fromarray(parts[None].astype(np.uint8))
    spread = each_once.quantize(PNG_COLOURS - len(frequent)).getpalette() or []
    chosen = np.concatenate([frequent, np.reshape(spread, (-1, 3))])[:PNG_COLOURS]
    distances = ((parts[:, None] - chosen[None]) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1).astype(np.uint8)
    small = Image.fromarray(nearest[places].reshape(packed.shape))
    small.putpalette(chosen.astype(np.uint8).tobytes())
    small.save(file, optimize=True)
