"""Confirm: the best of a search trained again over fresh seeds, and an honest winner among them.

The highest of many noisy scores is too good to be true. The confirmation is a small search of its
own in ``RUN/confirmed/``: its trials are (candidate, seed), its journal makes it resumable, and a
larger one goes on from a smaller one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import fmean
from typing import Any

import ray.tune.search

from analysis.winner.elimination import Standing, preferred, standing, tied
from vgg6.common.checks import InputError
from vgg6.common.intervals import LEVEL, student
from vgg6.config import TrialConfig
from vgg6.model import count_parameters
from vgg6.tuning.run.folder import (
    CONFIRMATION,
    CONFIRMED,
    RunFolder,
    confirmed_file,
    weights_file,
)
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.records import FORMAT, Candidate, Confirmation, ConfirmationRun
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import COMPLETED, RUNNING, STOPPED, TrialRecord
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session import Outcome, run_session


class Rounds(ray.tune.search.Searcher):
    """Asks for a run of every candidate that is still in, a seed after the other.

    Where a worker would stand idle until a round's last run ends, the leader's next run begins.

    Args:
        candidates: their configurations by their number in the search, the best first.
        seeds: in the order in which they are run.
        journal: of the confirmation; its runs are taken in, and unfinished ones go on first.
        images: validation images behind a score.
    """

    def __init__(
        self, candidates: dict[int, TrialConfig], seeds: list[int], journal: Journal, images: int
    ) -> None:
        super().__init__(metric="best_val_acc", mode="max")
        self.candidates, self.seeds, self.journal, self.images = candidates, seeds, journal, images
        self.exhausted = False
        self._unfinished = []
        for run in journal.history.trials.values():
            if run.state not in (RUNNING, STOPPED):
                continue
            if (run.params["candidate"], run.params["seed"]) in self._asked():
                self._unfinished.append(run.number)
            else:
                reason = "no longer one of those to confirm"
                journal.write("end", trial=run.number, state=STOPPED, reason=reason)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next run; None while a round's last ones are under way."""
        if self._unfinished:
            number = self._unfinished.pop(0)
            return self.journal.history.trials[number].assignment
        now = stand(self.journal.history, list(self.candidates), self.seeds, self.images)
        if now.rounds == len(self.seeds) or not now.alive:
            self.exhausted = True
            return ray.tune.search.Searcher.FINISHED
        begun = {run_key(run) for run in self.journal.history.trials.values()}
        wanted = [(c, self.seeds[now.rounds]) for c in now.alive]
        wanted += [(self._leader(now), seed) for seed in self.seeds[now.rounds + 1 :]]
        key = next((key for key in wanted if key not in begun), None)
        return None if key is None else self._start(*key)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the journal has it already."""

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
        scores = scores_of(self.journal.history, now.alive, self.seeds)
        if not now.rounds:
            return now.alive[0]
        return max(now.alive, key=lambda c: fmean(x or 0.0 for x in scores[c][: now.rounds]))

    def _start(self, candidate: int, seed: int) -> dict[str, Any]:
        number = len(self.journal.history.trials)
        config = replace(self.candidates[candidate], seed=seed).to_dict()
        params = {"candidate": candidate, "seed": seed}
        self.journal.write("trial", trial=number, config=config, params=params)
        return self.journal.history.trials[number].assignment


def confirm(
    search: Search, plan: Plan, candidates: list[TrialRecord], seeds: list[int], command: str
) -> tuple[Outcome, Confirmation | None]:
    """Run what is left of a confirmation on the Ray that this process is connected to.

    Args:
        plan: of the confirmation, in the search's arithmetic.
        candidates: the best trials of the search, in its order.
        seeds: fresh ones.

    Returns:
        How the session ended and, if it did all it was asked, what ``confirmation.json`` now says.

    Raises:
        InputError: another driver runs this confirmation.
    """
    run = search.folder
    inner = RunFolder(f"{run.uri.rstrip('/')}/{CONFIRMED}")
    inner.create()
    configs = {trial.number: trial.config for trial in candidates}
    images = len(plan.data.val)

    def rounds(plan: Plan, journal: Journal) -> Rounds:
        return Rounds(configs, seeds, journal, images)

    outcome = run_session(inner, plan, rounds)
    if outcome.outcome != "complete":
        return outcome, None
    runs = read_history(inner)
    found = conclude(runs, candidates, seeds, images, command)
    key = (found.winner, found.representative_seed)
    number = next(r.number for r in runs.trials.values() if run_key(r) == key)
    run.write(confirmed_file(*key), inner.read(weights_file(number)))
    run.write_json(CONFIRMATION, found.to_dict())
    return outcome, found


def choose(history: History, top: int, count: int) -> tuple[list[TrialRecord], list[int]]:
    """The ``top`` of the ranking, configurations that differ only by their seed once, and
    ``count`` seeds that no trial of the search had."""
    chosen: dict[str, TrialRecord] = {}
    for trial in history.ranking():
        plain = replace(trial.config, seed=0).fingerprint
        if len(chosen) < top:
            chosen.setdefault(plain, trial)
    above = max((t.config.seed for t in history.trials.values()), default=0)
    return list(chosen.values()), [above + i for i in range(1, count + 1)]


def run_key(run: TrialRecord) -> tuple[int, int]:
    """Which candidate and which seed a run of the confirmation is."""
    return run.params["candidate"], run.params["seed"]


def scores_of(
    history: History, candidates: list[int], seeds: list[int]
) -> dict[int, list[float | None]]:
    """Each candidate's scores by seed, up to the first that has not ended; None: it diverged or
    crashed."""
    runs = {run_key(run): run for run in history.trials.values()}
    found: dict[int, list[float | None]] = {}
    for candidate in candidates:
        found[candidate] = []
        for seed in seeds:
            run = runs.get((candidate, seed))
            if run is None or run.state in (RUNNING, STOPPED):
                break
            found[candidate].append(run.best_val_acc if run.state == COMPLETED else None)
    return found


def stand(history: History, candidates: list[int], seeds: list[int], images: int) -> Standing:
    """Who is still in, from the confirmation's journal."""
    return standing(scores_of(history, candidates, seeds), len(seeds), images)


