"""``confirmation.json``: what a confirmation found, typed and checked as ``search.json`` is."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from vgg6.common.checks import InputError, check_number
from vgg6.common.schema import (
    Count,
    Real,
    Record,
    Seed,
    Share,
    Text,
    at_least,
    one_of,
    read_record,
    whole,
)
from vgg6.metric import ACCURACY, ByMetric
from vgg6.run_record import Config, EpochMetrics, MetricName
from vgg6.tuning.run.folder import CONFIRMATION, RunFolder
from vgg6.tuning.run.search_facts import Format
from vgg6.tuning.run.trials import COMPLETED

# How a candidate stands to the winner: shown to be worse, shown to be at most the margin better,
# neither of the two, or without a score of one of its seeds.
STANDS = WORSE, WITHIN, OPEN, DIVERGED = "worse", "within", "open", "diverged"


class ConfirmationRun(Record):
    """One seed of a candidate. ``score``: its best epoch's by the search's metric; ``val_acc``: the
    accuracy there; ``seconds``: of all its epochs. Files of earlier versions go by accuracy and
    lack the score."""

    seed: Seed
    val_acc: Share | None
    score: Real | None = None
    best_epoch: Count | None = None
    epochs_run: Count = 0
    seconds: Real = 0.0
    state: Text
    reason: Text = ""
    history: list[EpochMetrics]

    @property
    def result(self) -> float | None:
        """Its score by the search's metric; None where it has none."""
        return self.val_acc if self.score is None else self.score


class Candidate(Record):
    """A configuration that was run over fresh seeds.

    ``mean``: of its scores by the search's metric, None where no run was completed; ``low`` to
    ``high``: its interval, made of ``sd``, the standard deviation of one score, for which all
    candidates are asked; ``optimism``: by how much its score in the search is better than the mean,
    None where its trial was not trained as long; ``eliminated_after``: so many seeds; ``tied``: not
    shown to be worse than the winner; ``cost``: FLOPs of training it once.

    ``behind``: by how much its mean is below that of ``compared_with``, which is the winner, or the
    best of its last round if it was dropped; ``behind_low`` to ``behind_high``: the bounds that
    decided; ``stands``: how it stands to the winner, empty for the winner itself.
    """

    trial: Count
    label: Text
    config: Config
    fingerprint: Text = ""
    search_score: Real
    mean: Real | None
    sd: Real | None
    low: Real | None
    high: Real | None
    optimism: Real | None
    eliminated_after: Count | None
    tied: bool
    parameters: Count | None = None
    epoch_seconds: Real | None = None
    cost: Real | None = None
    compared_with: Count | None = None
    behind: Real | None = None
    behind_low: Real | None = None
    behind_high: Real | None = None
    stands: Annotated[str, one_of("", *STANDS)] = ""
    runs: list[ConfirmationRun]

    @property
    def finished(self) -> list[ConfirmationRun]:
        return [run for run in self.runs if run.state == COMPLETED]


class Confirmation(Record, ByMetric):
    """``confirmation.json``: the best of a search over fresh seeds, and the winner among them.

    ``metric``: what they were compared by; ``margin``: of it, by which a cheaper winner may be
    worse; ``more_seeds``: how many would tell which of ``ties`` is the best, 0 where the winner is
    better than each rival or shown to be within the margin of it. Both are None in files of earlier
    versions. ``extensions``: how many the search had by then.
    """

    format: Format
    level: Share
    top: Annotated[int, whole(1, 10**6)]
    seeds: list[Seed]
    epochs: Count = 0
    candidates: Annotated[list[Candidate], at_least(1)]
    winner: Count
    ties: list[Count]
    why: Text
    representative_seed: Seed
    created: Text = ""
    command: Text = ""
    margin: Share | None = None
    more_seeds: Count | None = None
    extensions: Count = 0
    metric: MetricName = ACCURACY.name

    @model_validator(mode="after")
    def _scored_in_its_metric(self) -> Confirmation:
        for index, candidate in enumerate(self.candidates):
            where, allowed = f"candidates[{index}]", self.measure.range
            check_number(f"{where}.search_score", candidate.search_score, allowed)
            for place, run in enumerate(candidate.runs):
                if run.result is not None:
                    check_number(f"{where}.runs[{place}].score", run.result, allowed)
        return self

    @model_validator(mode="after")
    def _winner_is_whole(self) -> Confirmation:
        if self.winner not in [c.trial for c in self.candidates]:
            raise InputError("winner", self.winner, "is none of the candidates")
        if self.chosen.mean is None:
            raise InputError("winner", self.winner, "is a candidate without a mean")
        seed = self.representative_seed
        if seed not in [run.seed for run in self.chosen.finished if run.history]:
            raise InputError("representative_seed", seed, "is of no completed run of the winner")
        return self

    @property
    def chosen(self) -> Candidate:
        """The candidate that won."""
        return next(c for c in self.candidates if c.trial == self.winner)

    @property
    def representative(self) -> ConfirmationRun:
        """The winner's run in the middle, whose weights are kept."""
        runs = self.chosen.finished
        return next(run for run in runs if run.seed == self.representative_seed)


def read_confirmation(run: RunFolder) -> Confirmation | None:
    """``confirmation.json``, or None where nothing is confirmed yet.

    Raises:
        InputError: as ``read_facts``; or its winner is none of its candidates, or has no run.
    """
    if not run.exists(CONFIRMATION):
        return None
    return read_record(Confirmation, run.read_json(CONFIRMATION), f"{run.file(CONFIRMATION)}: ")
