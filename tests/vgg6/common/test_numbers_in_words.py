"""Counts, durations and rates as a person says them."""

from __future__ import annotations

import pytest

from vgg6.common.numbers_in_words import counted, duration, rate, roughly


def test_one_thing_is_singular_and_many_have_their_thousands_apart() -> None:
    assert [counted(n, "epoch") for n in (0, 1, 2, 1200)] == [
        "0 epochs", "1 epoch", "2 epochs", "1,200 epochs",
    ]  # fmt: skip
    assert counted(2, "search", "searches") == "2 searches"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "less than a second"), (0.6, "1 second"), (1.4, "1 second"), (104, "104 seconds"),
     (119.4, "119 seconds"), (119.6, "2 minutes"), (150, "2.5 minutes"), (597.5, "10 minutes"),
     (3600, "60 minutes"), (7200, "2 hours"), (9000, "2.5 hours"), (86400, "24 hours"),
     (4 * 86400, "4 days"), (4000 * 86400, "4,000 days")],
)  # fmt: skip
def test_a_duration_is_never_nothing_and_never_one_of_many(seconds: float, words: str) -> None:
    assert duration(seconds) == words
    assert roughly(seconds) == (words if seconds == 0 else f"about {words}")


@pytest.mark.parametrize(
    ("a_minute", "words"),
    [(22.4, "22 a minute"), (1, "1 a minute"), (0.04, "2.4 an hour"), (0.002, "2.9 a day"),
     (1e-5, "0.014 a day"), (0, "")],
)  # fmt: skip
def test_a_slow_rate_is_told_by_the_hour_or_the_day(a_minute: float, words: str) -> None:
    assert rate(a_minute) == words
