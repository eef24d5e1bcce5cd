"""Confirm: the best of a search trained again over fresh seeds, and an honest winner among them.

The highest of many noisy scores is too good to be true. The confirmation is a small search of its
own in ``RUN/confirmed/``: its trials are (candidate, seed), its journal makes it resumable, and a
larger one goes on from a smaller one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import ray.tune.search

from analysis.winner.candidate_record import (
    candidate_records,
    in_words,
    median_seed,
    run_key,
    scores_of,
)
from analysis.winner.elimination import (
    LEAST_SEEDS,
    MARGIN,
    Decision,
    Standing,
    decide,
    standing,
)
from analysis.winner.paired import PairedScores
from vgg6.common.checks import InputError
from vgg6.common.intervals import LEVEL
from vgg6.config import TrialConfig
from vgg6.footprint.training_cost import training_flops
from vgg6.task import STUDY, Task
from vgg6.tuning.run.confirmation import WORSE, Confirmation
from vgg6.tuning.run.folder import (
    CONFIRMATION,
    CONFIRMED,
    JOURNAL,
    RunFolder,
    confirmed_file,
    weights_file,
)
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.records import FORMAT
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import RUNNING, STOPPED, TrialRecord
from vgg6.tuning.session.outcome import ALL_FAILED, COMPLETE, INCOMPLETE, Outcome
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session import run_session


class Rounds(ray.tune.search.Searcher):
    """Asks for a run of every candidate that is still in, a seed after the other.

    Where a worker would stand idle until a round's last run ends, the leader's next run begins.

    Args:
        candidates: their configurations by their number in the search, the best first.
        seeds: in the order in which they are run.
        journal: of the confirmation; its runs are taken in, and unfinished ones go on first.
        images: validation images behind a score: see ``Metric.images_behind``.
        margin: of the score; see ``standing``.
        until_settled: the rounds end once the winner is.
    """

    def __init__(
        self,
        candidates: dict[int, TrialConfig],
        seeds: list[int],
        journal: Journal,
        images: float,
        margin: float = MARGIN,
        until_settled: bool = False,
    ) -> None:
        measure = journal.history.metric
        super().__init__(metric=measure.best_key, mode=measure.mode)
        self.candidates, self.seeds, self.journal, self.images = candidates, seeds, journal, images
        self.margin, self.until_settled = margin, until_settled
        self.exhausted = False
        self._unfinished = []
        for run in journal.history.trials.values():
            if run.state not in (RUNNING, STOPPED):
                continue
            if run_key(run) in self._asked() and is_run_of(run, self.candidates):
                self._unfinished.append(run.number)
            else:
                reason = "no longer one of those to confirm"
                journal.write("end", trial=run.number, state=STOPPED, reason=reason)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next run; None while a round's last ones are under way."""
        if self._unfinished:
            number = self._unfinished.pop(0)
            return self.journal.history.trials[number].assignment
        return self._new_run()

    def _new_run(self) -> dict[str, Any] | str | None:
        """A run that was not begun before; else as ``suggest``."""
        history = own_runs(self.journal.history, self.candidates)
        now = stand(history, self.candidates, self.seeds, self.images, self.margin)
        settles = self.margin if self.until_settled else None
        if is_done(history, now, self.candidates, self.seeds, self.images, settles):
            self.exhausted = True
            return ray.tune.search.Searcher.FINISHED
        begun = {run_key(run) for run in history.trials.values()}
        wanted = [(c, self.seeds[now.rounds]) for c in now.alive]
        # Rounds that may be the last do not let a run begin that may not be needed.
        ahead = self.seeds[now.rounds + 1 : LEAST_SEEDS if self.until_settled else None]
        wanted += [(self._leader(now), seed) for seed in ahead]
        key = next((key for key in wanted if key not in begun), None)
        return None if key is None else self._start(*key)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the journal has it already."""

    def begin_again(self, number: int) -> None:
        """Hear that a run did not begin: it is asked for again."""
        self._unfinished.append(number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as ``save``."""

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles a searcher for a restore of its own, which this tool never uses."""
        return {}

    def _asked(self) -> set[tuple[int, int]]:
        return {(c, seed) for c in self.candidates for seed in self.seeds}

    def _leader(self, now: Standing) -> int:
        """The best mean of the complete rounds; before the first, the best of the search."""
        history = own_runs(self.journal.history, self.candidates)
        scores = scores_of(history, now.alive, self.seeds)
        if not now.rounds:
            return now.alive[0]
        metric = history.metric
        whole = {c: [metric.worst if x is None else x for x in scores[c]] for c in now.alive}
        return max(now.alive, key=lambda c: metric.gain(fmean(whole[c][: now.rounds])))

    def _start(self, candidate: int, seed: int) -> dict[str, Any]:
        number = len(self.journal.history.trials)
        config = replace(self.candidates[candidate], seed=seed).to_dict()
        params = {"candidate": candidate, "seed": seed}
        self.journal.write("trial", trial=number, config=config, params=params)
        return self.journal.history.trials[number].assignment


def confirm(
    search: Search,
    plan: Plan,
    candidates: list[TrialRecord],
    seeds: list[int],
    command: str,
    *,
    margin: float = MARGIN,
    until_settled: bool = False,
) -> tuple[Outcome, Confirmation | None]:
    """Run what is left of a confirmation on the Ray that this process is connected to.

    Args:
        plan: of the confirmation, in the search's arithmetic.
        candidates: the best trials of the search, in its order.
        seeds: fresh ones.
        margin: of the score; a cheaper candidate that is shown to be within it wins.
        until_settled: end after the round in which the winner is better than each rival, or shown
            to be within the margin of it; or, where the plan's time is used up, after the last
            whole round.

    Returns:
        How the session ended and, if it did all it was asked, what ``confirmation.json`` now says.

    Raises:
        InputError: another driver runs this confirmation.
    """
    run = search.folder
    inner = RunFolder(f"{run.uri.rstrip('/')}/{CONFIRMED}")
    inner.create()
    configs = {trial.number: trial.config for trial in candidates}
    images = search.metric.images_behind(len(plan.data.val), search.facts.data.val_by_class)
    bound = margin if until_settled else None

    def rounds(plan: Plan, journal: Journal) -> Rounds:
        return Rounds(configs, seeds, journal, images, margin, until_settled)

    outcome = run_session(inner, keeping_all(plan, inner), rounds)
    runs = own_runs(read_history(inner, search.metric), configs)
    asked = [r for r in runs.trials.values() if run_key(r)[0] in configs and run_key(r)[1] in seeds]
    stopped = next((r.reason for r in asked if r.state == STOPPED), "")
    now = stand(runs, configs, seeds, images, margin)
    ended = outcome.outcome == COMPLETE  # maybe since its time was used up
    if stopped and outcome.outcome in (COMPLETE, ALL_FAILED):
        outcome = replace(outcome, outcome=INCOMPLETE, detail=stopped)
    elif ended and not is_done(runs, now, configs, seeds, images, bound):
        outcome = replace(outcome, outcome=INCOMPLETE)  # before the next run began
    if ended and until_settled and now.rounds:
        outcome = replace(outcome, outcome=COMPLETE)
    if outcome.outcome != COMPLETE:
        return outcome, None
    trained_on = len(plan.data.train), plan.data.task
    found = conclude(
        runs, candidates, seeds, images, command, margin, *trained_on,
        extensions=len(search.facts.extensions),
    )  # fmt: skip
    key = (found.winner, found.representative_seed)
    number = next(r.number for r in runs.trials.values() if run_key(r) == key)
    run.write(confirmed_file(*key), inner.read(weights_file(number)))
    run.write_json(CONFIRMATION, found.to_dict())
    return outcome, found


def is_run_of(run: TrialRecord, candidates: Mapping[int, TrialConfig]) -> bool:
    """Whether a run is of a candidate as it is: a search that was extended may have changed it."""
    config = candidates.get(run_key(run)[0])
    return config is not None and replace(config, seed=run.config.seed) == run.config


def own_runs(history: History, candidates: Mapping[int, TrialConfig]) -> History:
    """A confirmation's history without the runs that are of no candidate as it is."""
    runs = {n: run for n, run in history.trials.items() if is_run_of(run, candidates)}
    return replace(history, trials=runs)


