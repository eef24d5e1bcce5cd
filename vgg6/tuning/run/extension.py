"""How a search was extended: more trials, longer ones, more time, failed ones tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from vgg6.common.numbers_in_words import counted, duration
from vgg6.common.schema import Flag, Real, Record, Text, real, whole
from vgg6.tuning.settings import Settings


class Extension(Record):
    """What was added to a search. None: it stays as it was.

    ``session``: the number of the first session that it holds for; ``trials``, ``epochs``: so many
    in all; ``time_budget``: seconds of each session from then on; ``retry_failed``: trials that had
    failed by then run again.
    """

    session: Annotated[int, whole(1, 10**9)]
    created: Text = ""
    command: Text = ""
    trials: Annotated[int, whole(1, 10**6)] | None = None
    epochs: Annotated[int, whole(1, 10_000)] | None = None
    time_budget: Annotated[Real, real(0, 1e9)] | None = None
    retry_failed: Flag = False


def as_extended(settings: Settings, extensions: Sequence[Extension]) -> Settings:
    """A search's settings with all that was added to it."""
    for one in extensions:
        given: dict[str, Any] = {
            "trials": one.trials,
            "epochs": one.epochs,
            "time_budget": one.time_budget,
        }
        settings = replace(settings, **{k: v for k, v in given.items() if v is not None})
    return settings


def lengths_of(settings: Settings, extensions: Sequence[Extension]) -> tuple[int, ...]:
    """The full lengths that a search had one after another, in epochs.

    Args:
        settings: those that it began with.
    """
    return (settings.epochs, *(one.epochs for one in extensions if one.epochs is not None))


def in_words(began: Settings, trials: int, extensions: Sequence[Extension]) -> list[str]:
    """Each extension in a line: ``extended on 2026-11-28: 32 to 64 trials``.

    Args:
        began: the settings that the search began with; trials: how many it was to have then.
    """
    found, epochs = [], began.epochs
    for one in extensions:
        parts = []
        if one.trials is not None:
            parts.append(f"{trials:,} to {counted(one.trials, 'trial')}")
            trials = one.trials
        if one.epochs is not None:
            parts.append(f"{epochs:,} to {counted(one.epochs, 'epoch')}")
            epochs = one.epochs
        if one.time_budget is not None:
            parts.append(f"{duration(one.time_budget)} a session")
        if one.retry_failed:
            parts.append("failed trials run again")
        day = f" on {one.created[:10]}" if one.created else ""
        found.append(f"extended{day}: {', '.join(parts)}")
    return found
