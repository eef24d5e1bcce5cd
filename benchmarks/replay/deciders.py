"""Deciders made of the live objects: this project's searcher and scheduler, and stock Ray's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from benchmarks.replay.recorded import Allowed, base, config_of, recorded_points
from benchmarks.replay.simulator import Row, Start, Verdict
from search_spaces import Space
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms.early_stopping import stopping_rule, trained_whole
from vgg6.tuning.algorithms.promotion import PromotionRule, Spared, compared_at
from vgg6.tuning.algorithms.scheduler import RuleScheduler
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.reported_keys import WHY_INFEASIBLE
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, METRICS, PRUNED, TrialRecord
from vgg6.tuning.settings import Settings

NO_CONTROLLER: Any = None
LIVE = Settings(name="replay")  # what a search does unless it is told otherwise
STATES = {
    "completed": COMPLETED, "pruned": PRUNED, "infeasible": INFEASIBLE, "failed": FAILED,
}  # fmt: skip


class StandIn:
    """What a scheduler and the search's callbacks ask of a Ray trial."""

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id, self.config = trial_id, config
        self.status, self.last_result = Trial.RUNNING, {}  # type: ignore[var-annotated]


UNKNOWN = dict.fromkeys(METRICS, math.nan)  # what a recorded curve does not say of an epoch


class UnwrittenJournal(Journal):
    """A journal whose lines go nowhere: replays are many, and nobody resumes one."""

    def __init__(self) -> None:
        self.history, self._order = History(), 0

    def write(self, event: str, **facts: Any) -> None:
        self._order += 1
        self.history.add({"event": event, "time": float(self._order), **facts})


class OnRay:
    """A Ray searcher and a Ray scheduler, called in the order in which Tune's controller does.

    A result goes to the scheduler first; to the searcher only if the trial goes on; and an ended
    trial to both.
    """

    def __init__(self, searcher: Searcher, scheduler: TrialScheduler) -> None:
        self.searcher, self.scheduler = searcher, scheduler
        self.trials: dict[int, StandIn] = {}
        self.finished, self.asked = False, 0

    def ask(self) -> Start | None:
        if self.finished:
            return None
        self.asked += 1  # an identity of its own for each question, as Ray gives
        suggested = self.searcher.suggest(f"{self.asked:08d}")
        if not isinstance(suggested, dict):
            self.finished = suggested == Searcher.FINISHED
            return None
        number = self.number_of(suggested)
        self.trials[number] = trial = StandIn(f"{self.asked:08d}", suggested)
        self.scheduler.on_trial_add(NO_CONTROLLER, trial)  # type: ignore[arg-type]
        return Start(number, self.config_of(suggested))

    def config_of(self, suggested: dict[str, Any]) -> dict[str, Any]:
        return suggested

    def number_of(self, suggested: dict[str, Any]) -> int:
        """The trial that is suggested: a new one, or one that was paused."""
        return len(self.trials)

    def report(self, number: int, row: Row) -> Verdict:
        trial = self.trials[number]
        decision = self.scheduler.on_trial_result(NO_CONTROLLER, trial, row)  # type: ignore[arg-type]
        if decision != TrialScheduler.STOP:
            self.searcher.on_trial_result(trial.trial_id, row)
        self.reported(number, row)
        trial.last_result = row
        return "stop" if decision == TrialScheduler.STOP else "go on"

    def reported(self, number: int, row: Row) -> None:
        """What the search's callback does with a result."""

    def end(self, number: int, row: Row | None, state: str) -> None:
        trial = self.trials[number]
        result = {} if row is None else dict(row)
        if state == "failed":
            self.scheduler.on_trial_error(NO_CONTROLLER, trial)  # type: ignore[arg-type]
            self.searcher.on_trial_complete(trial.trial_id, error=True)
            return
        if state == "infeasible":
            result = {"epoch": 0, "best_val_acc": 0.0, **result, WHY_INFEASIBLE: "diverged"}
        trial.status = Trial.TERMINATED
        self.scheduler.on_trial_complete(NO_CONTROLLER, trial, result)  # type: ignore[arg-type]
        self.searcher.on_trial_complete(trial.trial_id, result)