def choose(history: History, top: int, count: int) -> tuple[list[TrialRecord], list[int]]:
    """The ``top`` of the ranking, configurations that differ only by their seed once, and
    ``count`` seeds that no trial of the search had."""
    chosen: dict[str, TrialRecord] = {}
    for trial in history.ranking():
        plain = replace(trial.config, seed=0).fingerprint
        if len(chosen) < top:
            chosen.setdefault(plain, trial)
    return list(chosen.values()), fresh_seeds(history, count)


def fresh_seeds(history: History, count: int) -> list[int]:
    """``count`` seeds that no trial of a search had, always the same ones."""
    above = max((t.config.seed for t in history.trials.values()), default=0)
    return [above + i for i in range(1, count + 1)]


def keeping_all(plan: Plan, inner: RunFolder) -> Plan:
    """The plan of a confirmation, which forgets no weights of the runs before: a front may need
    those of a small network."""
    known = len(read_history(inner).trials) if inner.exists(JOURNAL) else 0
    if not known:
        return plan
    return replace(plan, keep=replace(plan.keep, weights=plan.keep.weights + known))


def stand(
    history: History,
    candidates: Mapping[int, TrialConfig],
    seeds: list[int],
    images: float,
    margin: float,
) -> Standing:
    """Who is still in, from the confirmation's journal."""
    scores = scores_of(history, list(candidates), seeds)
    return standing(scores, len(seeds), images, _costs(candidates), margin, history.metric)


