"""How a trial ends: its last event, its weights if they are among the best, its checkpoints gone.

A driver may be killed between any two of these steps. ``settle`` does at the next session's start
what the last one did not come to, before a worker starts.
"""

from __future__ import annotations

import math

from vgg6.checkpoint import weights_bytes
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.run.folder import WEIGHTS, RunFolder, trial_folder, weights_file
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, StorageLost
from vgg6.tuning.run.trials import COMPLETED, OPEN, PAUSED, PRUNED, TrialRecord
from vgg6.tuning.session.trial_checkpoints import (
    CHECKPOINTS,
    drop_states,
    keep_states,
    kept_weights,
)

KEEP_WEIGHTS = 5


def end_trial(
    run: RunFolder, journal: Journal, record: TrialRecord, state: str, reason: str, keep: int
) -> None:
    """Journal a trial's end, then do what follows from it.

    Args:
        keep: the weights of how many trials, the best ones, are kept.

    Raises:
        StorageLost: the run folder cannot be written.
    """
    journal.write("end", trial=record.number, state=state, reason=reason)
    _clear(run, journal.history, record, keep)


def pause_trial(
    run: RunFolder, journal: Journal, record: TrialRecord, promotions: PromotionRule
) -> None:
    """Journal that a trial waits at a rung, and keep the states that are worth their room.

    Raises:
        StorageLost: the run folder cannot be written.
    """
    journal.write("pause", trial=record.number)
    keep_states(run, promotions.by_hope())


def settle(
    run: RunFolder,
    journal: Journal,
    decided: set[int],
    keep: int,
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
    if promotions:
        _tell(promotions, journal.history)
    for record in journal.history.trials.values():
        if record.state not in OPEN:
            if trial_folder(record.number) in left_over:
                _clear(run, journal.history, record, keep)
        elif promotions and promotions.waits(record.number):
            if record.state != PAUSED:
                pause_trial(run, journal, record, promotions)
        elif record.epoch >= record.config.epochs:
            end_trial(run, journal, record, COMPLETED, "", keep)
        elif record.number in decided and not promotions:
            end_trial(run, journal, record, PRUNED, behind(record), keep)


def _tell(promotions: PromotionRule, history: History) -> None:
    """What results alone do not say: which trials have ended, and which were promoted last."""
    for record in history.trials.values():
        if record.state not in OPEN or record.epoch >= record.config.epochs:
            promotions.end(record.number)
        elif record.promoted_at == record.epoch > 0:
            promotions.go_on(record.number)


def behind(record: TrialRecord) -> str:
    """Why the scheduler ended a trial."""
    return f"behind the others at epoch {record.epoch}"


def _clear(run: RunFolder, history: History, record: TrialRecord, keep: int) -> None:
    try:
        keep_best(run, history, record, keep)
    except OSError as error:
        raise StorageLost(f"{run.path} cannot be written: {error}") from error
    if record.state not in OPEN:  # a stopped trial can be resumed from its checkpoints
        drop_states(run, record.number)


def keep_best(
    run: RunFolder, history: History, ended: TrialRecord, keep: int = KEEP_WEIGHTS
) -> None:
    """Keep the best weights of an ended trial if it is among those that are worth it, and forget
    the rest."""
    best = worth_keeping(history, keep)
    if ended.number not in best:
        return
    for name in run.names(WEIGHTS):
        if f"{WEIGHTS}/{name}" not in map(weights_file, best):
            run.delete(f"{WEIGHTS}/{name}")
    weights = kept_weights(run, ended.number, ended.best_epoch)
    if weights is not None:
        run.write(weights_file(ended.number), weights_bytes(weights, ended.config))


def worth_keeping(history: History, keep: int) -> set[int]:
    """The best few ended trials; and where the width varies, each that is the best of its width
    and all narrower ones. So the best network of at most any size can be packed."""
    running = sum(t.ended is None for t in history.trials.values())
    widths = {t.config.width for t in history.trials.values()}
    ranked = history.ranking(keep + running if len(widths) == 1 else None)
    ended = [t for t in ranked if t.ended is not None]
    best = {t.number for t in ended[:keep]}
    narrowest = math.inf
    for trial in ended:
        if trial.config.width < narrowest:
            narrowest = trial.config.width
            best.add(trial.number)
    return best
