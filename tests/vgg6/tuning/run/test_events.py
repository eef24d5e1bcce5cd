"""A journal's lines are read fast, and as strictly as if each value were looked at."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, Metric, metric_named
from vgg6.tuning.run import events
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import METRICS

TRIAL = {"event": "trial", "time": 1.0, "trial": 0, "config": TrialConfig().to_dict(), "params": {}}
EPOCH: dict[str, Any] = {
    "event": "epoch", "time": 1.0, "trial": 0, "epoch": 2, **dict.fromkeys(METRICS, 0.5),
    "best_epoch": 1, "node": "node1", "pid": 7,
}  # fmt: skip
ODD = (math.nan, math.inf, -math.inf, -0.5, 1.5, 1e12, 1e39, -1e39, 0, 1, 2, 31, 10**8, -1, True,
       None, "0.5", "no\0de", [], {})  # fmt: skip
METRICS_OF_A_SEARCH = [ACCURACY, metric_named("val_loss"), metric_named("balanced_accuracy")]


def refusal(event: dict[str, Any], metric: Metric) -> str | None:
    history = History(metric=metric)
    history.add(TRIAL)
    try:
        events.check_event(event, history)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("metric", METRICS_OF_A_SEARCH, ids=lambda metric: metric.name)
def test_a_quick_look_at_an_epoch_refuses_what_a_look_at_each_value_does(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = [{k: v for k, v in EPOCH.items() if k != name} for name in EPOCH if name != "event"]
    odd = [EPOCH | {name: value} for name in EPOCH if name != "event" for value in ODD]
    given = [EPOCH, *lacking, *odd]
    assert events._is_plain_epoch(EPOCH, metric)
    quick = [refusal(event, metric) for event in given]
    monkeypatch.setattr(events, "_is_plain_epoch", lambda *_: False)
    assert quick == [refusal(event, metric) for event in given]
    assert quick[0] is None and len(set(quick)) > len(METRICS)


def test_numbers_and_texts_of_a_journal_are_those_that_were_written(tmp_path: Path) -> None:
    params = {
        "lr": 0.1 + 0.2, "tiny": 5e-324, "huge": 1.7976931348623157e308, "whole": 10**30,
        "lone": "\ud800", "text": 'é\u2028"\\', "nan": math.nan, "below": -0.0,
    }  # fmt: skip
    run = RunFolder(str(tmp_path))
    session = {"event": "session", "time": 1.0, "session": "session_1"}
    lines = [json.dumps(session), json.dumps(TRIAL | {"params": params})]
    run.write(JOURNAL, "\n".join(lines).encode())
    found = read_history(run).trials[0].params
    assert repr(found) == repr(params)
