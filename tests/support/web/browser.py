"""A headless Chromium, and a page that is open in it."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(not BROWSER, reason="needs Chromium or Chrome")
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # fmt: skip
PATIENCE_MS = 180_000  # of what the page is waited for: a busy machine draws slowly


class Opened:
    """A page with what it complained of and what it asked the network for."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        size = {"width": options.pop("width", 1280), "height": 900}
        self.page = browser.new_page(viewport=size, **options)
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]")

    def _heard(self, message: Any) -> None:
        # Plotly says its warnings as traces.
        if message.type in ("error", "warning", "trace"):
            self.complaints.append(message.text)

    def draw_all(self) -> list[str]:
        """Unfold the page, and look at each figure in turn until it is drawn. Returns their ids."""
        self.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        figures = self.page.locator(".figure")
        for index in range(figures.count()):
            figures.nth(index).scroll_into_view_if_needed()
            self.page.wait_for_function(
                "i => document.querySelectorAll('.figure')[i].dataset.drawn", arg=index
            )
        return list(self.page.evaluate("[...document.querySelectorAll('.figure')].map(f => f.id)"))