def _costs(candidates: Mapping[int, TrialConfig]) -> dict[int, float]:
    return {c: training_flops(config, images=1) for c, config in candidates.items()}


def is_done(
    history: History,
    now: Standing,
    candidates: dict[int, TrialConfig],
    seeds: list[int],
    images: float,
    margin: float | None,
) -> bool:
    """Whether a confirmation that stands like this needs no further run. ``margin``: where it is
    given, a winner that is settled ends the rounds."""
    if now.rounds == len(seeds) or not now.alive:
        return True
    if margin is None or now.rounds < LEAST_SEEDS:
        return False
    return decided(history, now, candidates, seeds, images, margin)[1].settled


def decided(
    history: History,
    now: Standing,
    candidates: dict[int, TrialConfig],
    seeds: list[int],
    images: float,
    margin: float,
) -> tuple[PairedScores, Decision]:
    """The winner after the rounds that are complete, and the scores that made it one."""
    scores = scores_of(history, now.alive, seeds[: now.rounds])
    metric = history.metric
    known = {c: [metric.worst if x is None else x for x in own] for c, own in scores.items()}
    paired = PairedScores(known, images, metric)
    return paired, decide(paired, _costs(candidates), margin)


def conclude(
    history: History,
    candidates: list[TrialRecord],
    seeds: list[int],
    images: float,
    command: str = "",
    margin: float = MARGIN,
    train_images: int = 0,
    task: Task = STUDY,
    extensions: int = 0,
) -> Confirmation:
    """The winner of a confirmation whose runs have all ended. Only whole rounds count.

    Args:
        images: validation images behind a score: see ``Metric.images_behind``.
        train_images: how many a run is trained on.
        task: what its network is made for.
        extensions: how many the search has had.

    Raises:
        InputError: every candidate diverged or crashed under a fresh seed.
    """
    configs = {t.number: t.config for t in candidates}
    now = stand(history, configs, seeds, images, margin)
    if not now.alive:
        why = next(run.reason for run in history.trials.values() if run.reason)
        raise InputError("top", len(configs), f"candidates are confirmed by no fresh seed: {why}")
    paired, decision = decided(history, now, configs, seeds, images, margin)
    rows = candidate_records(
        candidates, history, seeds[: now.rounds], now, images, decision,
        {c: training_flops(config, train_images, task) for c, config in configs.items()}, task,
    )  # fmt: skip
    return Confirmation(
        format=FORMAT,
        level=LEVEL,
        top=len(configs),
        seeds=seeds[: now.rounds],
        epochs=max(config.epochs for config in configs.values()),
        candidates=rows,
        winner=decision.winner,
        ties=[c for c in paired.order if c == decision.winner or decision.rivals[c][0] != WORSE],
        why=in_words(decision, paired, rows, margin),
        representative_seed=median_seed(
            next(r for r in rows if r.trial == decision.winner), history.metric
        ),
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=command,
        margin=margin,
        more_seeds=decision.more_seeds,
        extensions=extensions,
        metric=history.metric.name,
    )
