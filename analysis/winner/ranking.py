"""The winner of a search, confirmed or not, its curve and the ranking."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from analysis.confirmation.intervals import with_shown_intervals
from analysis.suggested_commands import train_command
from analysis.winner.looks_at_test_set import LookResult, recorded
from analysis.winner.pareto import KINDS, BestOfValue, TrialCost, best_of_each, pareto_front
from analysis.winner.size_front import SizedTrial, size_front
from vgg6.common.checks import InputError
from vgg6.common.intervals import LEVEL, normal_quantile
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, ByMetric, Metric
from vgg6.run_record import EpochMetrics
from vgg6.task import STUDY
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.folder import confirmed_file
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import OPEN, TrialRecord

CURVE = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc", "val_balanced_acc")


@dataclass(frozen=True)
class RankedTrial:
    """One line of the ranking. ``score``: its best by the search's metric; ``best_val_acc``: its
    accuracy in that epoch."""

    trial: int
    label: str
    best_val_acc: float
    best_epoch: int
    epochs_run: int
    state: str
    fingerprint: str
    score: float

    @classmethod
    def of(cls, trial: TrialRecord) -> RankedTrial:
        """Of a trial with a score."""
        return cls(
            trial=trial.number,
            label=trial.config.label,
            best_val_acc=trial.best_val_acc or 0.0,
            best_epoch=trial.best_epoch,
            epochs_run=trial.epoch,
            state=trial.state,
            fingerprint=trial.config.fingerprint,
            score=trial.metric.worst if trial.score is None else trial.score,
        )


@dataclass(frozen=True)
class Winner:
    """The winner as it ran in the search, and its run that is to be had: of a confirmed one that of
    the seed in the middle. ``train_command`` makes that run again, ``curve`` is its epochs."""

    in_search: RankedTrial
    config: TrialConfig
    train_command: str
    curve: list[EpochMetrics]

    def to_dict(self) -> dict[str, Any]:
        curve = [{k: v for k, v in row.to_dict().items() if k in CURVE} for row in self.curve]
        return {
            **asdict(self.in_search),
            "config": self.config.to_dict(),
            "train_command": self.train_command,
            "curve": curve,
        }


@dataclass(frozen=True)
class Summary(ByMetric):
    """What came of a search.

    ``complete``: it ended as it was asked to, or all its trials ended and only the driver died
    before it could say so. ``unconfirmed``: trials that a confirmation asked for now would take,
    and the one there is has not. ``test``: what the confirmed winner scored on the test images.
    ``best_by``: the best of each activation and of each optimizer; ``beats_chance``: whether the
    best score, or mean of a confirmation, is better than what guessing gives; ``limits``: what the
    networks that were tried may take, in words; ``size_front``: the best completed
    trials for their number of parameters, where networks of several widths were tried;
    ``extensions``: what was added to the search since it began, a line each; ``outdated``: what a
    confirmation is of that was made before, and chooses no winner.
    """

    search: str
    data: str
    complete: bool
    trials_asked: int
    trials_ended: int
    trials: dict[str, int]
    trials_scored: int
    epochs_run: int
    winner: Winner
    confirmation: Confirmation | None
    unconfirmed: list[int]
    test: LookResult | None
    ranking: list[RankedTrial]
    pareto: list[TrialCost]
    best_by: dict[str, list[BestOfValue]]
    beats_chance: bool
    limits: list[str] = field(default_factory=list)
    classes: int = STUDY.classes
    size_front: list[SizedTrial] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)
    outdated: str = ""
    metric: str = ACCURACY.name

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del given["best_by"]
        return given | {
            "winner": self.winner.to_dict(),
            "confirmation": self.confirmation and self.confirmation.to_dict(),
            "test": self.test and asdict(self.test),
            "ranking": [asdict(trial) for trial in self.ranking],
            "pareto": [asdict(trial) for trial in self.pareto],
            "size_front": [asdict(trial) for trial in self.size_front],
            **{
                f"best_by_{kind}": [best.to_dict(kind) for best in found]
                for kind, found in self.best_by.items()
            },
        }


def winner_of(search: Search) -> TrialRecord:
    """The first of the ranking.

    Raises:
        InputError: no trial has a score; says how they stand and the first one's reason.
    """
    history = search.history
    ranked = history.ranking(first=1)
    if not ranked:
        why = states_in_words(history.states) or "none has begun"
        if failed := next((t for t in history.trials.values() if t.reason), None):
            why += f"; the first, trial {failed.number}: {failed.reason}"
        raise InputError("run", search.folder.name, f"has no trial with a validation score: {why}")
    return ranked[0]


def summary(search: Search, top: int) -> Summary:
    """The winner, its curve and the ``top`` of the ranking.

    The winner is the confirmed one where there is one, with the curve and the command of its median
    run over the fresh seeds; else the first of the ranking.

    Raises:
        InputError: no trial has a score.
    """
    facts, history, confirmed = search.facts, search.history, search.confirmation
    ranked, trial = history.ranking(), winner_of(search)
    config, length = trial.config, trial.stop_after
    curve: list[EpochMetrics] = [*trial.curve]
    tested = None
    if confirmed:
        trial, length = history.trials[confirmed.winner], None
        config = replace(confirmed.chosen.config, seed=confirmed.representative_seed)
        curve = confirmed.representative.history
        weights = confirmed_file(trial.number, config.seed)
        tested = recorded(search.folder, weights, what=f"trial {trial.number} seed {config.seed}")
    metric, images = search.metric, facts.data.images_behind(search.metric)
    task, classes = facts.data.task, facts.data.task.classes
    best = metric.worst if ranked[0].score is None else ranked[0].score
    scores = len(history.arrivals)
    able = [
        t for t in ranked
        if t.score is not None and beats_chance(t.score, images, scores, classes, metric)
    ]  # fmt: skip
    if confirmed:
        best, scores = best_mean(confirmed)
    ended = sum(t.state not in OPEN for t in history.trials.values())
    outcome = history.sessions[-1].outcome if history.sessions else ""
    command = train_command(config, facts.data, facts.runtime, length, metric=metric)
    return Summary(
        search=search.name,
        data=facts.data.name,
        complete=not search.is_pending and (outcome == "complete" or ended >= facts.trials),
        trials_asked=facts.trials,
        trials_ended=ended,
        trials=history.states,
        trials_scored=len(ranked),
        epochs_run=len(history.arrivals),
        winner=Winner(RankedTrial.of(trial), config, command, curve),
        confirmation=confirmed and with_shown_intervals(confirmed, images),
        unconfirmed=_unconfirmed(ranked, confirmed),
        test=tested,
        ranking=[RankedTrial.of(trial) for trial in ranked[:top]],
        pareto=pareto_front(able, task) or pareto_front(ranked, task),
        best_by={kind: best_of_each(ranked, kind, task) for kind in KINDS},
        classes=classes,
        beats_chance=beats_chance(best, images, scores, classes, metric),
        limits=[limit.words for limit in facts.settings.limits],
        size_front=size_front(ranked, facts.data, search.front),
        extensions=search.extensions,
        outdated=search.outdated_in_words,
        metric=metric.name,
    )


def beats_chance(
    best: float,
    images: float,
    scores: int,
    classes: int = STUDY.classes,
    metric: Metric = ACCURACY,
) -> bool:
    """Whether the best of so many ``scores`` is better than what guesses give.

    Guesses are right once in ``classes``. Their best score in so many tries, each on so many
    ``images`` (see ``Metric.images_behind``), does not pass the bound in 95 of 100 searches.
    """
    chance = metric.chance(classes)
    bound = normal_quantile((1 - LEVEL) / max(1, scores)) * math.sqrt(
        metric.variance(chance, images)
    )
    return bool(metric.gain(best) > metric.gain(chance) + bound)


def best_mean(confirmed: Confirmation) -> tuple[float, int]:
    """The best mean over fresh seeds, and of how many."""
    means = [c.mean for c in confirmed.candidates if c.mean is not None]
    return max(means, key=confirmed.measure.gain), len(means)


def _unconfirmed(ranked: list[TrialRecord], confirmed: Confirmation | None) -> list[int]:
    if confirmed is None:
        return []
    known = {candidate.trial for candidate in confirmed.candidates}
    gain = confirmed.measure.gain
    floor = min(gain(candidate.search_score) for candidate in confirmed.candidates)
    return [
        trial.number
        for trial in ranked[: confirmed.top]
        if trial.number not in known and trial.gain > floor
    ]


def data_title(data: str) -> str:
    """A data set's name in a headline: nobody shall take the embedded digits for CIFAR-10."""
    return "digits (not CIFAR-10)" if data == "digits" else data


def states_in_words(states: dict[str, int]) -> str:
    """``3 completed, 1 pruned``."""
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