def conclude(
    history: History,
    candidates: list[TrialRecord],
    seeds: list[int],
    images: int,
    command: str = "",
) -> Confirmation:
    """The winner of a confirmation whose runs have all ended.

    Raises:
        InputError: every candidate diverged or crashed under a fresh seed.
    """
    numbers = [t.number for t in candidates]
    now = stand(history, numbers, seeds, images)
    if not now.alive:
        why = next(run.reason for run in history.trials.values() if run.reason)
        raise InputError("top", len(numbers), f"candidates are confirmed by no fresh seed: {why}")
    scores = scores_of(history, numbers, seeds)
    final = {c: [x for x in scores[c] if x is not None] for c in now.alive}
    ties = tied(final, images)
    runs = {c: [r for r in history.trials.values() if run_key(r)[0] == c] for c in numbers}
    runs = {c: sorted((r for r in own if run_key(r)[1] in seeds), key=run_key)
            for c, own in runs.items()}  # fmt: skip
    seconds = {c: fmean(run.seconds for run in runs[c]) for c in ties}
    winner = preferred(ties, seconds)
    rows = [
        _candidate(t, runs[t.number], now.eliminated.get(t.number), t.number in ties)
        for t in candidates
    ]
    rows.sort(key=lambda row: (row.eliminated_after is not None, -(row.mean or 0.0)))
    return Confirmation(
        format=FORMAT,
        level=LEVEL,
        top=len(numbers),
        seeds=seeds,
        epochs=max(trial.config.epochs for trial in candidates),
        candidates=rows,
        winner=winner,
        ties=ties,
        why=_why(winner, ties, len(seeds), len(numbers)),
        representative_seed=_median_seed(runs[winner]),
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=command,
    )


def _candidate(
    trial: TrialRecord, runs: list[TrialRecord], dropped: int | None, is_tied: bool
) -> Candidate:
    done = [r.best_val_acc for r in runs if r.state == COMPLETED and r.best_val_acc is not None]
    known = student(done) if done else None
    seconds = [row.seconds for run in runs for row in run.rows.values()]
    score = trial.best_val_acc or 0.0
    return Candidate(
        trial=trial.number,
        label=trial.config.label,
        config=trial.config,
        fingerprint=trial.config.fingerprint,
        search_score=score,
        mean=None if known is None else known.mean,
        sd=None if known is None else known.sd,
        # Of accuracies: no bound is below 0 or above 1.
        low=None if known is None or known.low is None else max(0.0, known.low),
        high=None if known is None or known.high is None else min(1.0, known.high),
        optimism=None if known is None else score - known.mean,
        eliminated_after=dropped,
        tied=is_tied,
        parameters=count_parameters(trial.config),
        epoch_seconds=fmean(seconds) if seconds else None,
        runs=[
            ConfirmationRun(
                seed=run_key(run)[1],
                val_acc=run.best_val_acc,
                best_epoch=run.best_epoch if run.rows else None,
                epochs_run=run.epoch,
                seconds=run.seconds,
                state=run.state,
                reason=run.reason,
                history=run.results,
            )
            for run in runs
        ],
    )


def _why(winner: int, ties: list[int], seeds: int, candidates: int) -> str:
    over = f"{seeds} fresh seed{'s' * (seeds > 1)}"
    if candidates == 1:
        return f"trial {winner} was the only candidate, over {over}"
    if len(ties) == 1:
        return f"trial {winner} has the highest mean over {over}, by more than noise"
    others = ", ".join(str(c) for c in ties if c != winner)
    why = f"trial {winner} is tied with {others} over {over}"
    return why + (
        ": the highest mean, and none of them is cheaper"
        if winner == ties[0]
        else f": trial {ties[0]} has the highest mean, trial {winner} is cheaper to train"
    )


def _median_seed(runs: list[TrialRecord]) -> int:
    """The seed of the run in the middle: its weights are what a re-run is likely to give."""
    done = sorted((r for r in runs if r.state == COMPLETED), key=lambda r: r.best_val_acc or 0.0)
    return run_key(done[(len(done) - 1) // 2])[1]
