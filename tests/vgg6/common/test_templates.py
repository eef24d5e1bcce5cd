"""Templates show texts as texts, numbers as asked, and refuse a name that they are not given."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from vgg6.common.templates import render

EVIL = "<script>alert(1)</script> [a](b) `c` | *d*\n# no title"


def made(folder: Path, name: str, text: str, **values: object) -> str:
    (folder / name).write_text(text)
    return render(folder, name, **values)


def test_a_text_in_html_is_no_markup_and_what_a_macro_makes_is(tmp_path: Path) -> None:
    macro = "{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}{{ bold(evil) }}"
    page = made(tmp_path, "page.html", macro, evil=EVIL)
    assert page.startswith("<b>&lt;script&gt;") and "<script" not in page


def test_a_text_in_markdown_is_one_line_without_markdown(tmp_path: Path) -> None:
    macro = "{% macro row(cell) %}| {{ cell }} |\n{% endmacro %}{{ row(evil) }}"
    for text in (macro, "| {{ evil }} |\n", "| {{ [evil] | join(', ') }} |\n"):
        card = made(tmp_path, f"card{len(text)}.md", text, evil=EVIL)
        assert card.count("\n") == 1 and card.startswith(
            r"| \<script\>alert(1)\</script\> \[a\](b)"
        )
        assert r"\`c\` \| \*d\* \# no title |" in card


def test_a_command_in_markdown_stands_in_a_fence_longer_than_its_own(tmp_path: Path) -> None:
    text = "{{ [command] | fenced }}\n"
    assert made(tmp_path, "a.md", text, command="a ``` <b>") == "````\na ``` <b>\n````\n"


def test_numbers_are_shown_as_asked(tmp_path: Path) -> None:
    text = "{{ x | decimals }} {{ x | decimals(2) }} {{ x | signed }} {{ x | percent }}"
    assert made(tmp_path, "a.html", text, x=0.86125) == "0.8612 0.86 +0.8612 86%"
    assert made(tmp_path, "b.html", "{{ n | thousands }}", n=45000) == "45,000"


@pytest.mark.parametrize("name", ["page.html", "card.md"])
def test_a_name_that_is_not_given_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UndefinedError, match="absent"):
        made(tmp_path, name, "{{ absent }}")
