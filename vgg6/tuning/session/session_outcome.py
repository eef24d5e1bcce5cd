"""How a session of a search ended, in one word and a sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vgg6.common.numbers_in_words import counted
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import FAILED, INFEASIBLE, PAUSED, RUNNING

COMPLETE, INTERRUPTED, INCOMPLETE, ALL_FAILED = (
    "complete", "interrupted", "incomplete", "all failed",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a session ended. ``outcome``: complete, interrupted, incomplete or all failed;
    ``tracker_problems``: what went wrong with W&B and MLflow; ``wandb_seconds``: how long its end
    waited for W&B."""

    outcome: str
    detail: str
    tracker_problems: list[str]
    wandb_seconds: float


def outcome_of(history: History, trials: int, reason: str, exhausted: bool) -> tuple[str, str]:
    """Whether the search did all that it was asked for, from the trials' states alone."""
    counts = Counter(t.state for t in history.trials.values())
    ended = len(history.trials) - counts[RUNNING] - counts[PAUSED]
    scored = any(t.state != RUNNING for t in history.ranking())
    if reason and not (scored or counts[FAILED] or counts[INFEASIBLE]):
        return INCOMPLETE, f"{reason}, and no epoch has ended"
    if ended and not scored:
        first = next(t for t in history.trials.values() if t.reason)
        return ALL_FAILED, f"every trial failed; the first, trial {first.number}: {first.reason}"
    if reason:
        return COMPLETE, reason
    if exhausted and not counts[RUNNING]:
        return COMPLETE, f"the space gave no more than {counted(ended, 'configuration')}"
    if ended < trials:
        return INCOMPLETE, f"{ended} of {counted(trials, 'trial')} ended"
    failed = f", {counts[FAILED]} of them failed" if counts[FAILED] else ""
    return COMPLETE, f"{'the trial' if trials == 1 else f'all {trials:,} trials'} ended{failed}"
