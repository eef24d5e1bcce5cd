"""What networks are chosen by: accuracy, balanced accuracy or loss on the validation images.

Whoever ranks, stops or shows a score asks its metric. Nothing heavy is imported here, as in
``vgg6.run_record``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vgg6.common.checks import Range, check_choice
from vgg6.common.intervals import wilson, wilson_of_share

LEAST_LOSS = 1e-12  # nats; below it a logarithm says nothing


@dataclass(frozen=True)
class Metric:
    """A score of one epoch on the validation images.

    Args:
        name: as it is asked for. column: of a journal and of a table that holds it.
        label: for people. test_label: of the same on test images.
        lower_is_better: it is a loss in nats; else a share in 0 to 1.
        balanced: each class counts alike, however many images it has.
    """

    name: str
    column: str
    label: str
    test_label: str
    lower_is_better: bool = False
    balanced: bool = False

    @property
    def mode(self) -> str:
        """``max`` or ``min``, as Ray Tune calls it."""
        return "min" if self.lower_is_better else "max"

    @property
    def best_column(self) -> str:
        """What the best score so far is called where it stands beside others."""
        return f"best_{self.column}"

    @property
    def is_accuracy(self) -> bool:
        """Whether it is plain accuracy, which every recorded score of earlier versions is."""
        return self.name == "accuracy"

    @property
    def axis(self) -> str:
        """The label with its unit."""
        return f"{self.label} (nats)" if self.lower_is_better else self.label

    @property
    def range(self) -> Range:
        """The scores that there can be."""
        return Range(0, 3.5e38) if self.lower_is_better else Range(0, 1)

    @property
    def worst(self) -> float:
        """The score of a run that has none."""
        return self.range.high if self.lower_is_better else self.range.low

    def of(self, row: Any) -> float:
        """The score of an epoch."""
        return float(getattr(row, self.column))

    def evaluated(self, found: Any) -> Any:
        """The score of an evaluation, which has an accuracy, a balanced one and a loss."""
        return getattr(found, "loss" if self.lower_is_better else self.name)

    @property
    def best_key(self) -> str:
        """What a row has the best score so far under."""
        return "best_val_acc" if self.is_accuracy else "best_score"

    def best_of(self, row: Any) -> float:
        """The best score up to an epoch."""
        return float(getattr(row, self.best_key))

    def named(self, row: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
        """Columns of a row, as far as it has them, with the best score so far under its name."""
        names = {self.best_key: self.best_column}
        return {names.get(k, k): row[k] for k in columns if row.get(k) is not None}

    def gain(self, score: float) -> float:
        """The score with its sign turned where less is better, in its own unit."""
        return -score if self.lower_is_better else score

    def merit(self, score: float) -> float:
        """What searchers and schedulers hear: more is better.

        Of a loss it is the negative logarithm. A run that nearly diverges has the loss of a
        thousand others, and a model of plain losses would see no difference between these.
        """
        return -math.log(max(score, LEAST_LOSS)) if self.lower_is_better else score

    def score_of(self, merit: float) -> float:
        """The score that has this merit."""
        return math.exp(-merit) if self.lower_is_better else merit

    def is_better(self, score: float, than: float) -> bool:
        """Whether one score beats another."""
        return self.gain(score) > self.gain(than)

    def chance(self, classes: int) -> float:
        """What guessing gives: right once in ``classes``, and as sure of each class."""
        return math.log(classes) if self.lower_is_better else 1 / classes

    def images_behind(self, images: int, by_class: Sequence[int] | None) -> float:
        """How many images a score counts, as far as chance goes.

        A balanced accuracy is as uncertain as an accuracy on fewer images, since the smallest
        classes weigh as much as the others: on C²/(1/n₁ + 1/n₂ + ...) of them.

        Args:
            by_class: images of each class; None where all have as many.
        """
        counts = [n for n in by_class or () if n]
        if not self.balanced or not counts:
            return images
        return len(counts) ** 2 / sum(1 / n for n in counts)

    def variance(self, score: float, images: float) -> float:
        """The variance that the choice of ``images_behind`` images gives a score.

        Binomial of a share; near 0 or 1 one image more or less is possible. The loss of one image
        is taken to spread by as much as its mean, as an exponential one does.
        """
        if self.lower_is_better:
            return max(score, LEAST_LOSS) ** 2 / images
        p = min(max(score, 1 / images), 1 - 1 / images)
        return p * (1 - p) / images

    def interval(self, score: float, images: float) -> dict[str, float] | None:
        """Wilson's interval of a share of ``images_behind`` images; a loss has none."""
        if self.lower_is_better:
            return None
        return wilson_of_share(score, images) if self.balanced else wilson(score, round(images))


ACCURACY = Metric("accuracy", "val_acc", "validation accuracy", "test accuracy")
BALANCED_ACCURACY = Metric(
    "balanced_accuracy", "val_balanced_acc", "balanced validation accuracy",
    "balanced test accuracy", balanced=True,
)  # fmt: skip
VAL_LOSS = Metric("val_loss", "val_loss", "validation loss", "test loss", lower_is_better=True)
_BY_NAME = {metric.name: metric for metric in (ACCURACY, BALANCED_ACCURACY, VAL_LOSS)}
METRIC_NAMES = tuple(_BY_NAME)


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        InputError: there is none; offers the nearest.
    """
    check_choice("metric", name, METRIC_NAMES)
    return _BY_NAME[name]


class _HasMetric(Protocol):
    @property
    def metric(self) -> str: ...


class ByMetric:
    """What a field ``metric`` names, for every class that has one."""

    @property
    def measure(self: _HasMetric) -> Metric:
        """The metric of that name."""
        return metric_named(self.metric)