class Ours(OnRay):
    """The searcher and the scheduler that ``search`` builds, with a journal that is not written.

    Args:
        allowed: the configurations that are recorded, where a finite space was recorded in part;
            others are passed over as the searcher passes over what it has seen.
        earlier: trials of earlier searches that the searcher is told.
        added: how many of the space's points come from these.
    """

    searcher: TruthfulSearcher

    def __init__(
        self,
        space: Space,
        *,
        searcher: str,
        scheduler: str,
        seed: int,
        trials: int,
        epochs: int,
        allowed: Allowed = lambda config: True,
        earlier: Sequence[TrialRecord] = (),
        added: int = 0,
    ) -> None:
        self.journal = UnwrittenJournal()
        rule = stopping_rule(
            scheduler, epochs=epochs, grace=LIVE.grace, reduction=LIVE.reduction, seed=seed,
            trials=trials, spared=Spared(trained_whole(space, searcher, trials, added)),
        )  # fmt: skip
        self.promotions = rule if isinstance(rule, PromotionRule) else None
        built = TruthfulSearcher(
            space, searcher=searcher, seed=seed, base=base(epochs),
            limit=trials, journal=self.journal, earlier=earlier,
            rungs=compared_at(epochs, LIVE.grace, LIVE.reduction), rule=self.promotions,
        )  # fmt: skip
        if space.is_finite:
            every = [config_of(point, epochs) for point in space.grid()]
            built._seen |= {TrialConfig(**c).fingerprint for c in every if not allowed(c)}
        super().__init__(built, RuleScheduler(rule, between_attempts=lambda trial: None))

    def config_of(self, suggested: dict[str, Any]) -> dict[str, Any]:
        return dict(suggested["config"])

    def number_of(self, suggested: dict[str, Any]) -> int:
        return int(suggested["number"])

    def report(self, number: int, row: Row) -> Verdict:
        verdict = super().report(number, row)
        whole = row["epoch"] >= self.journal.history.trials[number].config.epochs
        if self.promotions is None or whole or not self.promotions.waits(number):
            return verdict
        self.searcher.on_trial_complete(self.trials[number].trial_id, dict(row))
        self.journal.write("pause", trial=number)
        for hopeless in self.promotions.hopeless():
            self.promotions.end(hopeless)
            self.journal.write("end", trial=hopeless, state=PRUNED, reason="")
        return "pause"

    def reported(self, number: int, row: Row) -> None:
        self.journal.write("epoch", **UNKNOWN | {"trial": number, **row})

    def end(self, number: int, row: Row | None, state: str) -> None:
        super().end(number, row, state)
        if self.promotions:
            self.promotions.end(number)
        self.journal.write("end", trial=number, state=STATES[state], reason="")


class StockRay(OnRay):
    """Ray's own OptunaSearch and ASHA as its documentation combines them.

    It may suggest what it has tried, which then runs, and is charged, again. A suggestion that is
    not recorded is told as failed, at no cost; after TRIES of them it is given a recorded one.
    """

    TRIES = 20

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        trials: int,
        epochs: int,
        allowed: Allowed = lambda config: True,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A function that returns its constants: Ray adds what Optuna suggested on the way.
            search = OptunaSearch(
                space=lambda trial: (space.suggest(trial), {})[1],
                metric="best_val_acc", mode="max", seed=seed,
            )  # fmt: skip
        # Its grace period and its reduction are those of Ray: 1 and 4.
        super().__init__(search, AsyncHyperBandScheduler("epoch", "best_val_acc", "max", epochs))
        self.space, self.epochs, self.limit, self.allowed = space, epochs, trials, allowed
        self.search, self.rng = search, np.random.default_rng(seed)

    def config_of(self, suggested: dict[str, Any]) -> dict[str, Any]:
        values = {key.partition("[")[0]: value for key, value in suggested.items()}
        return config_of({**self.space.fixed, **values}, self.epochs)

    def ask(self) -> Start | None:
        if len(self.trials) >= self.limit:
            return None
        for _ in range(self.TRIES):
            start = super().ask()
            if start is None or self.allowed(start.config):
                return start
            trial = self.trials.pop(start.number)
            self.searcher.on_trial_complete(trial.trial_id, error=True)
        points = recorded_points(self.space, self.allowed, self.epochs)
        point = points[self.rng.integers(len(points))]
        assert self.search._ot_study is not None  # made when it was first asked
        self.search._ot_study.enqueue_trial(self.space.params_of(point))
        return super().ask()
