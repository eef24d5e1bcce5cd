"""What a history keeps ready at every event is what a look at all of its trials would find."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, Metric, metric_named
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import FAILED, INFEASIBLE, METRICS, PRUNED, TrialRecord

TRIALS = 40


def best_of_all(history: History) -> TrialRecord | None:
    scored = [
        t for t in history.trials.values()
        if t.score is not None and t.state not in (INFEASIBLE, FAILED)
    ]  # fmt: skip
    return max(scored, key=lambda t: (t.gain, -t.number), default=None)


@pytest.mark.parametrize("metric", [ACCURACY, metric_named("val_loss")], ids=lambda m: m.name)
def test_it_knows_its_best_and_its_counts_after_every_event(metric: Metric) -> None:
    draw, history = Random(3), History(metric=metric)
    config = TrialConfig(epochs=9).to_dict()
    for number in range(TRIALS):
        chosen: dict[str, Any] = {"by_model": True} if draw.random() < 0.5 else {}
        chosen |= {"again_of": 0} if number and draw.random() < 0.2 else {}
        begun = {"event": "trial", "time": 1.0, "trial": number, "config": config, "params": {}}
        history.add(begun | chosen)
    leaders = set()
    for _ in range(8 * TRIALS):
        trial = history.trials[draw.randrange(TRIALS)]
        row = dict.fromkeys(METRICS, draw.choice((0.2, 0.4, 0.6, 0.7, 0.8)))
        epoch = {"event": "epoch", "time": 2.0, "trial": trial.number, "epoch": trial.epoch + 1}
        history.add(row | epoch | {"best_epoch": 1})
        assert history.incumbent is best_of_all(history)
        if draw.random() < 0.3:  # the best one too, now and then
            among = history.incumbent or trial
            ended = among if draw.random() < 0.3 else trial
            state = draw.choice((INFEASIBLE, FAILED, PRUNED))
            history.add({"event": "end", "time": 3.0, "trial": ended.number, "state": state,
                         "reason": ""})  # fmt: skip
            assert history.incumbent is best_of_all(history)
            if draw.random() < 0.7:
                history.add({"event": "reopen", "time": 4.0, "trial": ended.number})
            assert history.incumbent is best_of_all(history)
        leaders.add(history.incumbent.number if history.incumbent else None)
    assert len(leaders) > 2
    again = History(dict(history.trials), metric=metric)
    for one in (history, again):
        assert one.by_model == sum(t.by_model for t in history.trials.values()) > 0
        of_all = [t.number for t in history.trials.values() if t.again_of is not None]
        assert [t.number for t in one.begun_again] == of_all != []
    assert again.incumbent is history.incumbent
