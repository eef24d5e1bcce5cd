"""A confirmed result in words: the same ones wherever it is told."""

from __future__ import annotations

from dataclasses import dataclass

from vgg6.common.numbers_in_words import counted, score_in_words
from vgg6.tuning.run.confirmation import DIVERGED, OPEN, WORSE, Candidate
from vgg6.tuning.run.trials import FAILED


@dataclass(frozen=True)
class ConfirmedResult:
    """``mean``: of the score, with its interval; ``over``: what the mean is of; ``in_search``: the
    single score in the search, and how much too high that was, if its trial was trained as long."""

    mean: str
    over: str
    in_search: str

    def __str__(self) -> str:
        return f"{self.mean}, the {self.over}; {self.in_search}"


def confirmed_result(candidate: Candidate) -> ConfirmedResult:
    """What a confirmation says of a candidate that has a mean."""
    seeds = sum(run.result is not None for run in candidate.runs)
    in_search = f"in the search it scored {candidate.search_score:.4f}"
    if candidate.optimism is None:
        in_search += ", trained for fewer epochs: the two do not compare"
    else:
        in_search += f": an optimism of {round(candidate.optimism, 4) + 0.0:+.4f}"  # no -0.0000
    return ConfirmedResult(
        score_in_words(candidate.mean or 0.0, candidate.low, candidate.high),
        f"mean of {counted(seeds, 'fresh seed')}",
        in_search,
    )


def how_it_was_lost(candidate: Candidate) -> str:
    """Why a candidate lacks the score of a seed: ``diverged`` or ``crashed``."""
    return "crashed" if any(run.state == FAILED for run in candidate.runs) else "diverged"


def verdict(candidate: Candidate, winner: int) -> str:
    """How a candidate stands to the one that won, with the bound that decided. One that was dropped
    may have been compared with another."""
    if candidate.trial == winner:
        return "winner"
    if candidate.stands == DIVERGED:
        return how_it_was_lost(candidate)
    low = candidate.behind_low
    if low is None:  # of an earlier version
        if candidate.eliminated_after:
            return "dropped"
        return "not told apart" if candidate.tied else "behind"
    if candidate.stands == WORSE:
        than = candidate.compared_with
        other = "" if than is None or than == winner else f" than trial {than}"
        return f"at least {low:.4f} worse{other}"
    if candidate.stands == OPEN:
        return f"may be {-low:.4f} better"
    return f"at most {max(0.0, -low):.4f} better"
