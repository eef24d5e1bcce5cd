"""Confirm the front: each of its networks trained again over fresh seeds, and none dropped.

Its runs are those of any confirmation, in the journal in ``RUN/confirmed/``. So a run that a
confirmation of the best has made already is not made again, and an interrupted one goes on.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import ray.tune.search

from analysis.confirmation.candidate_record import candidate_records, median_seed, run_key
from analysis.confirmation.confirm import fresh_seeds, keeping_all
from analysis.confirmation.contest import Contest
from analysis.confirmation.rounds import Rounds
from analysis.confirmation.winner_rule import SETTLED, Standing
from analysis.winner.size_front import size_front
from vgg6.common.checks import InputError
from vgg6.common.intervals import LEVEL
from vgg6.footprint.latency import latency
from vgg6.footprint.training_cost import training_flops
from vgg6.run_record import CompleteFacts
from vgg6.tuning.run.confirmation import Candidate
from vgg6.tuning.run.confirmed_front import ConfirmedFront, FrontPoint
from vgg6.tuning.run.folder import FRONT, confirmed_file, weights_file
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.search_facts import FORMAT
from vgg6.tuning.run.trials import RUNNING, STOPPED, TrialRecord
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session import run_session
from vgg6.tuning.session.session_outcome import ALL_FAILED, COMPLETE, INCOMPLETE, Outcome


class EverySeed(Rounds):
    """Asks for a run of every candidate with every seed, a seed after the other."""

    def _new_run(self) -> dict[str, Any] | str | None:
        contest = self.contest
        runs = contest.own_runs(self.journal.history).trials.values()
        begun = {run_key(run): run.state for run in runs}
        for seed in contest.seeds:
            for candidate in contest.candidates:
                if (candidate, seed) not in begun:
                    return self._start(candidate, seed)
        if any(begun[key] in (RUNNING, STOPPED) for key in contest.asked):
            return None
        self.exhausted = True
        return ray.tune.search.Searcher.FINISHED


def choose_front(search: Search, count: int) -> tuple[list[TrialRecord], list[int]]:
    """The trials of the front, the largest network first, and ``count`` fresh seeds: those that a
    confirmation of the best has.

    Raises:
        InputError: all networks are of one width, or no trial was completed.
    """
    front = size_front(search.history.ranking(), search.facts.data)
    if not front:
        rule = "has no front: that takes completed trials of several widths, as of the space sizes"
        raise InputError("run", search.folder.name, rule)
    return [search.history.trials[one.trial] for one in front], fresh_seeds(search.history, count)


def confirm_front(
    search: Search, plan: Plan, trials: list[TrialRecord], seeds: list[int], command: str
) -> tuple[Outcome, ConfirmedFront | None]:
    """Run what is left of a front's confirmation on the Ray that this process is connected to.

    Args:
        plan: of a confirmation, in the search's arithmetic.
        trials: of the front.
        seeds: fresh ones.

    Returns:
        How the session ended and, if it did all it was asked, what ``front.json`` now says.

    Raises:
        InputError: another driver runs a confirmation of this search.
    """
    run, task = search.folder, plan.data.task
    inner = run.confirmed
    inner.create()
    configs = {trial.number: trial.config for trial in trials}
    images = search.metric.images_behind(len(plan.data.val), search.facts.data.val_by_class)
    contest = Contest(configs, seeds, images)

    def every_seed(plan: Plan, journal: Journal) -> EverySeed:
        return EverySeed(contest, journal)

    outcome = run_session(inner, keeping_all(plan, inner), every_seed)
    history = contest.own_runs(read_history(inner, search.metric))
    runs = {run_key(one): one for one in history.trials.values()}
    asked = [runs.get((trial, seed)) for trial in configs for seed in seeds]
    open_runs = [one for one in asked if one is None or one.state in (RUNNING, STOPPED)]
    if outcome.outcome in (COMPLETE, ALL_FAILED) and open_runs:
        reason = next((one.reason for one in open_runs if one and one.reason), outcome.detail)
        outcome = replace(outcome, outcome=INCOMPLETE, detail=reason)
    if outcome.outcome != COMPLETE:
        return outcome, None
    costs = {n: training_flops(config, len(plan.data.train), task) for n, config in configs.items()}
    all_in = Standing(list(configs), {}, len(seeds), SETTLED)
    rows = candidate_records(trials, history, seeds, all_in, images, None, costs, task)
    points = [_point(search, row) for row in rows]
    for point in points:
        if point.representative_seed is not None:
            key = (point.candidate.trial, point.representative_seed)
            run.write(confirmed_file(*key), inner.read(weights_file(runs[key].number)))
    found = ConfirmedFront(
        format=FORMAT,
        level=LEVEL,
        seeds=seeds,
        epochs=max(config.epochs for config in configs.values()),
        points=points,
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=command,
        extensions=len(search.facts.extensions),
        metric=search.metric.name,
    )
    run.write_json(FRONT, found.to_dict())
    return outcome, found


def _point(search: Search, row: Candidate) -> FrontPoint:
    """A candidate with its run in the middle and the time that its network takes here."""
    took = latency(row.config, CompleteFacts(**search.facts.data.to_dict()))
    return FrontPoint(
        candidate=row,
        representative_seed=None if row.mean is None else median_seed(row, search.metric),
        latency=took.median,
        latency_low=took.low,
        latency_high=took.high,
    )
