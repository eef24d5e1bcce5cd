"""What verifying a package found, and the words for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from analysis.verification.comparison import ComparedScore, FirstDifference, OtherLength
from vgg6.metric import ACCURACY, Metric

BIT_IDENTICAL, WITHIN, NOT_REPRODUCED, AS_RECORDED = (
    "bit-identical", "within the seed spread", "not reproduced", "as recorded",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    recorded: float
    again: float


@dataclass(frozen=True)
class ComparedScores:
    """Accuracy and loss of the same weights on the same images, as recorded and here; balanced
    accuracy too, where the package goes by it."""

    accuracy: Pair
    loss: Pair
    images: int
    balanced_accuracy: Pair | None = None


@dataclass(frozen=True)
class Verified:
    """What verifying a package found.

    ``verdict``: bit-identical, within the seed spread, not reproduced; of a quick one, as recorded
    or not reproduced. ``why`` says it in a sentence, ``differs`` how this machine is not the
    recorded one. The numbers behind it: ``scores`` by part, of a quick one; the others where a run
    gave other values, ``score`` by ``metric``.
    """

    verdict: str
    why: str
    score: ComparedScore | None = None
    tensors_differing: int | None = None
    first_difference: FirstDifference | OtherLength | None = None
    scores: dict[str, ComparedScores] | None = None
    package: str = ""
    differs: list[str] = field(default_factory=list)
    seconds: float = 0.0
    metric: Metric = ACCURACY

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, with those numbers that there are."""
        found = asdict(self) | {"metric": self.metric.name}
        kept = ["package", "verdict", "why", "differs", "seconds", "metric"]
        if self.score is not None:
            found[self.metric.column] = found["score"]
            kept += [self.metric.column, "tensors_differing", "first_difference"]
        if self.scores is not None:
            kept.append("scores")
        return {key: found[key] for key in kept}


def render(found: Verified) -> str:
    """The result for a person: the verdict first."""
    lines = [f"{found.verdict}: {found.why}"]
    if found.first_difference:
        where = ", ".join(f"{k} {v}" for k, v in asdict(found.first_difference).items())
        lines.append(f"  first difference: {where}")
    return "\n".join(lines)
