"""A search as it lies in its folder: what was asked, what came of it, what was confirmed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from search_spaces import Space
from search_spaces.parameter import check_value
from vgg6.common.checks import InputError, check_key
from vgg6.common.numbers_in_words import counted
from vgg6.common.schema import located
from vgg6.metric import Metric
from vgg6.tuning.run.confirmation import Confirmation, read_confirmation
from vgg6.tuning.run.confirmed_front import ConfirmedFront, read_front
from vgg6.tuning.run.extension import as_extended, in_words, lengths_of
from vgg6.tuning.run.folder import CONFIRMATION, FRONT, JOURNAL, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search_facts import SearchFacts, read_facts
from vgg6.tuning.run.trials import OPEN, TrialRecord


@dataclass(frozen=True)
class Search:
    """A search, running or ended.

    Args:
        folder: where it lies.
        facts: what was asked, of which data, on what; where it was extended, with all that was
            added: more trials, those that were begun again included, or longer ones.
        history: its trials and their epochs.
        confirmation: of its best over fresh seeds, where there was one.
        began: what was asked before anything was added, if it was extended.
        outdated: a confirmation of before the search was last extended, which chooses no winner.
        front: the best network of each size over fresh seeds, where it was confirmed since.
    """

    folder: RunFolder
    facts: SearchFacts
    history: History
    confirmation: Confirmation | None = None
    began: SearchFacts | None = None
    outdated: Confirmation | None = None
    front: ConfirmedFront | None = None

    @property
    def extensions(self) -> list[str]:
        """Each extension in words."""
        facts = self.began or self.facts
        return in_words(facts.settings, facts.trials, self.facts.extensions)

    @property
    def is_pending(self) -> bool:
        """Whether it was extended, and no session has begun since."""
        known = self.facts.extensions
        return bool(known) and known[-1].session > len(self.history.sessions)

    @property
    def has_trials_left(self) -> bool:
        """Whether a trial may go on or has not begun."""
        history, again = self.history, len(self.history.begun_again)
        most = min(self.facts.trials - again, self.space.size)
        under_way = any(state in OPEN for state in history.states)
        return under_way or len(history.trials) - again < most

    @property
    def has_ended(self) -> bool:
        """Whether all of its trials have, and its last session brought itself to an end."""
        sessions = self.history.sessions
        ended = bool(sessions) and sessions[-1].outcome == "complete" and not self.is_pending
        return ended and not self.has_trials_left

    @property
    def lengths(self) -> tuple[int, ...]:
        """The full lengths that it had one after another, in epochs."""
        return lengths_of((self.began or self.facts).settings, self.facts.extensions)

    @property
    def outdated_in_words(self) -> str:
        """What an outdated confirmation is of; empty where there is none."""
        if self.outdated is None:
            return ""
        known = self.facts.extensions[: self.outdated.extensions]
        facts = self.began or self.facts
        trials = next((e.trials for e in reversed(known) if e.trials), facts.trials)
        epochs = lengths_of(facts.settings, known)[-1]
        return (
            f"trial {self.outdated.winner} was confirmed when the search had"
            f" {counted(trials, 'trial')} of {counted(epochs, 'epoch')}, before it was extended"
        )

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def metric(self) -> Metric:
        """What its trials are ranked by."""
        return self.facts.metric

    @property
    def space(self) -> Space:
        return self.facts.space

    @property
    def winner(self) -> TrialRecord | None:
        """The trial that was confirmed, or else the first of the ranking."""
        if self.confirmation:
            return self.history.trials[self.confirmation.winner]
        return next(iter(self.history.ranking(first=1)), None)


def read_search(folder: RunFolder) -> Search:
    """Read all that a folder says of its search.

    Raises:
        InputError: a file is damaged or breaks a rule; names the file, the line and the field.
    """
    facts = read_facts(folder)
    confirmed, front = read_confirmation(folder), read_front(folder)
    for name, one in ((CONFIRMATION, confirmed), (FRONT, front)):
        if one and one.metric != facts.metric.name:
            rule = f"is not what this search goes by, which is {facts.metric.name}"
            raise InputError(f"{folder.file(name)}: metric", one.metric, rule)
    found = search_of(folder, facts, read_history(folder, facts.metric), confirmed)
    if front is None or front.extensions < len(facts.extensions):
        return found
    return replace(found, front=front)


def search_of(
    folder: RunFolder, facts: SearchFacts, history: History, confirmed: Confirmation | None = None
) -> Search:
    """A search of what its files hold: ``facts`` as recorded, extended by what was added since."""
    outdated = None
    if confirmed and confirmed.extensions < len(facts.extensions):
        confirmed, outdated = None, confirmed
    if not facts.extensions:
        return Search(folder, facts, history, confirmed)
    settings = as_extended(replace(facts.settings, trials=facts.trials), facts.extensions)
    trials = (settings.trials or facts.trials) + len(history.begun_again)
    extended = facts.model_copy(update={"settings": settings, "trials": trials})
    return Search(folder, extended, history, confirmed, facts, outdated)


def check_params(search: Search) -> None:
    """Raise InputError unless the journal's trials were suggested by the search's space."""
    parameters = search.space.parameters
    for trial in search.history.trials.values():
        with located(f"{search.folder.file(JOURNAL)}: trial {trial.number}: "):
            for name in trial.params:
                check_key("params", name, [p.key for p in parameters])
            chosen = search.space.suggest(_Suggested(trial.params))
            for p in parameters:
                if p.key in trial.params and p.active(chosen):
                    value = check_value(f"params.{p.key}", p.name, trial.params[p.key])
                    if not p.contains(value):
                        rule = f"is outside the search's space ({p.values_text})"
                        raise InputError(f"params.{p.key}", value, rule)


class _Suggested:
    """Answers as an Optuna trial whose values are already known."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def suggest(self, key: str, *_: Any, **__: Any) -> Any:
        if key not in self.params:
            raise InputError("params", key, "is missing")
        return self.params[key]

    suggest_categorical = suggest_int = suggest_float = suggest
