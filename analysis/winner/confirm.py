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
from analysis.winner.seed_noise import LEVEL, t_interval
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.model import count_parameters
from vgg6.tuning.run import journal as j
from vgg6.tuning.run.folder import (
    CONFIRMATION,
    CONFIRMED,
    RunFolder,
    confirmed_file,
    weights_file,
)
from vgg6.tuning.session.session import Outcome, Plan, run_session


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
        self, candidates: dict[int, TrialConfig], seeds: list[int], journal: j.Journal, images: int
    ) -> None:
        super().__init__(metric="best_val_acc", mode="max")
        self.candidates, self.seeds, self.journal, self.images = candidates, seeds, journal, images
        self.exhausted = False
        self._unfinished = []
        for run in journal.history.trials.values():
            if run.state not in (j.RUNNING, j.STOPPED):
                continue
            if (run.params["candidate"], run.params["seed"]) in self._asked():
                self._unfinished.append(run.number)
            else:
                reason = "no longer one of those to confirm"
                journal.write("end", trial=run.number, state=j.STOPPED, reason=reason)

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
    run: RunFolder, plan: Plan, candidates: list[j.TrialRecord], seeds: list[int], command: str
) -> tuple[Outcome, dict[str, Any] | None]:
    """Run what is left of a confirmation on the Ray that this process is connected to.

    Args:
        run: the search. plan: of the confirmation, in the search's arithmetic.
        candidates: the best trials of the search, in its order.
        seeds: fresh ones.

    Returns:
        How the session ended and, if it did all it was asked, what ``confirmation.json`` now says.

    Raises:
        InputError: another driver runs this confirmation.
    """
    inner = RunFolder(f"{run.uri.rstrip('/')}/{CONFIRMED}")
    inner.create()
    configs = {t.number: TrialConfig.from_mapping(t.config) for t in candidates}
    images = len(plan.data.val)

    def rounds(plan: Plan, journal: j.Journal) -> Rounds:
        return Rounds(configs, seeds, journal, images)

    outcome = run_session(inner, plan, rounds)
    if outcome.outcome != "complete":
        return outcome, None
    found = conclude(j.read_history(inner), candidates, seeds, images)
    found |= {"created": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": command}
    keep_representative(run, inner, found)
    run.write_json(CONFIRMATION, found)
    return outcome, found


def choose(history: j.History, top: int, count: int) -> tuple[list[j.TrialRecord], list[int]]:
    """The ``top`` of the ranking, configurations that differ only by their seed once, and
    ``count`` seeds that no trial of the search had."""
    chosen: dict[str, j.TrialRecord] = {}
    for trial in history.ranking():
        plain = replace(TrialConfig.from_mapping(trial.config), seed=0).fingerprint
        if len(chosen) < top:
            chosen.setdefault(plain, trial)
    above = max((t.config["seed"] for t in history.trials.values()), default=0)
    return list(chosen.values()), [above + i for i in range(1, count + 1)]


def run_key(run: j.TrialRecord) -> tuple[int, int]:
    """Which candidate and which seed a run of the confirmation is."""
    return run.params["candidate"], run.params["seed"]


def scores_of(
    history: j.History, candidates: list[int], seeds: list[int]
) -> dict[int, list[float | None]]:
    """Each candidate's scores by seed, up to the first that has not ended; None: it diverged or
    crashed."""
    runs = {run_key(run): run for run in history.trials.values()}
    found: dict[int, list[float | None]] = {}
    for candidate in candidates:
        found[candidate] = []
        for seed in seeds:
            run = runs.get((candidate, seed))
            if run is None or run.state in (j.RUNNING, j.STOPPED):
                break
            found[candidate].append(run.best_val_acc if run.state == j.COMPLETED else None)
    return found


def stand(history: j.History, candidates: list[int], seeds: list[int], images: int) -> Standing:
    """Who is still in, from the confirmation's journal."""
    return standing(scores_of(history, candidates, seeds), len(seeds), images)


def conclude(
    history: j.History, candidates: list[j.TrialRecord], seeds: list[int], images: int
) -> dict[str, Any]:
    """The winner of a confirmation whose runs have all ended, as plain JSON values.

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
    seconds = {c: fmean(_seconds(run) for run in runs[c]) for c in ties}
    winner = preferred(ties, seconds)
    rows = [
        _candidate(t, runs[t.number], now.eliminated.get(t.number), t.number in ties)
        for t in candidates
    ]
    rows.sort(key=lambda row: (row["eliminated_after"] is not None, -(row["mean"] or 0.0)))
    return {
        "format": 1,
        "level": LEVEL,
        "top": len(numbers),
        "seeds": seeds,
        "epochs": max(t.config["epochs"] for t in candidates),
        "candidates": rows,
        "winner": winner,
        "ties": ties,
        "why": _why(winner, ties, len(seeds), len(numbers)),
        "representative_seed": _median_seed(runs[winner]),
    }


def keep_representative(run: RunFolder, inner: RunFolder, found: dict[str, Any]) -> None:
    """Keep the weights of the winner's median run under the name that exports look for."""
    key = (found["winner"], found["representative_seed"])
    number = next(r.number for r in j.read_history(inner).trials.values() if run_key(r) == key)
    run.write(confirmed_file(*key), inner.read(weights_file(number)))


def _candidate(
    trial: j.TrialRecord, runs: list[j.TrialRecord], dropped: int | None, is_tied: bool
) -> dict[str, Any]:
    config = TrialConfig.from_mapping(trial.config)
    done = [r.best_val_acc for r in runs if r.state == j.COMPLETED and r.best_val_acc is not None]
    known = t_interval(done) if done else None
    rows = [row for run in runs for row in run.rows.values()]
    return {
        "trial": trial.number,
        "label": config.label,
        "config": config.to_dict(),
        "fingerprint": config.fingerprint,
        "search_score": trial.best_val_acc,
        **{key: getattr(known, key, None) for key in ("mean", "sd", "low", "high")},
        "optimism": known and (trial.best_val_acc or 0.0) - known.mean,
        "eliminated_after": dropped,
        "tied": is_tied,
        "parameters": count_parameters(config),
        "epoch_seconds": fmean(row["seconds"] for row in rows) if rows else None,
        "runs": [
            {
                "seed": run_key(run)[1],
                "val_acc": run.best_val_acc,
                "best_epoch": run.rows[run.epoch]["best_epoch"] if run.rows else None,
                "epochs_run": run.epoch,
                "seconds": _seconds(run),
                "state": run.state,
                "reason": run.reason,
                "history": run.results,
            }
            for run in runs
        ],
    }


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


def _median_seed(runs: list[j.TrialRecord]) -> int:
    """The seed of the run in the middle: its weights are what a re-run is likely to give."""
    done = sorted((r for r in runs if r.state == j.COMPLETED), key=lambda r: r.best_val_acc or 0.0)
    return run_key(done[(len(done) - 1) // 2])[1]


def _seconds(run: j.TrialRecord) -> float:
    return float(sum(row["seconds"] for row in run.rows.values()))
