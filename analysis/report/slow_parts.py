"""The parts of a report that take seconds to make, kept while a search is watched."""

from __future__ import annotations

import time

from analysis.insights.importance import Importance, importance
from analysis.report.mistakes import Mistakes
from analysis.results.table_files import SearchTables
from analysis.winner.chosen_run import choose
from vgg6.common.checks import InputError
from vgg6.tuning.run.search import Search

NO_SCORE = "No trial has a score yet."
REST = 20  # times as long as importance took to measure, until it is measured again


class SlowParts:
    """Importance and the winner's mistakes, of one search.

    While the search runs, its importance is measured again once in a while; when it has ended, at
    once if there are new results. The mistakes are found again when the winner's weights changed.
    """

    def __init__(self) -> None:
        self._importance: tuple[Importance | None, str] | None = None
        self._of: tuple[int, bool] | None = None
        self._until = 0.0
        self._mistakes: Mistakes | str = ""
        self._weights: tuple[str, int] | None = None

    def importance(self, search: Search, tables: SearchTables) -> tuple[Importance | None, str]:
        """What ``analysis.insights.importance`` gives."""
        sessions = search.history.sessions
        ended = bool(sessions and sessions[-1].outcome)
        state = len(tables.epochs), ended
        began = time.monotonic()
        due = ended or began >= self._until
        if self._importance is None or (due and state != self._of):
            self._importance, self._of = importance(tables), state
            took = time.monotonic() - began
            self._until = began + (1 + REST) * took
        return self._importance

    def mistakes(self, search: Search) -> Mistakes | str:
        """The winner's mistakes, or a sentence that says why they are not known."""
        if not search.winner:
            return NO_SCORE
        chosen = choose(search)
        weights = chosen.weights, chosen.rows[-1].best_epoch
        if weights != self._weights:
            self._mistakes, self._weights = _mistakes(search, chosen.weights), weights
        return self._mistakes


class Unmeasured(SlowParts):
    """Says of each slow part that it is on its way, for a first page at once."""

    def importance(self, search: Search, tables: SearchTables) -> tuple[Importance | None, str]:
        return None, "is being measured"

    def mistakes(self, search: Search) -> Mistakes | str:
        return "The winner's mistakes are being found." if search.winner else NO_SCORE


class WithoutMistakes(SlowParts):
    """Leaves the winner's mistakes out: they take torch, the images and seconds."""

    def mistakes(self, search: Search) -> Mistakes | str:
        return "The winner's mistakes are in the report."


def _mistakes(search: Search, weights: str) -> Mistakes | str:
    if not search.folder.exists(weights):
        return "The weights of this run are not in its folder."
    from analysis.report.find_mistakes import find_mistakes  # imports torch

    try:
        return find_mistakes(search)
    except InputError as error:
        if error.field == "data":
            return "The images of this search are not on this machine as they were."
        return "The weights of this run cannot be read."
