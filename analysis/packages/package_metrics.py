"""``metrics.json`` of a package: what its network scores, typed and checked as it is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from vgg6.common.checks import InputError, check_number
from vgg6.common.quantities import latency_text
from vgg6.common.schema import (
    Count,
    Flag,
    Real,
    Record,
    Seed,
    Share,
    SparseRecord,
    Text,
    at_least,
    one_of,
    real,
    whole,
)
from vgg6.footprint.limits import KINDS, amount, in_words
from vgg6.metric import ACCURACY, ByMetric
from vgg6.run_record import EpochMetrics, Epochs, Images, MetricName

Size = Annotated[int, whole(1, 10**12)]
Ratio = Annotated[float, real(0, 1e9)]


class Interval(SparseRecord):
    """The ends of an interval at ``level``; None where there are too few values for one."""

    low: Real | None = None
    high: Real | None = None
    level: Share | None = None


class TestScore(Interval):
    """A score on the test images; ``looks``: how many weights of its search had one by then."""

    __test__ = False  # pytest: no class of tests
    accuracy: Share
    loss: Real
    images: Images | None = None
    what: Text | None = None
    looks: Count | None = None
    note: Text | None = None
    balanced_accuracy: Share | None = None


class Confirmed(Interval):
    """What the configuration scores over fresh seeds: mean, standard deviation and interval.

    ``search_score``: the single score that made it a candidate; ``optimism``: by how much that is
    better than the mean; ``tied_with``: trials that it could not be told apart from; ``scores``: of
    the seeds, where these are not ``val_accs``, accuracies.
    """

    seeds: list[Seed]
    sd: Real | None = None
    mean: Real | None = None
    search_score: Real | None = None
    optimism: Real | None = None
    tied: Flag | None = None
    tied_with: list[Count] | None = None
    val_accs: list[Share] | None = None
    scores: list[Real] | None = None
    why: Text | None = None


class KeptLimit(Record):
    """What a network takes where its search had a limit, as counted or measured on its files.
    ``low`` and ``high``: the quartiles of a time, in seconds, whose median is ``found``."""

    kind: Annotated[str, one_of(*KINDS)]
    most: Real
    found: Real
    low: Real | None = None
    high: Real | None = None

    @property
    def words(self) -> str:
        """``297,123 parameters, within the limit of 300,000``."""
        text = in_words(self.kind, self.found)
        if self.low is not None and self.high is not None:
            text += f" (median; quartiles {latency_text(self.low)} to {latency_text(self.high)})"
        stands = "within" if self.found <= self.most else "more than"
        return f"{text}, {stands} the limit of {amount(self.kind, self.most)}"


class FinalScores(SparseRecord):
    """The metrics of the last epoch; the first packages of searches have four of them."""

    train_loss: Real
    train_acc: Share
    val_loss: Real
    val_acc: Share
    epoch: Epochs | None = None
    best_val_acc: Share | None = None
    best_epoch: Epochs | None = None
    lr: Real | None = None
    seconds: Real | None = None
    val_balanced_acc: Share | None = None
    best_score: Real | None = None


class Metrics(SparseRecord, ByMetric):
    """``metrics.json``: what the network scores on the validation images, and what else is known.

    ``packed``: which run of a search it is; ``selected_from``: of how many scores it is the
    highest; ``val_acc_again``: what its weights scored where they were packed, if that differs;
    ``limits``: what its search allowed its network to take. ``metric``: what its best epoch, and
    its configuration, were chosen by where that is not accuracy; ``score``: by it.
    """

    data: Text | None = None
    packed: Text | None = None
    val_acc: Share
    val_acc_interval: Interval | None = None
    best_epoch: Epochs
    epochs_run: Count | None = None
    final: FinalScores | None = None
    confirmed: Confirmed | None = None
    selected_from: Count | None = None
    note: Text | None = None
    val_acc_again: Share | None = None
    warning: Text | None = None
    test: TestScore | None = None
    limits: list[KeptLimit] | None = None
    metric: MetricName = ACCURACY.name
    score: Real | None = None
    score_interval: Interval | None = None

    @model_validator(mode="after")
    def _has_its_score(self) -> Metrics:
        if not self.measure.is_accuracy:
            if self.score is None:
                raise InputError("metric", self.metric, "has no `score` beside it")
            check_number("score", self.score, self.measure.range)
        return self


class Side(Record):
    """A network before or after its compression. ``bytes``: of its ``model.onnx``; ``loss``: mean
    cross-entropy in nats; ``flops``: of one image."""

    accuracy: Share
    loss: Real
    bytes: Size
    parameters: Size
    flops: Size
    balanced_accuracy: Share | None = None


class Speed(Record):
    """How many times as fast as before, at ``batch`` images at once: the median of the ratios of
    single rounds, with their quartiles; ``over_torch``: as fast as torch is in fp32."""

    batch: Annotated[int, whole(1, 10**6)]
    ratio: Ratio
    low: Ratio
    high: Ratio
    over_torch: Ratio


class CompressedMetrics(Metrics):
    """``metrics.json`` of a compressed network. ``trained_val_acc``: before its compression."""

    trained_val_acc: Share
    before: Side
    after: Side
    speed: list[Speed]
    threads: Annotated[int, whole(1, 1024)]
    onnxruntime: Text | None = None
    epochs_after_pruning: Annotated[list[EpochMetrics], at_least(1)] | None = None

    @model_validator(mode="after")
    def _sides_have_the_score(self) -> CompressedMetrics:
        for name, side in (("before", self.before), ("after", self.after)):
            if self.measure.evaluated(side) is None:
                raise InputError(name, self.metric, "is not among its scores")
        return self
