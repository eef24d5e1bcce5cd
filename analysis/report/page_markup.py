"""How the page spells numbers, configurations and sentences."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

from analysis.winner.pareto import KINDS
from vgg6.common.numbers_in_words import significant
from vgg6.config import TrialConfig

_CODE = re.compile(r"`([^`]+)`")


def number(value: Any) -> Markup:
    """A setting's value. A number that is cut has its full value on hover."""
    return _cut(value, significant(value)) if isinstance(value, float) else escape(value)


def measured(value: float | None) -> Markup:
    """A measured number, as a column of them shows it; nothing where there is none."""
    return Markup("") if value is None else _cut(value, significant(value, padded=True))


def interval(low: float | None, high: float | None) -> Markup:
    """``0.8801 to 0.8959``, or nothing where there is no interval."""
    if low is None or high is None:
        return Markup("")
    ends = measured(low), measured(high)
    return Markup('<span class="together">{} to {}</span>').format(*ends)


def configuration(config: TrialConfig, without: str = "") -> Markup:
    """A configuration in few words, with the label that files use on hover.

    ``without``: a field that stands beside it already.
    """
    choices = [getattr(config, kind) for kind in KINDS if kind != without]
    words = [*choices, f"lr {significant(config.lr)}", f"batch {config.batch_size}"]
    return Markup('<span title="{}">{}</span>').format(config.label, ", ".join(words))


def sentence(text: str) -> str:
    """A text that begins with a capital letter and ends with a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def prose(text: str) -> Markup:
    """A text for a paragraph: what stands in backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _cut(value: float, text: str) -> Markup:
    if float(text) == value:
        return escape(text)
    return Markup('<span class="cut" title="{}">{}</span>').format(repr(float(value)), text)
