"""The browser that the tests of the report share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.web.browser import BROWSER, FLAGS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()
