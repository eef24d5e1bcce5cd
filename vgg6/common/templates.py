"""Pages and cards from Jinja templates, in which every text of a run is escaped.

A template's name says what it makes: ``page.html`` or ``summary.md``. What a variable holds is
shown as it is, and never taken for markup. A name that a template is not given is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vgg6.common.numbers_in_words import counted, interval_in_words, roughly


def render(folder: Path, name: str, **values: Any) -> str:
    """The text that a template of ``folder`` makes of ``values``.

    Args:
        name: ends in ``.html`` or ``.md``, which decides how texts are escaped.

    Raises:
        jinja2.UndefinedError: the template uses a name that ``values`` does not have.
    """
    return _environment(folder, Path(name).suffix).get_template(name).render(values)


@cache
def _environment(folder: Path, suffix: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=suffix == ".md",
        finalize=_plain if suffix == ".md" else None,
    )  # fmt: skip
    made.globals["interval_in_words"] = interval_in_words
    made.filters |= {"decimals": decimals, "signed": signed, "percent": percent,
                     "thousands": thousands, "counted": counted, "roughly": roughly,
                     "fenced": fenced}  # fmt: skip
    return made


def _plain(value: Any) -> Markup:
    """What stands for a variable in Markdown, unless it is Markdown already."""
    return value if isinstance(value, Markup) else Markup(plain(str(value)))


def plain(text: str) -> str:
    """A text as one line of Markdown that is nothing but text."""
    return "".join(f"\\{c}" if c in "\\`*[]<>|#" else c for c in " ".join(text.split()))


def fenced(lines: Sequence[str]) -> Markup:
    """Lines as a block of code in Markdown, whose fence is longer than any in them."""
    longest = max((len(ticks) for x in lines for ticks in re.findall("`+", x)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup("\n".join([fence, *lines, fence]))


def decimals(value: float, places: int = 4) -> str:
    """``0.8613``."""
    return f"{value:.{places}f}"


def signed(value: float) -> str:
    """``+0.0123``."""
    return f"{value:+.4f}"


def percent(share: float) -> str:
    """``86%`` of 0.8613."""
    return f"{share:.0%}"


def thousands(count: int) -> str:
    """``45,000``."""
    return f"{count:,}"
