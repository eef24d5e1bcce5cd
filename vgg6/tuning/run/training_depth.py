"""How far the trials of a search were trained: a ranking is worth what its complete trials are.

A search that stops early may rank one complete trial above many that had a single epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vgg6.common.numbers_in_words import counted
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, PAUSED, PRUNED, RUNNING, STOPPED

FEW = 2  # complete trials, on which no ranking should rest
MOST_GROUPS = 4
OTHERS = 3  # trials of a search that is large enough to be warned


def pruned_after(history: History) -> dict[int, int]:
    """How many trials were stopped early after how many epochs."""
    ends = Counter(t.epoch for t in history.trials.values() if t.state == PRUNED)
    return dict(sorted(ends.items()))


def in_words(history: History) -> str:
    """``of 8 trials, 7 ended after epoch 1, 1 was trained to the end``."""
    counts = Counter(trial.state for trial in history.trials.values())
    ends = _grouped(pruned_after(history)).items()
    parts = [f"{number} ended after epoch {label}" for label, number in ends]
    if counts[PAUSED]:
        parts.append(f"{counts[PAUSED]} {'is' if counts[PAUSED] == 1 else 'are'} paused")
    if counts[STOPPED]:
        parts.append(f"{counts[STOPPED]} ended with the search")
    if lost := counts[INFEASIBLE] + counts[FAILED]:
        parts.append(f"{lost} diverged or crashed")
    if counts[RUNNING]:
        parts.append(f"{counts[RUNNING]} did not end")
    complete = counts[COMPLETED]
    if complete == len(history.trials) > 1:
        return "each was trained to the end"
    parts.append(f"{complete or 'none'} {'were' if complete > 1 else 'was'} trained to the end")
    return f"of {counted(len(history.trials), 'trial')}, {', '.join(parts)}"


def rests_on_few(history: History) -> str:
    """What to know of a ranking that rests on few complete trials; else an empty text."""
    complete = sum(t.state == COMPLETED for t in history.trials.values())
    if complete > FEW or len(history.trials) < OTHERS:
        return ""
    return f"the ranking rests on {counted(complete, 'complete trial')}, and may be chance"


def expected_in_words(running: Sequence[float]) -> str:
    """The same of a search that has not begun. ``running``: how many trials run each epoch."""
    falls = [(e, round(n)) for e, n in enumerate(running) if e and round(n) < round(running[e - 1])]
    if not falls:
        return "all to the end"
    said = ", ".join(f"{number} after epoch {epoch}" for epoch, number in falls)
    return f"of {counted(round(running[0]), 'trial')} about so many go on: {said}, to the end"


def _grouped(ends: dict[int, int]) -> dict[str, int]:
    """Ends by epoch; where there are many, those of 2 or 3, of 4 to 7 and so on together."""
    if len(ends) <= MOST_GROUPS:
        return {str(epoch): number for epoch, number in ends.items()}
    found: Counter[str] = Counter()
    for epoch, number in ends.items():
        first = 1 << max(0, epoch.bit_length() - 1)
        found["1" if first == 1 else f"{first} to {2 * first - 1}"] += number
    return dict(found)
