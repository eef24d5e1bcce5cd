"""A confirmed result in words: the same ones wherever it is told."""

from __future__ import annotations

from dataclasses import dataclass

from vgg6.tuning.run.records import Candidate


@dataclass(frozen=True)
class ConfirmedResult:
    """``mean``: the validation accuracy; ``interval``: in brackets, where there is one; ``over``:
    what the mean is of; ``in_search``: the single score in the search, and how much too high that
    was."""

    mean: str
    interval: str
    over: str
    in_search: str

    def __str__(self) -> str:
        return f"{self.mean}{self.interval}, the {self.over}; {self.in_search}"


def confirmed_result(candidate: Candidate) -> ConfirmedResult:
    """What a confirmation says of a candidate that has a mean."""
    seeds = sum(run.val_acc is not None for run in candidate.runs)
    interval = interval_in_words(candidate.low, candidate.high)
    return ConfirmedResult(
        f"{candidate.mean or 0.0:.4f}",
        interval and f" (95 % {interval})",
        f"mean of {seeds} fresh seed{'s' * (seeds > 1)}",
        f"in the search it scored {candidate.search_score:.4f}: an optimism of"
        f" {candidate.optimism or 0.0:+.4f}",
    )


def interval_in_words(low: float | None, high: float | None) -> str:
    """``0.8801 to 0.8959``, or nothing where there is no interval."""
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def verdict(candidate: Candidate, winner: int) -> str:
    """How a candidate stands to the one that won."""
    if candidate.trial == winner:
        return "winner"
    if candidate.eliminated_after:
        return "dropped"
    return "tied" if candidate.tied else "behind"
