"""The stopping rule of a search, from what was asked and what was added since."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces import Space
from vgg6.tuning.algorithms.early_stopping import StoppingRule, stopping_rule, trained_whole
from vgg6.tuning.algorithms.promotion import Spared
from vgg6.tuning.run.history import History
from vgg6.tuning.settings import Settings


def rule_of(
    settings: Settings,
    space: Space,
    history: History,
    trials: int,
    *,
    added: int = 0,
    lengths: Sequence[int] = (),
) -> StoppingRule:
    """A rule that has heard nothing yet.

    Args:
        trials: how many the search has, those that were begun again included.
        added: how many of the space's points, the last ones, a warm start added.
        lengths: the full lengths that the search had, the first one first.
    """
    again = frozenset(trial.number for trial in history.begun_again)
    asked = trials - len(again)
    return stopping_rule(
        settings.scheduler, epochs=settings.epochs, grace=settings.grace,
        reduction=settings.reduction, seed=settings.seed, trials=trials,
        spared=Spared(trained_whole(space, settings.searcher, asked, added), again),
        began=lengths[0] if lengths else None,
        by_model=[trial.number for trial in history.trials.values() if trial.by_model],
    )  # fmt: skip
