"""How a trial ends: its last event, its weights if they are among the best, its checkpoints gone.

A driver may be killed between any two of these steps. ``settle`` does at the next session's start
what the last one did not come to, before a worker starts.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from vgg6.checkpoint import weights_bytes
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.run.folder import WEIGHTS, RunFolder, trial_folder, trial_number, weights_file
from vgg6.tuning.run.history import History, ranked
from vgg6.tuning.run.journal import Journal, StorageLost
from vgg6.tuning.run.trials import COMPLETED, FAILED, OPEN, PAUSED, PRUNED, RUNNING, TrialRecord
from vgg6.tuning.session.trial_checkpoints import (
    CHECKPOINTS,
    drop_states,
    drop_states_after,
    keep_states,
    kept_weights,
)

KEEP_WEIGHTS = 5
KEEP_BYTES = 100_000_000  # for the states of ended trials, from which a longer search goes on


@dataclass(frozen=True)
class Keeping:
    """What is kept of ended trials. ``weights``: those of so many, the best ones; ``room``: bytes
    for the states that an extended search goes on from; ``pruned``: whether these may be such that
    were pruned, since more trials would let them be promoted."""

    weights: int = KEEP_WEIGHTS
    room: int = KEEP_BYTES
    pruned: bool = False


DEFAULT_KEEPING = Keeping()


def end_trial(
    run: RunFolder, journal: Journal, record: TrialRecord, state: str, reason: str, keep: Keeping
) -> None:
    """Journal a trial's end, then do what follows from it.

    Raises:
        StorageLost: the run folder cannot be written.
    """
    journal.write("end", trial=record.number, state=state, reason=reason)
    _clear(run, journal.history, record, keep)
    keep_ended(run, journal.history, keep.room)


def pause_trial(
    run: RunFolder, journal: Journal, record: TrialRecord, promotions: PromotionRule, keep: Keeping
) -> None:
    """Journal that a trial waits at a rung, and keep its weights if they are among the best, which
    the search may end with, and the states that are worth their room.

    Raises:
        StorageLost: the run folder cannot be written.
    """
    journal.write("pause", trial=record.number)
    _clear(run, journal.history, record, keep)
    keep_states(run, promotions.by_hope())


def settle(
    run: RunFolder,
    journal: Journal,
    decided: set[int],
    keep: Keeping = DEFAULT_KEEPING,
    promotions: PromotionRule | None = None,
) -> None:
    """End the trials whose end was decided and not journaled, and finish ends that were cut short.

    Args:
        decided: trials that the scheduler's replay would not let go on.
        promotions: has heard all results, and none of the promotions and ends.

    Raises:
        StorageLost: the run folder cannot be written.
    """
    left_over = set(run.names(CHECKPOINTS))
    _drop_unknown_states(run, journal.history, left_over)
    if promotions:
        _tell(promotions, journal.history)
    for record in journal.history.trials.values():
        if record.state not in OPEN:
            if trial_folder(record.number) in left_over:
                _clear(run, journal.history, record, keep)
        elif promotions and promotions.waits(record.number):
            if record.state != PAUSED:
                pause_trial(run, journal, record, promotions, keep)
        elif record.epoch >= record.config.epochs:
            end_trial(run, journal, record, COMPLETED, "", keep)
        elif record.number in decided and not promotions:
            end_trial(run, journal, record, PRUNED, behind(record), keep)
        elif record.state == PAUSED:  # more trials were asked for, and it waits at no rung of these
            journal.write("reopen", trial=record.number)
    keep_ended(run, journal.history, keep.room)


def _drop_unknown_states(run: RunFolder, history: History, folders: Collection[str]) -> None:
    """Remove the states that the journal does not lead to: it may have lost its last lines."""
    for name in folders:
        if (number := trial_number(name)) is None:
            continue
        record = history.trials.get(number)
        if record is None:
            drop_states(run, number)
        elif record.state in OPEN:
            drop_states_after(run, number, record.epoch + 1)


def _tell(promotions: PromotionRule, history: History) -> None:
    """What results alone do not say: which trials have ended, and which were promoted last."""
    for record in history.trials.values():
        if record.promoted_at == record.epoch > 0:  # whatever came of it before its next epoch
            promotions.go_on(record.number)
        if record.state not in OPEN or record.epoch >= record.config.epochs:
            promotions.end(record.number)


def behind(record: TrialRecord) -> str:
    """Why the scheduler ended a trial."""
    return f"behind the others at epoch {record.epoch}"


def _clear(run: RunFolder, history: History, record: TrialRecord, keep: Keeping) -> None:
    try:
        keep_best(run, history, record, keep.weights)
    except OSError as error:
        raise StorageLost(f"{run.path} cannot be written: {error}") from error
    if record.state not in OPEN and not may_go_on(record, keep.pruned):
        drop_states(run, record.number)


def may_go_on(record: TrialRecord, pruned: bool) -> bool:
    """Whether an ended trial may go on from its last state in a search that is extended.

    Args:
        pruned: whether one that was pruned may.
    """
    if record.state == COMPLETED:  # else a greater length would change what it did so far
        return record.config.schedule == "constant" and not record.config.sam
    return record.state == FAILED or (pruned and record.state == PRUNED)


def keep_ended(run: RunFolder, history: History, room: int = KEEP_BYTES) -> None:
    """Of the states of ended trials keep the newest each, of those that came furthest first, and
    among them of the best, until ``room`` bytes are full."""
    ended = [t for t in _named(history, run.names(CHECKPOINTS)) if t.state not in OPEN]
    ended.sort(key=lambda t: (-t.epoch, -t.gain, t.number))
    keep_states(run, [trial.number for trial in ended], room)


def keep_best(
    run: RunFolder, history: History, ended: TrialRecord, keep: int = KEEP_WEIGHTS
) -> None:
    """Keep the best weights of an ended or paused trial if it is among those that are worth it, and
    forget the rest."""
    names = run.names(WEIGHTS)
    there = _named(history, names)  # those that were forgotten are behind all of these
    best = worth_keeping({t.number: t for t in (*there, ended)}.values(), keep)
    if ended.number not in best:
        return
    # One that goes on, in a search that was extended, has those of its earlier end.
    going_on = (t.number for t in there if t.state == RUNNING)
    kept = {weights_file(number) for number in (*best, *going_on)}
    for name in names:
        if f"{WEIGHTS}/{name}" not in kept:
            run.delete(f"{WEIGHTS}/{name}")
    weights = kept_weights(run, ended.number, ended.best_epoch)
    if weights is not None:
        content = weights_bytes(weights, ended.config, ended.best_epoch)
        run.write(weights_file(ended.number), content)


def _named(history: History, names: Collection[str]) -> list[TrialRecord]:
    """The trials that files or folders are named after."""
    numbers = {trial_number(name) for name in names}
    return [history.trials[n] for n in sorted(n for n in numbers if n in history.trials)]


def worth_keeping(trials: Collection[TrialRecord], keep: int) -> set[int]:
    """The best few ended or paused trials; and where the width varies, each that is the best of its
    width and all narrower ones. So the best network of at most any size can be packed."""
    ended = [t for t in ranked(trials) if t.ended is not None or t.state == PAUSED]
    best = {t.number for t in ended[:keep]}
    narrowest = math.inf
    for trial in ended:
        if trial.config.width < narrowest:
            narrowest = trial.config.width
            best.add(trial.number)
    return best
