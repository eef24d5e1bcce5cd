"""Every look at the test images of a search, as it is recorded where all can see it.

A score that has been looked at and acted on is a validation score. So the search never looks,
the winner is scored after it has been chosen, and a second look is counted in every output.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from analysis.packages.package_files import METRICS, PACKED, WEIGHTS
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.schema import Real, Record, Share, Text, read_record
from vgg6.metric import Metric
from vgg6.run_record import Images
from vgg6.tuning.run.folder import RunFolder

LOOKS = "test_looks.jsonl"
PACKED_METRICS, PACKED_WEIGHTS = f"{PACKED}/{METRICS}", f"{PACKED}/{WEIGHTS}"


class TestScores(Record):
    """What weights score on the test images: accuracies in 0 to 1, mean cross-entropy in nats.
    The first records lack the balanced accuracy."""

    __test__ = False  # pytest: no class of tests
    accuracy: Share
    loss: Real
    images: Images
    balanced_accuracy: Share | None = None


class Look(TestScores):
    """A line of ``test_looks.jsonl``. ``what`` was scored; ``weights``: the digest of its file."""

    time: Real
    what: Text
    weights: Text

    def to_dict(self) -> dict[str, Any]:
        keys = ("time", "what", "weights", "accuracy", "loss", "images", "balanced_accuracy")
        found = {key: getattr(self, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}


class _PackedMetrics(Record):
    test: TestScores | None = None


@dataclass(frozen=True)
class LookResult:
    """A score on the test images with its Wilson interval at ``level``; ``looks``: how many
    different weights of the search have been scored by now."""

    accuracy: float
    loss: float
    images: int
    low: float
    high: float
    level: float
    what: str
    looks: int
    balanced_accuracy: float | None = None

    def by(self, metric: Metric) -> str:
        """Its score by a metric that is not accuracy, to stand behind that; else an empty text."""
        score = None if metric.is_accuracy else metric.evaluated(self)
        return "" if score is None else f", {metric.test_label} {score:.4f}"


def recorded(run: RunFolder, weights: str, what: str = "") -> LookResult | None:
    """What ``look`` returns if these weights were scored before, else None. Scores nothing.

    ``what`` they are finds them in a run folder that was kept without its weights.
    """
    before = looks(run)
    count = len(before)
    if not run.exists(weights):
        return next((result(line, count) for line in before if line.what == what), None)
    own = digest(run, weights)
    return next((result(line, count) for line in before if line.weights == own), None)


def looks(run: RunFolder) -> list[Look]:
    """All looks at the test images of a search, in their order.

    Raises:
        InputError: a line is damaged; names it. It stands for a look, so it is not passed over.
    """
    if not run.exists(LOOKS):
        return earlier_look(run)
    found = []
    for number, line in enumerate(run.read(LOOKS).splitlines(), start=1):
        where = f"{run.file(LOOKS)} line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError("run", where, f"is damaged: {error!r}") from None
        found.append(read_record(Look, entry, f"{where}: "))
    return found


def looks_in_words(count: int) -> str:
    """How often a search's test images were looked at, and what that means."""
    if count == 1:
        return "the only look at the test images in this search"
    return (
        f"the test images of this search were looked at {count} times, at different weights:"
        " a choice made after the first look would make this number optimistic"
    )


def earlier_look(run: RunFolder) -> list[Look]:
    """The look of a version that scored the winner when its search ended, and kept no record."""
    if not (run.exists(PACKED_METRICS) and run.exists(PACKED_WEIGHTS)):
        return []
    packed = run.read_json(PACKED_METRICS)
    test = read_record(_PackedMetrics, packed, f"{run.file(PACKED_METRICS)}: ").test
    if test is None or "looks" in packed["test"]:
        return []
    what, weights = "the winner, at the end of the search", digest(run, PACKED_WEIGHTS)
    return [Look(time=0.0, what=what, weights=weights, **test.to_dict())]


def result(line: Look, count: int) -> LookResult:
    interval = wilson(line.accuracy, line.images)
    return LookResult(
        line.accuracy, line.loss, line.images, **interval, what=line.what, looks=count,
        balanced_accuracy=line.balanced_accuracy,
    )  # fmt: skip


def digest(run: RunFolder, weights: str) -> str:
    return hashlib.sha256(run.read(weights)).hexdigest()
