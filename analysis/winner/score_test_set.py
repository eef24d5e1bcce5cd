"""Scores weights of a search on its test images, once ever, and records that somebody looked."""

from __future__ import annotations

import json
import time

from analysis.packages.scoring import recorded_runtime, score
from analysis.packages.weights import run_weights
from analysis.winner.looks_at_test_set import (
    LOOKS,
    Look,
    LookResult,
    digest,
    earlier_look,
    looks,
    recorded,
    result,
)
from vgg6.data import load_recorded
from vgg6.tuning.run.folder import Appender
from vgg6.tuning.run.search import Search


def look(search: Search, weights: str, what: str) -> LookResult:
    """What weights of a search score on its test images, from the record where it is there.

    Only weights that have not been scored before are scored, and then recorded in
    ``test_looks.jsonl`` before anybody is told.

    Args:
        weights: their file below the run folder; its metadata names the configuration.
        what: they are, such as ``trial 12 seed 102``.

    Raises:
        InputError: the weights, the data or the record are missing or damaged.
    """
    run, facts = search.folder, search.facts
    if found := recorded(run, weights):
        return found
    config, tensors = run_weights(run, weights, facts.data.task)
    source, data = load_recorded(facts.data)
    tested = score(config, tensors, source.test, data, recorded_runtime(facts.runtime))
    line = Look(
        time=time.time(), what=what, weights=digest(run, weights), accuracy=tested.accuracy,
        loss=tested.loss, images=len(source.test), balanced_accuracy=tested.balanced_accuracy,
    )  # fmt: skip
    lines = [line] if run.exists(LOOKS) else [*earlier_look(run), line]
    appender = Appender(run, LOOKS)
    for entry in lines:
        appender.append(json.dumps(entry.to_dict()))
    appender.close()
    return result(line, len(looks(run)))
