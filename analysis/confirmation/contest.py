"""Who is in a confirmation, how it stands, and what it concludes: from the runs in its journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from analysis.confirmation.candidate_record import (
    candidate_records,
    in_words,
    median_seed,
    run_key,
    scores_of,
)
from analysis.confirmation.paired_scores import PairedScores
from analysis.confirmation.winner_rule import (
    LEAST_SEEDS,
    MARGIN,
    Decision,
    Standing,
    decide,
    standing,
)
from vgg6.common.checks import InputError
from vgg6.common.intervals import LEVEL
from vgg6.config import TrialConfig
from vgg6.footprint.training_cost import training_flops
from vgg6.task import STUDY, Task
from vgg6.tuning.run.confirmation import WORSE, Confirmation
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search_facts import FORMAT
from vgg6.tuning.run.trials import TrialRecord


@dataclass(frozen=True)
class Contest:
    """What a confirmation was asked for.

    Args:
        candidates: their configurations by their number in the search, the best first.
        seeds: in the order in which they are run.
        images: validation images behind a score: see ``Metric.images_behind``.
        margin: of the score; a cheaper candidate that is shown to be within it wins.
        until_settled: it ends once the winner is settled, and not after the last seed.
    """

    candidates: Mapping[int, TrialConfig]
    seeds: list[int]
    images: float
    margin: float = MARGIN
    until_settled: bool = False

    @property
    def asked(self) -> set[tuple[int, int]]:
        """All runs that there may be, each as candidate and seed."""
        return {(c, seed) for c in self.candidates for seed in self.seeds}

    def has(self, run: TrialRecord) -> bool:
        """Whether a run is of a candidate as it is: an extended search may have changed it."""
        config = self.candidates.get(run_key(run)[0])
        return config is not None and replace(config, seed=run.config.seed) == run.config

    def own_runs(self, history: History) -> History:
        """A confirmation's history without the runs that are of no candidate as it is."""
        runs = {n: run for n, run in history.trials.items() if self.has(run)}
        return replace(history, trials=runs)

    def standing(self, history: History) -> Standing:
        """Who is still in."""
        scores = scores_of(history, list(self.candidates), self.seeds)
        rounds, costs = len(self.seeds), self._costs
        return standing(scores, rounds, self.images, costs, self.margin, history.metric)

    def is_done(self, history: History, now: Standing) -> bool:
        """Whether it needs no further run where it stands like this."""
        if now.rounds == len(self.seeds) or not now.alive:
            return True
        if not self.until_settled or now.rounds < LEAST_SEEDS:
            return False
        return self.decide(history, now)[1].settled

    def decide(self, history: History, now: Standing) -> tuple[PairedScores, Decision]:
        """The winner after the rounds that are complete, and the scores that made it one."""
        paired = PairedScores(self._whole_scores(history, now), self.images, history.metric)
        return paired, decide(paired, self._costs, self.margin)

    def leader(self, history: History, now: Standing) -> int:
        """The best mean of the complete rounds; before the first, the best of the search."""
        if not now.rounds:
            return now.alive[0]
        scores = self._whole_scores(history, now)
        return max(now.alive, key=lambda c: history.metric.gain(fmean(scores[c])))

    def _whole_scores(self, history: History, now: Standing) -> dict[int, list[float]]:
        """The scores of the complete rounds of those who are still in."""
        scores = scores_of(history, now.alive, self.seeds[: now.rounds])
        worst = history.metric.worst
        return {c: [worst if x is None else x for x in own] for c, own in scores.items()}

    @property
    def _costs(self) -> dict[int, float]:
        return {c: training_flops(config, images=1) for c, config in self.candidates.items()}


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
    contest = Contest({t.number: t.config for t in candidates}, seeds, images, margin)
    configs, now = contest.candidates, contest.standing(history)
    if not now.alive:
        why = next(run.reason for run in history.trials.values() if run.reason)
        raise InputError("top", len(configs), f"candidates are confirmed by no fresh seed: {why}")
    paired, decision = contest.decide(history, now)
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
