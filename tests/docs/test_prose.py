"""The pages are short, their sentences too, and what they point to is there."""

from __future__ import annotations

import re
from dataclasses import Field, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.web.pages import (
    BENCHMARKS,
    PAGES,
    PROSE,
    README,
    anchors,
    every_page,
    links,
    name_of,
    sentences,
    without_blocks,
)

from search_spaces.parameter import PARAMETER_NAMES
from vgg6.common.checks import Range
from vgg6.common.fields import about
from vgg6.config import TrialConfig

README_LINES, PAGE_LINES, BENCHMARKS_LINES, PICTURE_BYTES = 150, 200, 80, 150_000
MEAN_WORDS, LONG, LONG_SHARE = 14.0, 28, 0.05
anchors_of = cache(anchors)


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_a_pages_sentences_are_short(page: Path) -> None:
    words = {sentence: len(sentence.split()) for sentence in sentences(page)}
    longest = max(words, key=lambda sentence: words[sentence])
    assert sum(words.values()) / len(words) <= MEAN_WORDS, longest
    assert sum(n > LONG for n in words.values()) / len(words) <= LONG_SHARE, longest


@pytest.mark.parametrize("page", [*PAGES, BENCHMARKS], ids=name_of)
def test_a_page_is_short(page: Path) -> None:
    most = {README: README_LINES, BENCHMARKS: BENCHMARKS_LINES}.get(page, PAGE_LINES)
    assert len(page.read_text().splitlines()) <= most


@pytest.mark.parametrize("page", every_page(), ids=name_of)
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), link
        assert not anchor or anchor in anchors_of(found), link


def test_every_page_of_the_docs_is_one_click_from_the_readme() -> None:
    reached = {(ROOT / link.split("#")[0]).resolve() for link in links(README)}
    assert set(PAGES) - reached <= {README}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|sh|yaml|csv|md))`", without_blocks(page))
    missing = [path for path in named if not (ROOT / path).exists() and "NAME" not in path]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_that_a_page_places_in_a_file_is_defined_there(page: Path) -> None:
    for name, path in re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", without_blocks(page)):
        assert re.search(rf"^(def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE), name


def test_every_folder_of_the_readmes_tree_is_there() -> None:
    tree = README.read_text().split("```text\n")[1].split("```")[0]
    above: list[str] = []
    for line in tree.splitlines():
        found = re.match(r"([│├└─ ]*)([\w./]+)", line)
        assert found, line
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        assert Path(ROOT, *above).exists(), line
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "vgg6").rglob("*.py")}
    told = {word.rstrip("/") for word in re.findall(r"[\w]+/", tree)}
    assert {folder.rsplit("/", 1)[-1] for folder in folders} <= told


def row_of(field: Field[Any]) -> str:
    """A hyperparameter's line of the table, from the configuration class."""
    rule, default = about(field), getattr(TrialConfig(), field.name)
    if isinstance(rule.allowed, Range):
        values = rule.allowed.words
    else:
        values = ", ".join(f"`{choice}`" for choice in rule.allowed or ())
    shown = f"`{default}`" if isinstance(default, str) else f"{default:g}"
    return f"| `{field.name}` | {rule.help} | {values} | {shown} |"


def test_the_table_of_hyperparameters_is_that_of_the_configuration() -> None:
    """Where this fails, what it expects is what the page must say."""
    page = (ROOT / "docs/hyperparameters.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [row_of(field) for field in fields(TrialConfig)]
    for page_of in (README, ROOT / "docs/spaces.md"):
        assert any(link.endswith("hyperparameters.md") for link in links(page_of))


def test_the_example_of_a_space_names_every_hyperparameter_in_its_comments() -> None:
    lines = (ROOT / "search_spaces" / "example.yaml").read_text().splitlines()
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    for field in fields(TrialConfig):
        if field.name not in PARAMETER_NAMES:
            continue
        (said,) = [line for line in comments if line.startswith(f"{field.name}: ")]
        rule = about(field)
        assert rule.help in said, field.name
        allowed = rule.allowed
        words = [allowed.words] if isinstance(allowed, Range) else list(allowed or ())
        assert all(word in said for word in words), field.name


def test_every_pinned_package_has_its_version_and_its_reason() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    rows = re.findall(r"^\| ([\w\[\],-]+) \| ([\d.]+) \| .+ \|$", page, re.MULTILINE)
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [tuple(line.split("#")[0].strip().split("==")) for line in lines if "==" in line]
    assert sorted(rows) == sorted(pinned)


def test_no_picture_of_the_docs_is_large() -> None:
    pictures = [p for p in (ROOT / "docs").rglob("*") if p.suffix in (".png", ".svg")]
    assert pictures
    assert max(p.stat().st_size for p in pictures) <= PICTURE_BYTES
