"""The scheduler that Ray Tune asks: a stopping rule, and what happens between two attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.algorithms.early_stopping import StoppingRule
from vgg6.tuning.reported_keys import WHY_INFEASIBLE


class RuleScheduler(FIFOScheduler):
    """Stops trials by a rule that knows them by the search's number.

    That number outlives the process, and Ray's own schedulers forget their rungs on a restore.

    Args:
        between_attempts: changes a trial that will be tried again. Between its attempts is the one
            moment at which Ray takes other resources for it.
        begin_again: hears the number of a trial that Ray gives up before it began, since the worker
            that it was to take over had died.
        metric: what trials are compared by.
    """

    def __init__(
        self,
        rule: StoppingRule,
        between_attempts: Callable[[Trial], None],
        begin_again: Callable[[int], None] = lambda number: None,
        metric: Metric = ACCURACY,
    ) -> None:
        super().__init__()
        self.measure = metric
        self.rule, self.between_attempts, self.begin_again = rule, between_attempts, begin_again
        self._added: list[Trial] = []  # in their order, without most that have ended

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._added.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The first one that is to be run. Ray's own looks at all trials there ever were."""
        self._added = [t for t in self._added if t.status != Trial.TERMINATED]
        return next((t for t in self._added if t.status == Trial.PENDING), None)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if WHY_INFEASIBLE in result:
            return TrialScheduler.STOP
        merit = self.measure.merit(result[self.measure.best_key])
        stopped = self.rule.stops(trial.config["number"], result["epoch"], merit)
        return TrialScheduler.STOP if stopped else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        # One that is given up is still running here.
        if trial.status == Trial.ERROR:
            self.between_attempts(trial)
        elif trial.status == Trial.PENDING and trial.should_recover():
            self.begin_again(trial.config["number"])
