"""The Markdown pages of the repository: their code blocks, sentences, links and anchors."""

from __future__ import annotations

import re
from pathlib import Path

from support.paths import ROOT

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
# What a person wrote for a person to read; docs/cifar10-48/summary.md is written by `report`.
PAGES = (README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md")))
BENCHMARKS = ROOT / "benchmarks" / "README.md"
PROSE = (*PAGES, BENCHMARKS, BENCHMARKS.with_name("LOG.md"))
OF_A_CHECKOUT = ("docs", "benchmarks", "cluster", "search_spaces", "tests")  # where pages may lie
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# Where a paragraph or an item of a list begins, and where a sentence ends within one.
_PARAGRAPH = re.compile(r"\n\s*\n|\n(?=\s*[-*] )|\n(?=\d+\. )")
_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z*X\"(])")


def every_page() -> list[Path]:
    """Every Markdown file of the repository, written by hand or not."""
    below = (page for folder in OF_A_CHECKOUT for page in (ROOT / folder).rglob("*.md"))
    return sorted({*ROOT.glob("*.md"), *below})


def name_of(page: Path) -> str:
    """A page's path below the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each fenced block; "" is a block of shell commands."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def without_blocks(page: Path) -> str:
    return _BLOCK.sub(" ", page.read_text(encoding="utf-8"))


def sentences(page: Path) -> list[str]:
    """What is read as prose: no blocks, tables, headings or pictures. Inline code is one word."""
    lines = without_blocks(page).splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith(("|", "#", "![")))
    text = re.sub(r"`[^`]*`", "X", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    paragraphs = (" ".join(part.split()) for part in _PARAGRAPH.split(text))
    return [s for part in paragraphs for s in _END.split(part) if len(s.split()) > 2]


def links(page: Path) -> list[str]:
    """The targets of all links and pictures outside of code, but for those of other hosts."""
    text = re.sub(r"`[^`\n]*`", "", without_blocks(page))
    return [target for target in _LINK.findall(text) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, made as GitHub makes them."""
    titles = re.findall(r"^#{1,6} +(.+?) *$", without_blocks(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}
