"""A search that is extended: its decisions, its counts and its records, on made-up curves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.played_search import decisions, new_search, play, quality

from analysis.confirmation.contest import Contest
from cli.extend import dry_run, extended
from search_spaces import Parameter, Space
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.tuning.run.driver_lock import only_driver
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import Search, read_search
from vgg6.tuning.run.status import render, status_of
from vgg6.tuning.run.trials import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING

SMALL = Space(
    name="small",
    parameters=(
        Parameter(name="activation", choices=("relu", "gelu")),
        Parameter(name="batch_size", choices=(64, 128)),
    ),
)


def states(search: Search) -> dict[int, tuple[str, int]]:
    return {n: (t.state, t.epoch) for n, t in search.history.trials.items()}


def test_a_point_that_waits_goes_on_when_more_trials_let_more_points_be_trained_whole(
    tmp_path: Path,
) -> None:
    found = 0
    for killed in range(5, 30):
        run = new_search(tmp_path, f"s{killed}", trials=7, epochs=6, searcher="random")
        before = play(run, killed_after=killed)
        points = range(len(before.space.points))
        waiting = [n for n in points if before.history.trials[n].state == PAUSED]
        if not waiting:
            continue
        found += 1
        after = play(run, trials=64)
        for number in waiting:
            trial = after.history.trials[number]
            assert (trial.state, trial.epoch) == (COMPLETED, 6)
    assert found


@pytest.mark.parametrize(
    ("searcher", "scheduler"),
    [
        ("gp", "asha"),
        ("random", "asha"),
        ("random", "hyperband"),
        ("random", "median"),
        pytest.param("optuna", "asha-stop", marks=pytest.mark.slow),
        pytest.param("optuna", "none", marks=pytest.mark.slow),
    ],
)
def test_a_search_extended_to_twice_its_trials_decides_as_one_that_had_them_from_the_start(
    tmp_path: Path, searcher: str, scheduler: str
) -> None:
    asked = {"searcher": searcher, "scheduler": scheduler, "epochs": 6}
    some = 20 if searcher == "gp" else 32  # of which the model chooses some
    whole = new_search(tmp_path, "whole", trials=2 * some, **asked)
    at_once = play(whole)
    part = new_search(tmp_path, "part", trials=some, **asked)
    before = play(part)
    assert len(before.history.trials) == some
    after = play(part, trials=2 * some)
    assert decisions(part) == decisions(whole)
    assert states(after) == states(at_once)
    assert after.facts.trials == 2 * some and after.history.repeated_rows == 0
    assert status_of(after).state == "complete"


def test_trials_that_ended_paused_are_promoted_by_an_extended_search(tmp_path: Path) -> None:
    run = new_search(tmp_path, "s", trials=12, epochs=6, searcher="random")
    before = play(run)
    # All that come later are bad, so that earlier ones become the best quarter of their rung.
    after = play(run, lambda config, epoch: 0.05 + quality(config, epoch) / 100, trials=40)
    gone_on = [
        n for n, t in after.history.trials.items()
        if n < 12 and before.history.trials[n].state == PRUNED
        and t.epoch > before.history.trials[n].epoch
    ]  # fmt: skip
    assert gone_on
    assert not [t for t in after.history.trials.values() if t.state not in (COMPLETED, PRUNED)]


@pytest.mark.parametrize("scheduler", ["asha", "none", "hyperband"])
def test_survivors_go_on_to_a_greater_length_or_begin_again(tmp_path: Path, scheduler: str) -> None:
    run = new_search(tmp_path, "s", trials=16, epochs=4, searcher="random", scheduler=scheduler)
    before = play(run).history
    after = play(run, epochs=9)
    complete = [t for t in before.trials.values() if t.state == COMPLETED]
    constant = [t.number for t in complete if t.config.schedule == "constant"]
    others = [t.number for t in complete if t.config.schedule != "constant"]
    assert constant and others
    trials = after.history.trials
    for number in constant:
        assert trials[number].config.epochs == 9 and sorted(trials[number].rows)[-1] > 4 - (
            trials[number].state == PRUNED
        )
    again = {t.again_of: t for t in after.history.begun_again}
    assert sorted(again) == others and len(trials) == 16 + len(others) == after.facts.trials
    for number in others:
        assert trials[number].config.epochs == 4 and trials[number].state == COMPLETED
        assert again[number].params == trials[number].params
        assert (again[number].state, again[number].epoch) == (COMPLETED, 9), "no rung stops it"
    assert after.history.repeated_rows == 0
    assert len(after.history.arrivals) == sum(len(t.rows) for t in trials.values())


def test_an_extended_search_that_is_killed_and_resumed_is_the_one_that_was_not(
    tmp_path: Path,
) -> None:
    asked: dict[str, Any] = {"trials": 12, "epochs": 4, "searcher": "gp"}
    more: dict[str, Any] = {"trials": 24, "epochs": 9}
    straight, broken = new_search(tmp_path, "a", **asked), new_search(tmp_path, "b", **asked)
    play(straight)
    play(broken)
    at_once = play(straight, **more)
    play(broken, killed_after=7, **more)
    play(broken, killed_after=0)
    play(broken, killed_after=11)
    after = play(broken)
    assert states(after) == states(at_once)
    configs = [[t.config for t in s.history.trials.values()] for s in (after, at_once)]
    assert configs[0] == configs[1]
    assert after.history.repeated_rows == 0 and len(after.facts.extensions) == 1


def test_a_driver_killed_among_the_changes_makes_the_rest_of_them(tmp_path: Path) -> None:
    run = new_search(tmp_path, "s", trials=12, epochs=4, searcher="random")
    play(run)
    whole = play(run, trials=20, epochs=8)
    lines = run.read(JOURNAL).splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if b'"session_2"' in line)
    changes = [i for i in range(start + 1, len(lines)) if b'"epoch": ' not in lines[i]][:6]
    for cut in (start, start + 1, *changes):
        run.write(JOURNAL, b"".join(lines[:cut]))
        if cut == start:
            assert status_of(read_search(run)).state == "incomplete", "the extension waits"
        again = play(run)
        assert states(again) == states(whole), cut


def test_failed_trials_run_again_once_and_what_failed_since_does_not(tmp_path: Path) -> None:
    run = new_search(tmp_path, "s", trials=6, epochs=3, searcher="random", scheduler="none")
    before = play(run, fails=lambda number, epoch: number in (2, 4) and epoch == 2)
    assert [n for n, (s, _) in states(before).items() if s == FAILED] == [2, 4]
    after = play(run, fails=lambda number, epoch: number == 4, retry_failed=True)
    assert states(after)[2] == (COMPLETED, 3) and states(after)[4][0] == FAILED
    assert states(play(run))[4][0] == FAILED, "a plain resume tries none again"
    mended = play(run, retry_failed=True)
    assert set(states(mended).values()) == {(COMPLETED, 3)}
    assert mended.history.repeated_rows == 0


def test_a_search_is_extended_twice_and_says_what_was_added(tmp_path: Path) -> None:
    run = new_search(tmp_path, "s", trials=8, epochs=3, searcher="random", scheduler="none")
    play(run)
    original = json.loads(run.read(SEARCH))
    play(run, trials=10, command="python tune_vgg6.py resume s --trials 10")
    after = play(run, epochs=5, time_budget=60.0)
    found = json.loads(run.read(SEARCH))
    assert {k: v for k, v in found.items() if k != "extensions"} == original
    assert [e["session"] for e in found["extensions"]] == [2, 3]
    assert after.began and after.began.trials == 8 and after.began.settings.epochs == 3
    assert after.facts.settings.epochs == 5 and after.lengths == (3, 5)
    status = status_of(after)
    assert status.trials == 10 + len(after.history.begun_again) == len(after.history.trials)
    assert status.extensions == [
        "extended on 2026-11-28: 8 to 10 trials",
        "extended on 2026-11-28: 3 to 5 epochs, 60 seconds a session",
    ]
    assert "8 to 10 trials" in render(status)
    lengthened = [t for t in after.history.trials.values() if t.config.schedule == "constant"]
    assert {t.epoch for t in lengthened} == {5}


REFUSED = [
    ({"trials": 10}, "trials", "must be more than 12"),
    ({"trials": 12}, "trials", "must be more than 12"),
    ({"epochs": 4}, "epochs", "must be more than 4"),
    ({"epochs": 2}, "epochs", "must be more than 4"),
    ({"epochs": 20_000}, "epochs", "10000"),
    ({"retry_failed": True}, "retry_failed", "no trial failed"),
    ({"time_budget": 60.0}, "time_budget", "leaves nothing to run"),
    ({"time_budget": 0.0}, "time_budget", "0"),
]


@pytest.mark.parametrize(("added", "field", "rule"), REFUSED)
def test_an_extension_that_adds_nothing_is_refused(
    tmp_path: Path, added: dict[str, Any], field: str, rule: str
) -> None:
    run = new_search(tmp_path, "s", trials=12, epochs=4, searcher="random")
    search = play(run)
    with pytest.raises(InputError, match=rule) as refusal:
        extended(search, Extension.model_construct(session=2, **added))
    assert refusal.value.field == field


def test_a_list_of_points_is_not_extended_past_its_end(tmp_path: Path) -> None:
    grid = new_search(tmp_path, "g", SMALL, trials=3, epochs=2, searcher="grid", scheduler="none")
    play(grid)
    with pytest.raises(InputError, match="4 configurations"):
        play(grid, trials=5)
    assert len(play(grid, trials=4).history.trials) == 4, "a part of a grid is"
    study = new_search(tmp_path, "study", "study", trials=3, epochs=2, searcher="grid")
    search = play(study)
    with pytest.raises(InputError, match="their own lengths"):
        extended(search, Extension(session=2, epochs=30))


def test_a_dry_run_says_what_goes_on_and_what_begins_again(tmp_path: Path) -> None:
    run = new_search(tmp_path, "s", trials=6, epochs=2, searcher="random", scheduler="none")
    search = play(run)
    plan = dry_run(extended(search, Extension(session=2, trials=9, epochs=4)))
    history = read_history(run)
    constant = [t for t in history.trials.values() if t.config.schedule == "constant"]
    assert f"{len(constant)} trial" in plan and "will go on to 4 epochs" in plan
    assert "schedule depends on its length" in plan and "3 to begin" in plan
    assert not [t for t in history.trials.values() if t.state == RUNNING]
    assert "extensions" not in json.loads(run.read(SEARCH)), "nothing is written"


def test_the_command_names_the_flag_the_value_and_the_rule(tmp_path: Path, said: Any) -> None:
    run = new_search(tmp_path, "s", trials=4, epochs=2, searcher="random", scheduler="none")
    play(run)
    for flags, message in (
        (("--trials", "3"), "--trials: 3 must be more than 4"),
        (("--trials", "auto"), "--trials: 'auto' is not a whole number"),
        (("--epochs", "2"), "--epochs: 2 must be more than 2"),
        (("--time_budget", "soon"), "--time_budget: 'soon' is not a quantity"),
        (("--retry-failed",), "--retry-failed: "),
    ):
        status, _, err = said("resume", run.path, *flags)
        assert status == 2 and message in err, err
    with only_driver(run):
        status, _, err = said("resume", run.path, "--trials", "9")
        assert status == 2 and "is being run by another process" in err
    status, out, _ = said("resume", run.path, "--trials", "9", "--dry-run")
    assert status == 0 and "4 to 9 trials" in out


def test_a_confirmation_of_before_an_extension_chooses_no_winner_and_is_said_to_be_old(
    tmp_path: Path, said: Any
) -> None:
    folder = tmp_path / "first"
    shutil.copytree(ROOT / "docs" / "cifar10-48", folder)
    before = read_search(RunFolder(str(folder)))
    assert before.confirmation
    status, out, _ = said("best", folder)
    assert status == 0 and "fresh seed" in out and "Confirm again" not in out
    facts = json.loads((folder / SEARCH).read_text())
    number = len(before.history.sessions)
    facts["extensions"] = [Extension(session=number, trials=before.facts.trials + 8).to_dict()]
    (folder / SEARCH).write_text(json.dumps(facts))
    after = read_search(RunFolder(str(folder)))
    assert after.confirmation is None and after.outdated == before.confirmation
    was = f"was confirmed when the search had {before.facts.trials} trials"
    for command in ("best", "status"):
        status, out, _ = said(command, folder)
        assert status == 0 and was in out.replace("\n", " ")
    assert after.winner == after.history.ranking(first=1)[0]


def test_a_confirmation_takes_no_run_of_another_length(tmp_path: Path) -> None:
    short = TrialConfig(epochs=2)
    history = History()
    for number, epochs in enumerate((2, 4)):
        history.add(
            {"event": "trial", "time": 0.0, "trial": number, "params": {"candidate": 7, "seed": 9},
             "config": {**short.to_dict(), "seed": 9, "epochs": epochs}}
        )  # fmt: skip
    assert list(Contest({7: short}, [], 100).own_runs(history).trials) == [0]
    assert list(Contest({7: TrialConfig(epochs=4)}, [], 100).own_runs(history).trials) == [1]
