"""Pauses and promotions in a journal, and the names of older searches' schedulers and searchers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from analysis.results.timeline import rung_counts
from vgg6.common.checks import InputError
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.progress import Standing, remaining_epochs
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.search_facts import FORMAT
from vgg6.tuning.run.trials import METRICS, OPEN, PAUSED, PRUNED, RUNNING
from vgg6.tuning.settings import Settings

ROW = dict.fromkeys(METRICS, 0.5) | {"best_epoch": 1}
RECORDED = ROOT / "docs" / "cifar10-48"
Event = tuple[str, dict[str, Any]]
SESSION: Event = ("session", {"session": "session_1"})
TRIAL: Event = ("trial", {"trial": 0, "config": {"epochs": 4}, "params": {}})
EPOCH: Event = ("epoch", {"trial": 0, "epoch": 1, **ROW})
PAUSE: Event = ("pause", {"trial": 0})
PROMOTION: Event = ("promotion", {"trial": 0})
END: Event = ("end", {"trial": 0, "state": PRUNED, "reason": "behind"})


def written(folder: Path, *events: Event) -> RunFolder:
    run = RunFolder(str(folder))
    lines = [json.dumps({"event": kind, "time": 1.0, **facts}) for kind, facts in events]
    run.write(JOURNAL, "".join(f"{line}\n" for line in lines).encode())
    return run


def test_a_pause_and_a_promotion_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    journal = Journal(run)
    seen = []
    for kind, facts in (SESSION, TRIAL, EPOCH, PAUSE, PROMOTION, PAUSE, END):
        journal.write(kind, **facts)
        for history in (journal.history, read_history(run)):
            seen += [(t.state, t.promoted_at) for t in history.trials.values()]
    expected = [(RUNNING, 0), (RUNNING, 0), (PAUSED, 0), (RUNNING, 1), (PAUSED, 1), (PRUNED, 1)]
    assert seen == [state for state in expected for _ in range(2)]
    assert PAUSED in OPEN and PRUNED not in OPEN


def test_a_trial_says_whether_the_model_chose_it(tmp_path: Path) -> None:
    chosen: Event = ("trial", TRIAL[1] | {"by_model": True})
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    assert read_history(written(tmp_path / "a", SESSION, chosen)).trials[0].by_model
    assert not read_history(written(tmp_path / "b", SESSION, TRIAL)).trials[0].by_model


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([PAUSE], "has not begun"),
        ([PROMOTION], "has not begun"),
        ([TRIAL, PAUSE], "running"),
        ([TRIAL, EPOCH, PROMOTION], "not paused"),
        ([TRIAL, EPOCH, END, PAUSE], "pruned"),
        ([TRIAL, EPOCH, PAUSE, PROMOTION, PROMOTION], "not paused"),
        ([TRIAL, EPOCH, ("pause", {})], "trial"),
        ([TRIAL, EPOCH, ("pause", {"trial": "0"})], "trial"),
        ([TRIAL, EPOCH, ("promotion", {"trial": -1})], "trial"),
        ([TRIAL, EPOCH, ("end", END[1] | {"state": PAUSED})], "state"),
        ([("trial", TRIAL[1] | {"by_model": "yes"})], "by_model"),
    ],
)
def test_a_pause_or_promotion_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, events: list[Event], rule: str
) -> None:
    run = written(tmp_path, SESSION, *events)
    with pytest.raises(InputError, match=rule) as refusal:
        read_history(run)
    assert f"line {len(events) + 1}" in str(refusal.value)


def test_progress_counts_paused_trials_by_themselves(tmp_path: Path) -> None:
    second = [(kind, facts | {"trial": 1}) for kind, facts in (TRIAL, EPOCH, PAUSE)]
    third: list[Event] = [(kind, facts | {"trial": 2}) for kind, facts in (TRIAL, EPOCH, END)]
    history = read_history(written(tmp_path, SESSION, TRIAL, EPOCH, *second, *third))
    standing = Standing(history, 8, elapsed=1.0, epochs=3)
    assert standing.trials == "1 of 8 trials ended (1 pruned), 1 running, 1 paused"
    # Five are to begin, of one epoch each as the one that ended; the one that runs is as far.
    assert remaining_epochs(history, 8) == 5.5


def test_a_recorded_search_of_the_first_format_opens_with_its_rungs_as_before(
    tmp_path: Path,
) -> None:
    shutil.copytree(RECORDED, tmp_path / "s")
    run = RunFolder(str(tmp_path / "s"))
    assert run.read_json(SEARCH)["format"] == 1 < FORMAT
    assert run.read_json(SEARCH)["settings"]["scheduler"] == "asha"
    search = read_search(run)
    assert search.facts.settings.scheduler == "asha-stop"
    rungs = rung_counts(search)
    assert [rung.name for rung in rungs] == ["epoch 1", "epoch 2", "epoch 4"]
    assert all(trial.state != PAUSED for trial in search.history.trials.values())
    # What the second format calls asha pauses, at rungs that lie further apart.
    facts = run.read_json(SEARCH) | {"format": FORMAT}
    run.write_json(SEARCH, facts)
    assert [rung.name for rung in rung_counts(read_search(run))] == ["epoch 1", "epoch 4"]


def test_a_search_of_a_searcher_that_is_no_more_is_read_and_cannot_be_begun(tmp_path: Path) -> None:
    shutil.copytree(RECORDED, tmp_path / "s")
    run = RunFolder(str(tmp_path / "s"))
    facts = run.read_json(SEARCH)
    facts["settings"]["searcher"] = "forest"
    run.write_json(SEARCH, facts)
    assert read_search(run).facts.settings.searcher == "forest"
    with pytest.raises(InputError, match="forest"):
        Settings(name="x", searcher="forest")


def test_a_format_that_is_not_known_yet_is_refused(tmp_path: Path) -> None:
    shutil.copytree(RECORDED, tmp_path / "s")
    run = RunFolder(str(tmp_path / "s"))
    run.write_json(SEARCH, run.read_json(SEARCH) | {"format": FORMAT + 1})
    with pytest.raises(InputError, match="later version"):
        read_search(run)
