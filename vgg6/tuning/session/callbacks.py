"""What a search does as its trials report: the journal, the kept weights, and when to stop."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.cluster.ray_internals import set_failures
from vgg6.tuning.cluster.retries import LOSSES, NODE_LOST, last_error
from vgg6.tuning.reported_keys import DAMAGED, WHY_INFEASIBLE
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, StorageLost
from vgg6.tuning.run.progress import Progress
from vgg6.tuning.run.trials import (
    COMPLETED,
    FAILED,
    INFEASIBLE,
    METRICS,
    OPEN,
    PAUSED,
    PRUNED,
    RUNNING,
    STOPPED,
    TrialRecord,
)
from vgg6.tuning.session.trial_end import (
    DEFAULT_KEEPING,
    Keeping,
    behind,
    end_trial,
    pause_trial,
)

# As Python, pyarrow and safetensors say that a file could not be written.
STORAGE_FAULT = re.compile(
    "errno (28|30|122)|no space left|read-only file system|quota exceeded|is not shared",
    re.IGNORECASE,
)


class SearchInterrupted(BaseException):
    """A signal asked the search to end. Not an Exception: Ray would wait for its trials first."""


class StopRule(tune.Stopper):
    """Ends a search early when asked to: after a time, or when the incumbent stands still.

    Args:
        time_budget: seconds from ``began``.
        patience: end when this many trials in a row ended without a new incumbent.
        since: the first session whose trials count for it: that in which it was last extended.
        began: on the monotonic clock; by default, now.
    """

    def __init__(
        self,
        history: History,
        time_budget: float | None,
        patience: int | None,
        since: int = 0,
        began: float | None = None,
    ) -> None:
        self.time_budget, self.patience = time_budget, patience
        self.began = time.monotonic() if began is None else began
        self.reason = ""
        self._best, self._idle = -math.inf, 0
        for record in sorted(history.trials.values(), key=lambda r: r.ended_as):
            if record.state not in OPEN:  # the others will go on
                self.trial_ended(record)
                self._idle *= record.ended_in >= since

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def trial_ended(self, record: TrialRecord) -> None:
        gain = record.gain if record.has_weights else -math.inf
        improved = gain > self._best
        self._best = max(self._best, gain)
        self._idle = 0 if improved else self._idle + 1

    def stop_all(self) -> bool:
        if self.time_budget and time.monotonic() - self.began > self.time_budget:
            self.reason = f"the time budget of {self.time_budget:g} s is used up"
        elif self.patience and self._idle >= self.patience:
            self.reason = f"no new incumbent in {counted(self._idle, 'trial')}"
        return bool(self.reason)


class JournalCallback(tune.Callback):
    """Writes every event of every trial, keeps the best weights, and drops the other checkpoints.

    Ray's own loggers are off: this is the one place where results are written.
    """

    def __init__(
        self,
        run: RunFolder,
        journal: Journal,
        stop: StopRule,
        progress: Progress,
        keep: Keeping = DEFAULT_KEEPING,
        promotions: PromotionRule | None = None,
    ) -> None:
        self.run, self.journal, self.keep = run, journal, keep
        self.promotions = promotions
        self.stop, self.progress = stop, progress
        self.losses: Counter[int] = Counter()  # nodes, by trial, since its last epoch
        self.signal: int | None = None  # set by the signal handler, read between two steps

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self.signal is not None:
            raise SearchInterrupted
        self.progress.refresh()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        record = self.journal.history.trials[trial.config["number"]]
        for damage in result.get(DAMAGED, ()):
            say(f"trial {record.number}: {damage}")
        if WHY_INFEASIBLE in result or result["epoch"] in record.rows:
            return
        row = {key: result[key] for key in (*METRICS, "node", "pid") if key in result}
        self.journal.write("epoch", trial=trial.config["number"], epoch=result["epoch"], **row)
        # Attempts are counted from the last epoch that was gained: a trial is given up where it
        # cannot get on, not because its machines were lost often.
        set_failures(trial, 0)
        del self.losses[record.number]

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        record = self.journal.history.trials[trial.config["number"]]
        result = trial.last_result or {}
        if WHY_INFEASIBLE in result:
            self._end(record, INFEASIBLE, result[WHY_INFEASIBLE])
        elif record.epoch >= record.config.epochs:
            self._end(record, COMPLETED, "")
        elif self.promotions and self.promotions.waits(record.number):
            pause_trial(self.run, self.journal, record, self.promotions, self.keep)
            self._end_hopeless()
        elif self.stop.reason:
            self._end(record, STOPPED, self.stop.reason)
        else:
            self._end(record, PRUNED, behind(record))

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        record = self.journal.history.trials[trial.config["number"]]
        reason, gpus = last_error(trial), trial.config.get("gpus")
        larger = ""
        if gpus != record.gpus:
            self.journal.write("enlarged", trial=record.number, gpus=gpus, reason=reason)
            set_failures(trial, 0)  # of its new size
            larger = f" with {gpus:g} GPU"
        elif NODE_LOST.search(reason) and self.losses[record.number] < LOSSES:
            self.losses[record.number] += 1
            set_failures(trial, max(0, trial.num_failures - 1))
        say(f"trial {record.number} goes on after epoch {record.epoch}{larger}: {reason}")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        record = self.journal.history.trials[trial.config["number"]]
        reason = last_error(trial)
        if trial.should_recover():  # it did not begin, and the searcher asks for it again
            say(f"trial {record.number} goes on after epoch {record.epoch}: {reason}")
            return
        if STORAGE_FAULT.search(reason):  # no fault of the trial: it can be resumed
            raise StorageLost(f"{self.run.path} cannot be written by a worker: {reason}")
        self._end(record, FAILED, reason)

    def end_running(self) -> None:
        """End the trials that the search was stopped under, keeping what they had reached."""
        for record in self.journal.history.trials.values():
            if record.state == RUNNING:
                self._end(record, STOPPED, self.stop.reason)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """End the trials that wait at a rung when the search is over."""
        if self.stop.reason:  # they can be promoted by a resumed search
            return
        for record in self.journal.history.trials.values():
            if record.state == PAUSED:
                self._end(record, PRUNED, behind(record))

    def _end_hopeless(self) -> None:
        """End the trials that wait at a rung and will not be promoted."""
        assert self.promotions is not None
        for number in self.promotions.hopeless():
            record = self.journal.history.trials[number]
            self._end(record, PRUNED, behind(record))

    def _end(self, record: TrialRecord, state: str, reason: str) -> None:
        if self.promotions and state != STOPPED:  # its own length may be that of a rung
            self.promotions.end(record.number)
        end_trial(self.run, self.journal, record, state, reason, self.keep)
        if state != STOPPED:
            self.stop.trial_ended(record)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks for a restore of its own, which this tool never uses."""
        return {}
