"""``front.json``: the best network of each size, trained again over fresh seeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from vgg6.common.checks import InputError, check_number
from vgg6.common.numbers_in_words import counted
from vgg6.common.schema import Count, Real, Record, Seed, Share, Text, at_least, read_record
from vgg6.metric import ACCURACY, ByMetric
from vgg6.run_record import MetricName
from vgg6.tuning.run.confirmation import Candidate, Confirmation
from vgg6.tuning.run.folder import FRONT, RunFolder
from vgg6.tuning.run.search_facts import Format


class FrontPoint(Record):
    """A trial of the front. ``representative_seed``: of its run in the middle, whose weights are
    kept; None where no run was completed. ``latency``: seconds for one image in onnxruntime on the
    machine that confirmed, as median with quartiles."""

    candidate: Candidate
    representative_seed: Seed | None = None
    latency: Real
    latency_low: Real
    latency_high: Real


class ConfirmedFront(Record, ByMetric):
    """``points``: the largest network first; ``extensions``: how many the search had by then."""

    format: Format
    level: Share
    seeds: Annotated[list[Seed], at_least(1)]
    epochs: Count
    points: Annotated[list[FrontPoint], at_least(1)]
    created: Text = ""
    command: Text = ""
    extensions: Count = 0
    metric: MetricName = ACCURACY.name

    @model_validator(mode="after")
    def _each_is_whole(self) -> ConfirmedFront:
        for index, point in enumerate(self.points):
            where, one = f"points[{index}]", point.candidate
            if one.parameters is None:
                raise InputError(f"{where}.candidate.parameters", None, "is missing")
            if (one.mean is None) != (point.representative_seed is None):
                rule = "must be there where there is a mean, and only there"
                raise InputError(f"{where}.representative_seed", point.representative_seed, rule)
            if one.mean is not None:
                check_number(f"{where}.candidate.mean", one.mean, self.measure.range)
                self.alone(one.trial)  # as a confirmation, whose rules it keeps
        return self

    def point(self, trial: int) -> FrontPoint | None:
        """That of a trial."""
        return next((p for p in self.points if p.candidate.trial == trial), None)

    def within(self, parameters: int) -> FrontPoint | None:
        """The best mean of a network with at most so many parameters; of equals the smallest."""
        fitting = [
            (self.measure.gain(p.candidate.mean), -p.candidate.parameters, p)
            for p in self.points
            if p.candidate.mean is not None
            and p.candidate.parameters is not None
            and p.candidate.parameters <= parameters
        ]
        return max(fitting, key=lambda one: one[:2])[2] if fitting else None

    def alone(self, trial: int) -> Confirmation:
        """The confirmation of one point that has a mean, as one without rivals."""
        point = self.point(trial)
        assert point is not None and point.representative_seed is not None
        seeds = counted(len(self.seeds), "fresh seed")
        return Confirmation(
            format=self.format, level=self.level, top=1, seeds=self.seeds, epochs=self.epochs,
            candidates=[point.candidate], winner=trial, ties=[trial],
            why=f"trial {trial} was confirmed for its size, over {seeds}",
            representative_seed=point.representative_seed, created=self.created,
            command=self.command, extensions=self.extensions, metric=self.metric,
        )  # fmt: skip


def read_front(run: RunFolder) -> ConfirmedFront | None:
    """``front.json``, or None where no front is confirmed.

    Raises:
        InputError: it is no JSON, of a later version, or breaks a rule; names the file and the key.
    """
    if not run.exists(FRONT):
        return None
    return read_record(ConfirmedFront, run.read_json(FRONT), f"{run.file(FRONT)}: ")
