"""Counts, durations, rates and measured numbers in words."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
DIGITS = 4  # significant ones


def counted(number: int, one: str, several: str = "") -> str:
    """``1 trial``, ``2 trials``. ``several``: the plural, where it is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def duration(seconds: float) -> str:
    """``1 second``, ``104 seconds``, ``2.5 minutes``, ``3 hours``: two digits, and never 0."""
    if seconds < 0.5:
        return "less than a second"
    if round(seconds) < 2 * MINUTE:
        return counted(round(seconds), "second")
    for size, unit in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * size or size == MINUTE:
            number = seconds / size
            return f"{number:.2g} {unit}" if number < 9.95 else f"{number:,.0f} {unit}"
    raise AssertionError("a minute is the least")


def roughly(seconds: float) -> str:
    """``about 104 seconds``; ``less than a second`` as it is."""
    text = duration(seconds)
    return text if text.startswith("less") else f"about {text}"


def rate(a_minute: float) -> str:
    """``22 a minute``, ``2.5 an hour``, ``3 a day``; an empty text for none at all."""
    for size, unit in ((1.0, "a minute"), (HOUR / MINUTE, "an hour"), (DAY / MINUTE, "a day")):
        if a_minute * size >= 1 or (unit == "a day" and a_minute > 0):
            number = a_minute * size
            return f"{number:.2g} {unit}" if number < 9.95 else f"{number:,.0f} {unit}"
    return ""


def significant(value: float, *, padded: bool = False) -> str:
    """A number of four significant digits; ``padded`` keeps the zeros at its end, for columns."""
    return f"{value:{'#' if padded else ''}.{DIGITS}g}".rstrip(".")


def interval_in_words(low: float | None, high: float | None) -> str:
    """``0.8801 to 0.8959``, or nothing where there is no interval."""
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def score_in_words(score: float, low: float | None = None, high: float | None = None) -> str:
    """``0.8886 (95 % 0.8801 to 0.8959)``, or the score alone where there is no interval."""
    interval = interval_in_words(low, high)
    return f"{score:.4f} (95 % {interval})" if interval else f"{score:.4f}"
