"""The test images: scored once a search, and every look at them recorded where all can see it.

A score that has been looked at and acted on is a validation score. So the search never looks,
the winner is scored after it has been chosen, and a second look is counted in every output.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from analysis.packages.package_files import METRICS, PACKED, WEIGHTS
from analysis.packages.scoring import recorded_runtime, score
from analysis.packages.weights import run_weights
from vgg6.common import old_schema as s
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.schema import read_record
from vgg6.data import DataFacts, load_recorded
from vgg6.run_record import RuntimeFacts
from vgg6.tuning.run.folder import Appender, RunFolder
from vgg6.tuning.run.records import SHARE, read_search

LOOKS = "test_looks.jsonl"
PACKED_METRICS, PACKED_WEIGHTS = f"{PACKED}/{METRICS}", f"{PACKED}/{WEIGHTS}"
SCORES = ("accuracy", "loss", "images")
_SCORES = {"accuracy": SHARE, "loss": s.number(), "images": s.integer(1, 10**9)}
_LOOK = s.mapping({"time": s.number(), "what": s.text, "weights": s.text, **_SCORES})


def look(run: RunFolder, weights: str, what: str) -> dict[str, Any]:
    """What weights of a search score on its test images, from the record where it is there.

    Only weights that have not been scored before are scored, and then recorded in
    ``test_looks.jsonl`` before anybody is told.

    Args:
        weights: their file below the run folder; its metadata names the configuration.
        what: they are, such as ``trial 12 seed 102``.

    Returns:
        accuracy in 0 to 1 with its Wilson interval (low, high, level), loss, images, what, and
        looks: how many different weights of this search have been scored by now.

    Raises:
        InputError: the weights, the data or the record are missing or damaged.
    """
    if found := recorded(run, weights):
        return found
    config, tensors = run_weights(run, weights)
    facts = read_search(run)
    source, data = load_recorded(read_record(DataFacts, facts["data"]))
    tested = score(
        config,
        tensors,
        source.test,
        data,
        recorded_runtime(read_record(RuntimeFacts, facts["runtime"])),
    )
    line = {
        "time": time.time(), "what": what, "weights": _digest(run, weights),
        "accuracy": tested.accuracy, "loss": tested.loss, "images": len(source.test),
    }  # fmt: skip
    lines = [line] if run.exists(LOOKS) else [*_earlier_look(run), line]
    appender = Appender(run, LOOKS)
    for entry in lines:
        appender.append(json.dumps(entry))
    appender.close()
    return _result(line, len(looks(run)))


def recorded(run: RunFolder, weights: str, what: str = "") -> dict[str, Any] | None:
    """What ``look`` returns if these weights were scored before, else None. Scores nothing.

    ``what`` they are finds them in a run folder that was kept without its weights.
    """
    before = looks(run)
    count = len(before)
    if not run.exists(weights):
        return next((_result(line, count) for line in before if line["what"] == what), None)
    digest = _digest(run, weights)
    return next((_result(line, count) for line in before if line["weights"] == digest), None)


def looks(run: RunFolder) -> list[dict[str, Any]]:
    """All looks at the test images of a search, in their order.

    Raises:
        InputError: a line is damaged; names it. It stands for a look, so it is not passed over.
    """
    if not run.exists(LOOKS):
        return _earlier_look(run)
    found = []
    for number, line in enumerate(run.read(LOOKS).splitlines(), start=1):
        where = f"{run.file(LOOKS)} line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError("run", where, f"is damaged: {error!r}") from None
        with s.located(f"{where}: "):
            _LOOK(s.TOP, entry)
        found.append({k: entry[k] for k in ("time", "what", "weights", *SCORES)})
    return found


def looks_in_words(count: int) -> str:
    """How often a search's test images were looked at, and what that means."""
    if count == 1:
        return "the only look at the test images in this search"
    return (
        f"the test images of this search were looked at {count} times, at different weights:"
        " a choice made after the first look would make this number optimistic"
    )


def _earlier_look(run: RunFolder) -> list[dict[str, Any]]:
    """The look of a version that scored the winner when its search ended, and kept no record."""
    if not (run.exists(PACKED_METRICS) and run.exists(PACKED_WEIGHTS)):
        return []
    packed = run.read_json(PACKED_METRICS)
    with s.located(f"{run.file(PACKED_METRICS)}: "):
        s.mapping({}, {"test": s.optional(s.mapping(_SCORES))})(s.TOP, packed)
    test = packed.get("test")
    if test is None or "looks" in test:
        return []
    facts = {"time": 0.0, "what": "the winner, at the end of the search"}
    return [facts | {"weights": _digest(run, PACKED_WEIGHTS)} | {k: test[k] for k in SCORES}]


def _result(line: dict[str, Any], count: int) -> dict[str, Any]:
    scores = {name: line[name] for name in SCORES}
    interval = wilson(line["accuracy"], line["images"])
    return scores | interval | {"what": line["what"], "looks": count}


def _digest(run: RunFolder, weights: str) -> str:
    return hashlib.sha256(run.read(weights)).hexdigest()
