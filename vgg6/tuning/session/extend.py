"""How a search goes on with more trials, longer ones, or failed ones again, from its records.

What is to change is worked out from the folder alone at each session's start, so a driver that was
killed amid the changes makes the rest of them when the search is resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from search_spaces import Space
from vgg6.common.checks import InputError, Range, check_integer, check_number
from vgg6.common.numbers_in_words import counted, duration
from vgg6.lengthening import why_begun_again
from vgg6.tuning.algorithms.early_stopping import AshaRule, MedianRule, replay
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.algorithms.rule_of_search import rule_of
from vgg6.tuning.run.driver_lock import is_running
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.folder import SEARCH, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.search_facts import FORMAT, SearchFacts
from vgg6.tuning.run.trials import COMPLETED, FAILED, OPEN, PRUNED, TrialRecord
from vgg6.tuning.settings import POSITIVE_SECONDS, TRIALS, Settings

LENGTHS = Range(1, 10_000)


@dataclass(frozen=True)
class Changes:
    """What a session does to earlier trials before it starts, by their numbers.

    ``retried``: failed ones, run again; ``going_on``: those that get the greater length;
    ``again``: completed ones that begin again, each with the reason; ``reopened``: pruned ones that
    wait again, or are not to be stopped, since the search has more trials.
    """

    retried: list[int] = field(default_factory=list)
    going_on: list[int] = field(default_factory=list)
    again: dict[int, str] = field(default_factory=dict)
    reopened: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.retried or self.going_on or self.again or self.reopened)


def check_extension(search: Search, asked: Extension) -> None:
    """Check what is to be added to a search.

    Raises:
        InputError: it is running, it has as much already, or its space has no more to give.
    """
    facts = search.facts
    if is_running(search.folder):
        rule = "is being run by another process: it can be extended when that one has ended"
        raise InputError("run", search.folder.name, rule)
    if asked.trials is not None:
        _check_trials(search, asked.trials)
    if asked.epochs is not None:
        check_integer("epochs", asked.epochs, LENGTHS)
        before = facts.settings.epochs
        if asked.epochs <= before:
            rule = f"must be more than {before}, the length that this search has already"
            raise InputError("epochs", asked.epochs, rule)
        if any("epochs" in point for point in search.space.points):
            rule = f"cannot be set: the points of space {search.space.name} have their own lengths"
            raise InputError("epochs", asked.epochs, rule)
    if asked.time_budget is not None:
        check_number("time_budget", asked.time_budget, POSITIVE_SECONDS)
    failed = any(trial.state == FAILED for trial in search.history.trials.values())
    if asked.retry_failed and not failed:
        raise InputError("retry_failed", True, "has nothing to run again: no trial failed")


def _check_trials(search: Search, trials: int) -> None:
    check_integer("trials", trials, TRIALS)
    space = search.space
    before = search.facts.trials - len(search.history.begun_again)
    if trials <= before:
        rule = f"must be more than {before:,}, the number that this search has already"
        raise InputError("trials", trials, rule)
    most = space.size
    if trials > most:
        rule = f"is more than space {space.name} has: {counted(int(most), 'configuration')}"
        raise InputError("trials", trials, rule)


def check_useful(search: Search, asked: Extension, changes: Changes) -> None:
    """Check that a search has something to run with what is added to it.

    Args:
        search: with the extension.

    Raises:
        InputError: it has not.
    """
    if changes or search.has_trials_left or asked.trials is not None:
        return
    named = "epochs" if asked.epochs is not None else "time_budget"
    value = asked.epochs or duration(asked.time_budget or 0)
    rule = "leaves nothing to run: all trials have ended. `trials` would add more"
    raise InputError(named, value, rule)


def changes_of(
    settings: Settings,
    extensions: Sequence[Extension],
    space: Space,
    history: History,
    *,
    added: int = 0,
    lengths: Sequence[int] = (),
) -> Changes:
    """What the next session has to do to earlier trials.

    Args:
        settings: with all that was added.
        added: how many of the space's points, the last ones, a warm start added.
        lengths: the full lengths that the search had, the first one first.
    """
    if not extensions:
        return Changes()
    trials = history.trials.values()
    retry = max((e.session for e in extensions if e.retry_failed), default=0)
    longer = max((e.session for e in extensions if e.epochs is not None), default=0)
    more = max((e.session for e in extensions if e.trials is not None), default=0)
    retried = [t.number for t in trials if t.state == FAILED and t.ended_in < retry]
    reopened: list[int] = []
    if any(t.state == PRUNED and t.ended_in < more for t in trials):
        asked = (settings.trials or 0) + len(history.begun_again)
        reopened = _reopened(settings, space, history, asked, more, added, lengths)
    changes = Changes(retried, reopened=reopened)
    successors = {t.again_of for t in trials}
    opened = {*retried, *reopened}
    for trial in trials:
        if trial.config.epochs not in lengths[:-1] or trial.config.epochs == settings.epochs:
            continue
        why = why_begun_again(trial.config, trial.epoch, settings.epochs)
        if trial.state in OPEN or trial.number in opened:
            if not why:
                changes.going_on.append(trial.number)
        elif trial.state == COMPLETED and trial.ended_in < longer:
            if not why:
                changes.going_on.append(trial.number)
            elif trial.number not in successors:
                changes.again[trial.number] = why
    return changes


def _reopened(
    settings: Settings,
    space: Space,
    history: History,
    trials: int,
    since: int,
    added: int,
    lengths: Sequence[int],
) -> list[int]:
    """Pruned trials of before the session ``since`` that a search of so many trials would not have
    ended."""
    rule = rule_of(settings, space, history, trials, added=added, lengths=lengths)
    replay(rule, history.arrivals)
    old = [t for t in history.trials.values() if t.state == PRUNED and t.ended_in < since]
    first = rule.spared.first if isinstance(rule, PromotionRule | AshaRule | MedianRule) else 0
    found = [trial.number for trial in old if trial.number < first]
    if not isinstance(rule, PromotionRule):
        return found
    waiting = {trial.number for trial in old if rule.waits(trial.number)}
    for trial in history.trials.values():
        if trial.state not in OPEN and trial.number not in waiting:
            rule.end(trial.number)
        elif trial.promoted_at == trial.epoch > 0 and trial.state in OPEN:
            rule.go_on(trial.number)
    return sorted({*found, *(waiting - set(rule.hopeless()))})


def carry_out(journal: Journal, changes: Changes, epochs: int) -> None:
    """Journal the changes. ``epochs``: the full length of the search.

    Raises:
        StorageLost: the run folder cannot be written.
    """
    history = journal.history
    for number in (*changes.retried, *changes.reopened):
        journal.write("reopen", trial=number)
    for number in changes.going_on:
        if history.trials[number].state not in OPEN:
            journal.write("reopen", trial=number)
        journal.write("lengthen", trial=number, epochs=epochs)
    for number in changes.again:
        _begin_again(journal, history.trials[number], epochs)


def _begin_again(journal: Journal, record: TrialRecord, epochs: int) -> None:
    config = replace(record.config, epochs=epochs).to_dict()
    journal.write(
        "trial", trial=len(journal.history.trials), config=config, params=record.params,
        again_of=record.number,
    )  # fmt: skip


def record_extension(run: RunFolder, history: History, added: Extension) -> None:
    """Write an extension into ``search.json``. The rest of the file stays as it is.

    Raises:
        InputError: another process has run the search since the extension was asked for.
    """
    found = run.read_json(SEARCH)
    if added.session != len(history.sessions) + 1:
        raise InputError("run", run.path, "has been run by another process since: extend it again")
    if found.get("format") != 1:  # which names a scheduler otherwise
        found["format"] = FORMAT
    run.write_json(SEARCH, {**found, "extensions": [*found.get("extensions", []), added.to_dict()]})


def describe(changes: Changes, history: History, facts: SearchFacts) -> list[str]:
    """What is done to earlier trials, in lines for a person."""
    epochs, lines = facts.settings.epochs, []

    def named(numbers: Sequence[int]) -> str:
        shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        return f"{counted(len(numbers), 'trial')} ({shown})"

    if changes.retried:
        lines.append(f"{named(changes.retried)} failed, and will run again")
    ended = [n for n in changes.going_on if history.trials[n].state == COMPLETED]
    if ended:
        lines.append(f"{named(ended)} will go on to {counted(epochs, 'epoch')}")
    for why in dict.fromkeys(changes.again.values()):
        same = [n for n, reason in changes.again.items() if reason == why]
        lines.append(f"{named(same)} will begin again with {counted(epochs, 'epoch')}: {why}")
    if changes.reopened:
        lines.append(f"{named(changes.reopened)} pruned before may go on")
    return lines
