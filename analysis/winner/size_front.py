"""What score each size of network reaches: the front of a search that varied the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vgg6.architecture import count_parameters
from vgg6.common.checks import InputError
from vgg6.common.numbers_in_words import counted, score_in_words
from vgg6.common.quantities import bytes_text, latency_text
from vgg6.footprint.int8_size import int8_bytes
from vgg6.run_record import CompleteFacts, DataFacts
from vgg6.tuning.run.confirmed_front import ConfirmedFront
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import COMPLETED, TrialRecord


@dataclass(frozen=True)
class SizedTrial:
    """A trial's score by the search's metric, its accuracy in that epoch, and what its network
    takes; ``int8_bytes``: of its int8 ONNX file, at most 2.5 kB less.

    Where the front was confirmed: ``mean`` over so many fresh ``seeds`` with its interval, and
    ``latency``, seconds for one image with quartiles. ``is_beaten``: a smaller network has as good
    a mean.
    """

    trial: int
    label: str
    best_val_acc: float
    width: float
    parameters: int
    int8_bytes: int
    score: float
    seeds: int = 0
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    latency: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None
    is_beaten: bool = False

    @property
    def words(self) -> str:
        return f"{self.parameters:,} parameters, {bytes_text(self.int8_bytes)} as int8"

    @property
    def time_in_words(self) -> str:
        """What one image takes; empty where that was not measured."""
        times = (self.latency, self.latency_low, self.latency_high)
        took, low, high = (latency_text(seconds or 0.0) for seconds in times)
        return "" if None in times else f"{took} an image (quartiles {low} to {high})"

    @property
    def confirmed_in_words(self) -> str:
        """What its fresh seeds say; empty where there are none."""
        if not self.seeds:
            return ""
        if self.mean is None:
            return f"no fresh seed of {self.seeds} was completed"
        beaten = "; a smaller one is as good" if self.is_beaten else ""
        mean = score_in_words(self.mean, self.low, self.high)
        return f"mean of {counted(self.seeds, 'fresh seed')} {mean}{beaten}"


def sized_trials(ranked: Sequence[TrialRecord], data: DataFacts) -> list[SizedTrial]:
    """The completed trials with their sizes, the best score first; none where all networks are
    of one width, for size then says nothing."""
    if len({trial.config.width for trial in ranked}) < 2 or data.classes is None:
        return []
    images = CompleteFacts(**data.to_dict())
    return [
        SizedTrial(
            trial=trial.number,
            label=trial.config.label,
            best_val_acc=trial.best_val_acc or 0.0,
            width=trial.config.width,
            parameters=count_parameters(trial.config, task=images.task),
            int8_bytes=int8_bytes(trial.config, images),
            score=trial.metric.worst if trial.score is None else trial.score,
        )
        for trial in ranked
        if trial.state == COMPLETED
    ]


def size_front(
    ranked: Sequence[TrialRecord], data: DataFacts, confirmed: ConfirmedFront | None = None
) -> list[SizedTrial]:
    """Those of ``sized_trials`` that no other one beats: none has fewer parameters and scores as
    well. The best, and so the largest, first.

    Args:
        confirmed: what is known of them over fresh seeds.
    """
    front: list[SizedTrial] = []
    for sized in sized_trials(ranked, data):
        if all(sized.parameters < other.parameters for other in front):
            front.append(sized)
    return [_confirmed(sized, confirmed) for sized in front] if confirmed else front


def _confirmed(sized: SizedTrial, front: ConfirmedFront) -> SizedTrial:
    point = front.point(sized.trial)
    if point is None:
        return sized
    one, gain = point.candidate, front.measure.gain
    smaller = front.within(sized.parameters - 1)
    return replace(
        sized, seeds=len(front.seeds), mean=one.mean, low=one.low, high=one.high,
        latency=point.latency, latency_low=point.latency_low, latency_high=point.latency_high,
        is_beaten=smaller is not None
        and one.mean is not None
        and gain(smaller.candidate.mean or 0.0) >= gain(one.mean),
    )  # fmt: skip


def best_within(search: Search, parameters: int) -> int:
    """The first trial of the ranking whose network has at most so many parameters.

    Raises:
        InputError: none is as small; says how many the smallest has.
    """
    ranked = search.history.ranking()
    task = search.facts.data.task
    counts = {trial.number: count_parameters(trial.config, task=task) for trial in ranked}
    found = next((number for number, count in counts.items() if count <= parameters), None)
    if found is None:
        least = f"{min(counts.values()):,}" if counts else "none"
        rule = f"parameters are fewer than any trial with a score has: the smallest has {least}"
        raise InputError("at", parameters, rule)
    return found
