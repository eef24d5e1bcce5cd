"""The searcher of a confirmation: which run, a candidate with a fresh seed, begins next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ray.tune.search

from analysis.confirmation.candidate_record import run_key
from analysis.confirmation.contest import Contest
from analysis.confirmation.winner_rule import LEAST_SEEDS
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import RUNNING, STOPPED


class Rounds(ray.tune.search.Searcher):
    """Asks for a run of every candidate that is still in, a seed after the other.

    Where a worker would stand idle until a round's last run ends, the leader's next run begins.

    Args:
        contest: who is in it, and when it is decided.
        journal: of the confirmation; its runs are taken in, and unfinished ones go on first.
    """

    def __init__(self, contest: Contest, journal: Journal) -> None:
        measure = journal.history.metric
        super().__init__(metric=measure.best_key, mode=measure.mode)
        self.contest, self.journal = contest, journal
        self.exhausted = False
        self._unfinished = []
        for run in journal.history.trials.values():
            if run.state not in (RUNNING, STOPPED):
                continue
            if run_key(run) in contest.asked and contest.has(run):
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
        contest = self.contest
        history = contest.own_runs(self.journal.history)
        now = contest.standing(history)
        if contest.is_done(history, now):
            self.exhausted = True
            return ray.tune.search.Searcher.FINISHED
        begun = {run_key(run) for run in history.trials.values()}
        wanted = [(c, contest.seeds[now.rounds]) for c in now.alive]
        # Rounds that may be the last do not let a run begin that may not be needed.
        ahead = contest.seeds[now.rounds + 1 : LEAST_SEEDS if contest.until_settled else None]
        wanted += [(contest.leader(history, now), seed) for seed in ahead]
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

    def _start(self, candidate: int, seed: int) -> dict[str, Any]:
        number = len(self.journal.history.trials)
        config = replace(self.contest.candidates[candidate], seed=seed).to_dict()
        params = {"candidate": candidate, "seed": seed}
        self.journal.write("trial", trial=number, config=config, params=params)
        return self.journal.history.trials[number].assignment
