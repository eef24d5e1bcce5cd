"""What score each size of network reaches: the front of a search that varied the width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vgg6.architecture import count_parameters
from vgg6.common.checks import InputError
from vgg6.common.quantities import bytes_text
from vgg6.footprint.int8_size import int8_bytes
from vgg6.run_record import CompleteFacts, DataFacts
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import COMPLETED, TrialRecord


@dataclass(frozen=True)
class SizedTrial:
    """A trial's score by the search's metric, its accuracy in that epoch, and what its network
    takes; ``int8_bytes``: of its int8 ONNX file, at most
    2.5 kB less."""

    trial: int
    label: str
    best_val_acc: float
    width: float
    parameters: int
    int8_bytes: int
    score: float

    @property
    def words(self) -> str:
        return f"{self.parameters:,} parameters, {bytes_text(self.int8_bytes)} as int8"


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


def size_front(ranked: Sequence[TrialRecord], data: DataFacts) -> list[SizedTrial]:
    """Those of ``sized_trials`` that no other one beats: none has fewer parameters and scores as
    well. The best, and so the largest, first."""
    front: list[SizedTrial] = []
    for sized in sized_trials(ranked, data):
        if all(sized.parameters < other.parameters for other in front):
            front.append(sized)
    return front


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
