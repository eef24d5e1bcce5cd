"""Optuna that knows about early stopping: it asks for trials, and tells each one's true end."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
from optuna.trial import FixedTrial, TrialState, create_trial
from ray.tune.search import Searcher

from search_spaces import Space
from vgg6.config import TrialConfig
from vgg6.tuning import journal as j
from vgg6.tuning.trainable import INFEASIBLE

# Positive in Optuna's terms means that a constraint is violated.
_DIVERGED = ("diverged", 1.0)
_RETRIES = 32


class TruthfulSearcher(Searcher):
    """Suggests assignments for the shared trainable and journals each new trial.

    Ray's OptunaSearch tells an early-stopped trial's score as final and leaves a diverged one
    running. Here a trial that the scheduler stopped is told as pruned, with its curve; a diverged
    one as violating a constraint, which TPE ranks behind every feasible one; a crash as failed.

    Args:
        space: what may vary.
        base: configuration fields that no space sets (epochs, seed).
        limit: how many trials the whole search has, resumed ones included.
        journal: receives the new trials; its history is taken in first.
    """

    def __init__(
        self,
        space: Space,
        *,
        searcher: str,
        seed: int,
        base: dict[str, Any],
        limit: int,
        journal: j.Journal,
    ) -> None:
        super().__init__(metric="best_val_acc", mode="max")
        self.space, self.base, self.limit, self.journal = space, base, limit, journal
        done = journal.history.trials
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # A resumed search must not draw the numbers of its first session again.
        self.study = optuna.create_study(
            direction="maximize", sampler=build_sampler(searcher, seed + len(done))
        )
        self._rng = np.random.default_rng([seed, len(done)])
        self._asked: dict[int, optuna.Trial] = {}
        self._reported: dict[int, int] = {}
        self._numbers: dict[str, int] = {}
        self._seen: set[str] = set()
        self._unfinished: deque[int] = deque()
        points = space.grid() if searcher == "grid" else list(space.points)
        for record in sorted(done.values(), key=lambda r: r.number):
            self._take_in(record)
        self._points = deque(points[len(done) :])
        self._points_only = searcher == "grid"
        self.exhausted = False  # a finite space ran out of new configurations before the limit

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """An unfinished trial of an earlier session first, then the points, then the sampler."""
        if self._unfinished:
            number = self._unfinished.popleft()
        else:
            number = len(self.journal.history.trials)
            if number >= self.limit or not self._start(number):
                return Searcher.FINISHED
        self._numbers[trial_id] = number
        record = self.journal.history.trials[number]
        return {"number": number, "config": record.config}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if INFEASIBLE not in result:
            self._report(self._numbers[trial_id], result["epoch"], result["best_val_acc"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna once how the trial ended."""
        number = self._numbers.pop(trial_id)
        trial = self._asked[number]
        if error or not result or "epoch" not in result:
            self.study.tell(trial, state=TrialState.FAIL)
        elif INFEASIBLE in result:
            trial.set_constraint(*_DIVERGED)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            # Ray does not pass on the result at which it decides to stop.
            self._report(number, result["epoch"], result["best_val_acc"])
            if result["epoch"] >= self.journal.history.trials[number].config["epochs"]:
                self.study.tell(trial, result["best_val_acc"])
            else:
                self.study.tell(trial, state=TrialState.PRUNED)

    def _report(self, number: int, epoch: int, score: float) -> None:
        if epoch > self._reported.get(number, 0):  # a retried trial may run an epoch again
            self._reported[number] = epoch
            self._asked[number].report(score, epoch)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the searcher's memory, and it is written as things happen."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as ``save``."""

    def _start(self, number: int) -> bool:
        """Ask for a new trial and journal it; False when the space has no new one left."""
        for trial, extra in self._candidates():
            values = {**self.base, **self.space.suggest(trial), **extra}
            config = TrialConfig.from_mapping(values)
            # The same configuration gives the same result: running it again tells nothing.
            if config.fingerprint in self._seen:
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            self._seen.add(config.fingerprint)
            self._asked[number] = trial
            self.journal.write(
                "trial", trial=number, config=config.to_dict(), params=dict(trial.params)
            )
            return True
        self.exhausted = True
        return False

    def _candidates(self) -> Iterator[tuple[optuna.Trial, dict[str, Any]]]:
        """Points first; then the sampler's; then, in a finite space, whatever is left of it."""
        while self._points:
            yield self._ask(self._points.popleft())
        if self._points_only:
            return
        for _ in range(_RETRIES):
            yield self.study.ask(), {}
        if self.space.is_finite:
            rest = self.space.grid()
            for index in self._rng.permutation(len(rest)):
                yield self._ask(rest[index])

    def _ask(self, point: dict[str, Any]) -> tuple[optuna.Trial, dict[str, Any]]:
        self.study.enqueue_trial(self.space.params_of(point))
        # Fields that a point sets but the space does not vary, such as the study's own epochs.
        outside = {k: v for k, v in point.items() if k in ("epochs", "seed")}
        if "epochs" in outside:
            outside["epochs"] = min(outside["epochs"], self.base["epochs"])
        return self.study.ask(), outside

    def _take_in(self, record: j.TrialRecord) -> None:
        """Put a journaled trial into the study as it ended, or in line to be finished."""
        self._seen.add(TrialConfig.from_mapping(record.config).fingerprint)
        curve = {epoch: row["best_val_acc"] for epoch, row in sorted(record.rows.items())}
        if record.state in (j.RUNNING, j.STOPPED):
            self.study.enqueue_trial(record.params)
            trial = self.study.ask()
            self.space.suggest(trial)
            self._asked[record.number] = trial
            for epoch, score in curve.items():
                self._report(record.number, epoch, score)
            self._unfinished.append(record.number)
            return
        told = {
            j.COMPLETED: TrialState.COMPLETE,
            j.PRUNED: TrialState.PRUNED,
            j.INFEASIBLE: TrialState.PRUNED,
            j.FAILED: TrialState.FAIL,
        }[record.state]
        fixed = FixedTrial(record.params)
        self.space.suggest(fixed)
        frozen = create_trial(
            state=told,
            params=fixed.params,
            distributions=fixed.distributions,
            intermediate_values=curve,
            # As study.tell does: a pruned trial's value is its last intermediate one.
            value=None if told == TrialState.FAIL else next(reversed(curve.values()), None),
        )
        if record.state == j.INFEASIBLE:
            frozen.set_constraint(*_DIVERGED)
        self.study.add_trial(frozen)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles a searcher for a restore of its own, which this tool never uses."""
        return {}


def build_sampler(searcher: str, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler that ``--searcher`` names, with everything set that the search relies on."""
    if searcher in ("random", "grid"):  # a grid is a queue of points: nothing is sampled
        return optuna.samplers.RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=10,
            multivariate=True,
            group=True,  # conditional spaces: parameters that are active together share a model
            constant_liar=True,  # running trials count as bad: workers do not pile up on one point
        )
