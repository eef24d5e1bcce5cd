"""Optuna that knows about early stopping: it asks for trials, and tells each one's true end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search_spaces import Space
from search_spaces.unit_cube import suggest_at
from vgg6.common.seeds import derive_seed
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms import told_study
from vgg6.tuning.algorithms.model_sampler import ModelSampler
from vgg6.tuning.algorithms.promotion import LEAST_WHOLE, PromotionRule
from vgg6.tuning.algorithms.rung_scores import above_first
from vgg6.tuning.algorithms.told_study import (
    TOLD_AS,
    build_sampler,
    told_as,
    told_trial,
    worth_telling,
)
from vgg6.tuning.reported_keys import WHY_INFEASIBLE
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import FAILED, INFEASIBLE, OPEN, PAUSED, PRUNED, STOPPED, TrialRecord

_RETRIES = 32  # of the sampler, where it suggests what was run before
_TRIES = 1000  # of random configurations after that


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
        rungs: the epochs at which trials are compared, the full length last.
        rule: knows which paused trial goes on; None where none pauses.
        earlier: ended trials of earlier searches, to be told as if they were this one's.
        lengths: the full lengths that the search had before it was extended.
    """

    def __init__(
        self,
        space: Space,
        *,
        searcher: str,
        seed: int,
        base: dict[str, Any],
        limit: int,
        journal: Journal,
        rungs: Sequence[int],
        rule: PromotionRule | None = None,
        earlier: Sequence[TrialRecord] = (),
        lengths: Collection[int] = (),
    ) -> None:
        self.measure = journal.history.metric
        super().__init__(metric=self.measure.best_key, mode=self.measure.mode)
        self.lengths = frozenset(lengths) - {base["epochs"]}
        self.earlier, self.rungs, self.rule = earlier, rungs, rule
        self.space, self.base, self.limit, self.journal = space, base, limit, journal
        self._sampler, self._seed = searcher, seed
        done = journal.history.trials
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._numbers: dict[str, int] = {}
        self._inputs: dict[int, list[float]] = {}  # what the model knows a trial by
        self._seen = {record.config.fingerprint for record in done.values()}
        shorter = (r.config for r in done.values() if r.config.epochs in self.lengths)
        self._seen |= {replace(c, epochs=base["epochs"]).fingerprint for c in shorter}
        going = (n for n in sorted(done) if done[n].state in OPEN and done[n].state != PAUSED)
        self._unfinished = deque(going)
        self._again: set[int] = set()
        self._paused = {n for n in done if done[n].state == PAUSED}
        self._make_study(open_trials={*self._paused, *self._unfinished})
        points = space.grid() if searcher == "grid" else list(space.points)
        self._points = deque(points[len(done) - len(journal.history.begun_again) :])
        self._points_only = searcher == "grid"
        self.exhausted = False  # a finite space ran out of new configurations before the limit

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """An unfinished trial of an earlier session first, then one to be promoted, then a point,
        then the sampler's. None where a running trial may yet let a paused one go on."""
        self._tell_ended()
        if self._unfinished:
            number = self._unfinished.popleft()
            if self.journal.history.trials[number].state == STOPPED:
                self.journal.write("reopen", trial=number)
        elif (promoted := self._promoted()) is not None:
            number = promoted
        else:
            number = len(self.journal.history.trials)
            if number >= self.limit or not self._start(number):
                last = self._last_resort()
                if last is None:
                    return None if self.rule and self._numbers else Searcher.FINISHED
                number = last
        self._numbers[trial_id] = number
        return self.journal.history.trials[number].assignment

    def _promoted(self) -> int | None:
        """A paused trial that goes on, journaled; None where there is none."""
        sampler = self.study.sampler
        expected = self._expected_ends if isinstance(sampler, ModelSampler) else None
        number = self.rule.promotable(expected) if self.rule else None
        return None if number is None else self._promote(number)

    def _expected_ends(self, numbers: Sequence[int]) -> dict[int, float] | None:
        """How the model expects trials to end; None while it has learnt nothing."""
        sampler = self.study.sampler
        assert isinstance(sampler, ModelSampler)
        records = self.journal.history.trials
        for number in numbers:
            if number not in self._inputs:
                self._inputs[number] = sampler.encoding.inputs(records[number].params)
        inputs = np.array([self._inputs[number] for number in numbers])
        ends = sampler.expected_ends(self.study.get_trials(deepcopy=False), inputs)
        return None if ends is None else dict(zip(numbers, ends.tolist(), strict=True))

    def _last_resort(self) -> int | None:
        """When no trial is left to begin: the best paused one, until enough are trained whole."""
        if self.rule is None or len(self.rule.complete) + len(self._numbers) >= LEAST_WHOLE:
            return None
        number = self.rule.best_waiting()
        return None if number is None else self._promote(number)

    def _promote(self, number: int) -> int:
        assert self.rule is not None
        self.rule.go_on(number)
        self.journal.write("promotion", trial=number)
        return number

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if WHY_INFEASIBLE not in result:
            merit = self.measure.merit(result[self.measure.best_key])
            self._report(self._numbers[trial_id], result["epoch"], merit)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna once how the trial ended."""
        number = self._numbers.pop(trial_id)
        if number in self._again:
            self._again.discard(number)
            self._unfinished.appendleft(number)
            return
        length = self.journal.history.trials[number].config.epochs
        if self.rule and self.rule.waits(number) and result and result["epoch"] < length:
            self._report(number, result["epoch"], self.measure.merit(result[self.measure.best_key]))
            self._paused.add(number)
            return
        trial = self._asked[number]
        if error or not result or "epoch" not in result:
            self.study.tell(trial, state=TrialState.FAIL)
        elif WHY_INFEASIBLE in result:
            trial.set_constraint(*told_study.DIVERGED)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            # Ray does not pass on the result at which it decides to stop.
            merit = self.measure.merit(result[self.measure.best_key])
            self._report(number, result["epoch"], merit)
            if result["epoch"] >= length and length not in self.lengths:
                self.study.tell(trial, merit)
            else:
                self.study.tell(trial, state=TrialState.PRUNED)

    def begin_again(self, number: int) -> None:
        """Hear that a trial did not begin: when it is said to have ended, it is suggested again."""
        self._again.add(number)

    def _tell_ended(self) -> None:
        """Tell Optuna of the paused trials that will not go on."""
        records = self.journal.history.trials
        for number in [n for n in self._paused if records[n].state != PAUSED]:
            self._paused.discard(number)
            if records[number].state == PRUNED:
                self.study.tell(self._asked[number], state=TrialState.PRUNED)

    def _report(self, number: int, epoch: int, score: float) -> None:
        if epoch > self._reported.get(number, 0):  # a retried trial may run an epoch again
            self._reported[number] = epoch
            self._asked[number].report(score, epoch)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the searcher's memory, and it is written as things happen."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as ``save``."""

    def _make_study(self, open_trials: set[int]) -> None:
        """A study of what the journal knows: on a resume, and again when it has grown too large.

        Args:
            open_trials: trials that are running or will go on, which are all kept.
        """
        records = self.journal.history.trials
        made = self.journal.history.by_model
        whole = self.rule.spared.first if self.rule else 0
        sampler = build_sampler(self._sampler, self._seed, self.space, self.rungs, made, whole)
        if isinstance(sampler, ModelSampler) and (learnt := self.journal.history.learnt):
            sampler.learnt = learnt
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self._rng = np.random.default_rng([self._seed, len(records)])
        self._asked: dict[int, optuna.Trial] = {}
        self._reported: dict[int, int] = {}
        for record in self.earlier:
            self.study.add_trial(told_trial(record, self.space, TOLD_AS[record.state]))
        ended = [r for r in records.values() if r.number not in open_trials and r.ended is not None]
        many = len(self.earlier) + len(ended) >= told_study.TOLD_MOST
        told = worth_telling(ended, self._rng, self.lengths) if many else ended
        kept = {r.number for r in told} | open_trials
        if isinstance(sampler, ModelSampler):
            forgotten = (r for r in ended if r.number not in kept and r.state != FAILED)
            sampler.forgotten = sum(
                above_first(r.epoch, self.rungs, r.state == INFEASIBLE) for r in forgotten
            )
        for number in sorted(kept):
            self._take_in(records[number], number in open_trials)

    def _start(self, number: int) -> bool:
        """Ask for a new trial and journal it; False when the space has no new one left."""
        if len(self.study.get_trials(deepcopy=False)) >= told_study.TOLD_MOST + len(self._open):
            self._make_study(open_trials=self._open)
        self._begin(number)
        for trial, extra in self._candidates():
            values = {**self.base, **self.space.suggest(trial), **extra}
            config = TrialConfig.from_mapping(values)
            # The same configuration gives the same result: running it again tells nothing.
            if config.fingerprint in self._seen:
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            self._seen.add(config.fingerprint)
            self._asked[number] = trial
            chosen = self._chosen_by_model()
            if chosen and self.rule:
                self.rule.by_model.add(number)
            self.journal.write(
                "trial",
                trial=number,
                config=config.to_dict(),
                params=dict(trial.params),
                **({"by_model": True} if chosen else {}),
            )
            return True
        self.exhausted = True
        return False

    def _begin(self, number: int) -> None:
        """Make a new trial's suggestion depend on the seed, on its number and on what was told.

        So a search that was resumed or extended suggests what it would have without that.
        """
        sampler, history = self.study.sampler, self.journal.history
        self._rng = np.random.default_rng([self._seed, number])
        if isinstance(sampler, ModelSampler):
            sampler.made = history.by_model
            again, points = len(history.begun_again), len(self.space.points)
            sampler.begin(number, max(0, number - again - points - sampler.made))
        else:
            seed = derive_seed(self._seed, number, "suggest") % 2**32
            self.study.sampler = build_sampler(self._sampler, seed, self.space, self.rungs)

    def _chosen_by_model(self) -> bool:
        """Whether the model has suggested the last one. What it has learnt for it is journaled."""
        sampler = self.study.sampler
        if not isinstance(sampler, ModelSampler):
            return False
        known, learnt = self.journal.history.learnt, sampler.learnt
        if learnt and (known is None or learnt.constants != known.constants):
            self.journal.write("learnt", **asdict(learnt))
        return sampler.asked_model

    @property
    def _open(self) -> set[int]:
        """Trials that run or may go on."""
        return {*self._numbers.values(), *self._unfinished, *self._paused}

    def _candidates(self) -> Iterator[tuple[optuna.Trial, dict[str, Any]]]:
        """Points first; then the sampler's; then any others: all that are left of a space that can
        be listed, and random ones of another."""
        while self._points:
            yield self._ask(self._points.popleft())
        if self._points_only:
            return
        for _ in range(_RETRIES):
            yield self.study.ask(), {}
        if self.space.size < math.inf:
            rest = self.space.grid()
            for index in self._rng.permutation(len(rest)):
                yield self._ask(rest[index])
            return
        for _ in range(_TRIES):
            point = suggest_at(self.space, self._rng.random(len(self.space.names)))
            if TrialConfig.from_mapping({**self.base, **point}).fingerprint not in self._seen:
                yield self._ask(point)

    def _ask(self, point: dict[str, Any]) -> tuple[optuna.Trial, dict[str, Any]]:
        self.study.enqueue_trial(self.space.params_of(point))
        # Fields that a point sets but the space does not vary, such as the study's own epochs.
        outside = {k: v for k, v in point.items() if k in ("epochs", "seed")}
        if "epochs" in outside:
            outside["epochs"] = min(outside["epochs"], self.base["epochs"])
        return self.study.ask(), outside

    def _take_in(self, record: TrialRecord, is_open: bool) -> None:
        """Put a journaled trial into the study as it ended, or as one that goes on."""
        if is_open:
            self.study.enqueue_trial(record.params)
            trial = self.study.ask()
            self.space.suggest(trial)
            self._asked[record.number] = trial
            for epoch, row in sorted(record.rows.items()):
                merit = self.measure.merit(self.measure.best_of(row))
                self._report(record.number, epoch, merit)
            return
        state = TOLD_AS[told_as(record, self.lengths)]
        self.study.add_trial(told_trial(record, self.space, state))

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles a searcher for a restore of its own, which this tool never uses."""
        return {}
