"""Claim: the report of 1,000 trials of 30 epochs is under 10 MB and can be used within 3 s.

    python -m benchmarks.speed.report_size  # five openings, about two minutes

The journal is made up. Each opening is a new headless Chromium page, from the request to the moment
when its buttons answer and the figures in the window are drawn. Needs Playwright
(requirements-dev.txt) and Chromium or Chrome.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from analysis.report.gather_contents import gather
from analysis.report.page import write_report
from benchmarks.machine import describe, write_result
from tests.support.made.runs import made_run
from vgg6.tuning.run.search import read_search

EPOCHS = 30
MOST_MB, MOST_S = 10.0, 3.0
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--openings", type=int, default=5)
    arguments = parser.parse_args()
    facts = describe(trials=arguments.trials, epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        started = time.perf_counter()
        write_report(gather(read_search(made_run(Path(folder), arguments.trials, EPOCHS))), file)
        written = time.perf_counter() - started
        megabytes = file.stat().st_size / 1e6
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=FLAGS
        )
        seconds = []
        for _ in range(arguments.openings):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            started = time.perf_counter()
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready]")
            page.wait_for_selector(".figure[data-drawn]")
            seconds.append(time.perf_counter() - started)
            page.close()
        browser.close()
    median = statistics.median(seconds)
    holds = megabytes < MOST_MB and median < MOST_S
    print(f"size     {megabytes:.1f} MB  bar {MOST_MB:g}")
    print(f"in use   {median:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  bar {MOST_S:g}")
    print(f"written  {written:.1f} s")
    print("the claim holds" if holds else "the claim does NOT hold")
    found = {"megabytes": megabytes, "seconds": seconds, "written_s": written, "holds": holds}
    write_result("report_size", {"machine": facts, **found})


if __name__ == "__main__":
    main()
