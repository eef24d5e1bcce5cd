"""The schedulers alone, on recorded results: rungs, resuming, diverged trials."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from search_spaces import load_space
from vgg6.tuning.algorithms.early_stopping import (
    WINDOW,
    brackets_of,
    expected_trials,
    percentile,
    replay,
    stopping_rule,
    trained_whole,
)
from vgg6.tuning.algorithms.promotion import Spared
from vgg6.tuning.algorithms.scheduler import RuleScheduler
from vgg6.tuning.reported_keys import WHY_INFEASIBLE

EPOCHS = 27


def build(name: str, whole: int = 0, grace: int = 1) -> RuleScheduler:
    rule = stopping_rule(
        name, epochs=EPOCHS, grace=grace, reduction=3, seed=5, trials=24, spared=Spared(whole)
    )
    return RuleScheduler(rule, between_attempts=lambda trial: None)


def trial(number: int) -> Any:
    return SimpleNamespace(trial_id=f"ray-{number}", config={"number": number})


def arrivals(n_trials: int = 24, seed: int = 0) -> list[tuple[int, int, float]]:
    """Recorded curves that arrive interleaved, as from several workers."""
    rng = np.random.default_rng(seed)
    finals = rng.uniform(0.2, 0.9, n_trials)
    rows = []
    for wave in range(0, n_trials, 6):
        for epoch in range(1, EPOCHS + 1):
            for number in rng.permutation(np.arange(wave, wave + 6)):
                score = finals[number] * (1 - np.exp(-epoch / 6))
                rows.append((int(number), epoch, float(score)))
    return rows


def test_a_percentile_is_that_of_numpy_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        values = [float(v) for v in rng.random(rng.integers(1, WINDOW + 1)).round(rng.integers(18))]
        values += [np.nan] * int(rng.integers(2))
        percent = (1 - 1 / float(rng.choice([1.7, 2, 2.5, 3, 4, 10]))) * 100
        assert percentile(values, percent) == np.nanpercentile(values, percent)
    assert np.isnan(percentile([np.nan], 75))


def drive(
    scheduler: Any, rows: list[tuple[int, int, float]], stopped: set[int]
) -> tuple[list[tuple[int, int, str]], list[tuple[int, int, float]]]:
    """Feed rows of trials that still run. Returns the decisions and the rows that were used."""
    decisions, used = [], []
    for number, epoch, score in rows:
        if number in stopped:
            continue
        scheduler.on_trial_add(None, trial(number))
        decision = scheduler.on_trial_result(
            None, trial(number), {"epoch": epoch, "best_val_acc": score}
        )
        used.append((number, epoch, score))
        decisions.append((number, epoch, decision))
        if decision == TrialScheduler.STOP:
            stopped.add(number)
    return decisions, used


@pytest.mark.parametrize("name", ["asha-stop", "hyperband", "median"])
@pytest.mark.parametrize("cut", [1, 40, 150, 300])
@pytest.mark.parametrize("spared", [0, 4])
def test_a_resumed_search_makes_the_decisions_of_an_uninterrupted_one(
    name: str, cut: int, spared: int
) -> None:
    rows = arrivals()
    whole, _ = drive(build(name, spared), rows, set())

    stopped: set[int] = set()
    before, used = drive(build(name, spared), rows[:cut], stopped)
    resumed = build(name, spared)
    replay(resumed.rule, used)
    after, _ = drive(resumed, rows[cut:], stopped)
    assert before + after == whole
    assert any(d == TrialScheduler.STOP for _, _, d in whole), "nothing was stopped: no test"


@pytest.mark.parametrize("name", ["asha-stop", "hyperband", "median"])
def test_a_driver_killed_between_a_result_and_its_decision_decides_the_same_when_resumed(
    name: str,
) -> None:
    """Places where the last journaled result is one that ends its trial, and nobody knows."""
    rows = arrivals()
    whole, used = drive(build(name), rows, set())
    ends = [i for i, (_, _, decision) in enumerate(whole) if decision == TrialScheduler.STOP]
    assert len(ends) > 8
    for place in ends[::3]:
        resumed = build(name)
        ended = replay(resumed.rule, used[: place + 1])
        assert ended == {number for number, _, d in whole[: place + 1] if d == TrialScheduler.STOP}
        rest = rows[rows.index(used[place]) + 1 :]
        after, _ = drive(resumed, rest, set(ended))
        assert whole[: place + 1] + after == whole


@pytest.mark.parametrize("name", ["asha-stop", "hyperband", "median"])
def test_a_first_point_that_starts_late_is_trained_whole(name: str) -> None:
    late = [(n, e, 0.1 if n == 1 and e < 9 else score) for n, e, score in arrivals()]
    assert max(e for n, e, _ in drive(build(name), late, set())[0] if n == 1) < EPOCHS
    decisions, _ = drive(build(name, whole=2), late, set())
    last = {n: e for n, e, _ in decisions}
    assert last[0] == last[1] == EPOCHS
    assert all(d == TrialScheduler.CONTINUE for n, e, d in decisions if n < 2 and e < EPOCHS)
    assert sum(e < EPOCHS for n, e in last.items()) > 8, "the others are stopped as before"
    row = {"epoch": 1, "best_val_acc": 0.1, WHY_INFEASIBLE: "diverged"}
    assert build(name, whole=2).on_trial_result(None, trial(0), row) == TrialScheduler.STOP  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["asha-stop", "hyperband"])
def test_a_first_point_sets_no_bar_for_the_trials_that_follow(name: str) -> None:
    good = [(n, e, 0.9 if n < 2 else score) for n, e, score in arrivals()]
    bad = [(n, e, 0.1 if n < 2 else score) for n, e, score in arrivals()]
    decisions, _ = drive(build(name, whole=2), good, set())
    assert decisions == drive(build(name, whole=2), bad, set())[0]
    barred, free = ([d for d in drive(build(name), rows, set())[0] if d[0] >= 2]
                    for rows in (good, bad))  # fmt: skip
    assert len(barred) < len(free), "as any other trials they would have set one"


def test_where_others_are_trained_whole_the_first_of_a_rung_are_too_few_to_pass() -> None:
    rows = [(2, 1, 0.5), (3, 1, 0.6), (4, 1, 0.7), (4, 2, 0.7)]
    go, stop = TrialScheduler.CONTINUE, TrialScheduler.STOP
    assert looks(build("asha-stop", whole=2), rows) == [stop, stop, go, go], (
        "one of three is a third"
    )
    assert looks(build("asha-stop"), rows) == [go, go, go, go], "else a search might complete none"


def test_only_a_spaces_own_first_points_are_trained_whole_and_few_of_them() -> None:
    space = load_space("default")
    assert trained_whole(space, "optuna", 64) == len(space.points) == 2
    assert trained_whole(space, "random", 8) == 1 and trained_whole(space, "optuna", 7) == 0
    warmed = replace(space, points=space.points * 3)
    assert trained_whole(warmed, "optuna", 64, added=4) == 2
    assert trained_whole(load_space("study"), "optuna", 64) == 0
    assert trained_whole(space, "grid", 64) == 0


def test_without_the_replay_the_decisions_differ() -> None:
    """What Ray does on a restore: rungs that start empty. Shows that the test above can fail."""
    rows = arrivals()
    whole, _ = drive(build("asha-stop"), rows, set())
    stopped: set[int] = set()
    before, _ = drive(build("asha-stop"), rows[:150], stopped)
    after, _ = drive(build("asha-stop"), rows[150:], stopped)
    assert before + after != whole


def looks(scheduler: Any, rows: list[tuple[int, int, float]]) -> list[str]:
    """The decision about every row."""
    for number in sorted({n for n, _, _ in rows}):
        scheduler.on_trial_add(None, trial(number))
    return [
        scheduler.on_trial_result(None, trial(n), {"epoch": e, "best_val_acc": score})
        for n, e, score in rows
    ]


def test_asha_stops_an_early_arrival_once_later_ones_have_overtaken_it() -> None:
    rows = [
        (0, 2, 0.3),
        (1, 2, 0.4),
        (2, 2, 0.5),
        (3, 2, 0.2),
        (2, 3, 0.6),
        (1, 3, 0.5),
        (0, 3, 0.9),
    ]
    rays = AsyncHyperBandScheduler("epoch", "best_val_acc", "max", EPOCHS, 2, 3)
    go, stop = TrialScheduler.CONTINUE, TrialScheduler.STOP
    assert looks(rays, rows) == [go, go, go, stop, go, go, go]
    assert looks(build("asha-stop", grace=2), rows) == [go, go, go, stop, go, go, stop]


def test_asha_looks_at_the_last_rung_of_a_trial_only() -> None:
    """One that was slow at first, and leads now, is not stopped for its first epoch."""
    first = [(0, 1, 0.3), (0, 2, 0.5), (0, 3, 0.9)]
    later = [(n, 1, 0.4 + n / 100) for n in range(1, 6)]
    assert looks(build("asha-stop"), [*first, *later, (0, 4, 0.9)])[-1] == TrialScheduler.CONTINUE
    assert (
        looks(build("asha-stop"), [*first[:2], *later, (0, 3, 0.9)])[-1] == TrialScheduler.CONTINUE
    )
    assert looks(build("asha-stop"), [*first[:1], *later, (0, 2, 0.9)])[-1] == TrialScheduler.STOP


def test_asha_looks_again_at_the_first_rung_only() -> None:
    """Equally good trials that began a little later do not take the place of one further on."""
    first = [(0, 1, 0.5), (0, 2, 0.6)]
    later = [(n, 2, 0.7 + n / 100) for n in range(1, 6)]
    assert looks(build("asha-stop"), [*first, *later, (0, 3, 0.65)])[-1] == TrialScheduler.CONTINUE
    begun = [(n, 1, score) for n, _, score in later]
    assert looks(build("asha-stop"), [first[0], *begun, (0, 2, 0.6)])[-1] == TrialScheduler.STOP


def test_a_trial_is_counted_among_those_that_it_is_compared_with() -> None:
    """The second of three is not in their best third; without itself it is above two thirds of
    the way between the others."""
    rows = [(0, 1, 0.1), (1, 1, 0.9), (2, 1, 0.7)]
    rays = AsyncHyperBandScheduler("epoch", "best_val_acc", "max", EPOCHS, 1, 3)
    assert looks(rays, rows)[-1] == TrialScheduler.CONTINUE
    assert looks(build("asha-stop"), rows)[-1] == TrialScheduler.STOP


def test_each_rung_is_at_twice_the_epochs_of_the_one_before_whatever_the_reduction() -> None:
    def rungs(scheduler: Any) -> list[list[int]]:
        return [list(b.scores) for b in scheduler.rule.brackets]

    assert rungs(build("asha-stop")) == [[1, 2, 4, 8, 16]]
    assert rungs(build("asha-stop", grace=5)) == [[5, 10, 20]]
    assert rungs(build("asha-stop", grace=EPOCHS)) == [[]], "none at a trial's end"
    # Hyperband's brackets begin where they did: a reduction apart.
    assert rungs(build("hyperband")) == [[1, 2, 4, 8, 16], [3, 6, 12, 24], [9, 18]]


def test_a_trial_that_was_the_best_of_its_first_rung_is_asked_again_at_the_second() -> None:
    """Plain ASHA would see it to the third epoch."""
    first = [(n, 1, 0.3 + n / 100) for n in range(6)]
    second = [(n, 2, 0.6 + n / 100) for n in (3, 4, 5)]
    rays = AsyncHyperBandScheduler("epoch", "best_val_acc", "max", EPOCHS, 1, 3)
    behind = [*first, *second, (6, 1, 0.5), (6, 2, 0.55)]
    go, stop = TrialScheduler.CONTINUE, TrialScheduler.STOP
    assert looks(rays, behind)[-2:] == [go, go]
    assert looks(build("asha-stop"), behind)[-2:] == [go, stop]


def test_asha_stops_on_arrival_all_that_rays_own_stops_until_its_window_is_full() -> None:
    rows = [(n, 1, score) for n, e, score in arrivals(60) if e == 1][:WINDOW]
    rays = AsyncHyperBandScheduler("epoch", "best_val_acc", "max", EPOCHS, 1, 3)
    pairs = list(zip(looks(rays, rows), looks(build("asha-stop"), rows), strict=True))
    stop = TrialScheduler.STOP
    assert all(ours == stop for theirs, ours in pairs if theirs == stop)
    assert 4 < sum(theirs == stop for theirs, _ in pairs) <= sum(o == stop for _, o in pairs) < 15


def test_asha_compares_with_the_latest_arrivals_when_a_searcher_has_become_better() -> None:
    beginnings = [(n, 1, 0.1 + n / 1000) for n in range(60)]
    better = [(60 + n, 1, 0.5 + (n * 7 % 20) / 100) for n in range(40)]
    rays = AsyncHyperBandScheduler("epoch", "best_val_acc", "max", EPOCHS, 1, 3)
    go = TrialScheduler.CONTINUE
    passed, theirs = (looks(s, [*beginnings, *better])[60 + WINDOW :].count(go)
                      for s in (build("asha-stop"), rays))  # fmt: skip
    late = len(better) - WINDOW
    assert theirs > late * 0.6, "most are in the best third of all that ever arrived"
    assert late / 6 < passed < late / 2, "about a third of those that arrive now"


@pytest.mark.parametrize("name", ["asha-stop", "hyperband", "median"])
def test_a_diverged_trial_is_stopped_and_enters_no_rung(name: str) -> None:
    scheduler = build(name)
    scheduler.on_trial_add(None, trial(0))  # type: ignore[arg-type]
    diverged = {"epoch": 1, "best_val_acc": 0.0, WHY_INFEASIBLE: "loss is nan"}
    assert scheduler.on_trial_result(None, trial(0), diverged) == TrialScheduler.STOP  # type: ignore[arg-type]
    fresh = build(name)
    rows = [(n, e, s) for n, e, s in arrivals() if n > 0]
    assert drive(scheduler, rows, set())[0] == drive(fresh, rows, set())[0]


def test_median_never_pauses_a_trial_for_want_of_others() -> None:
    rows = arrivals()
    decisions, _ = drive(build("median"), rows, set())
    assert {d for _, _, d in decisions} <= {TrialScheduler.CONTINUE, TrialScheduler.STOP}


@pytest.mark.parametrize("name", ["asha-stop", "hyperband", "median"])
def test_an_epoch_that_is_reported_again_changes_no_decision(name: str) -> None:
    rows = arrivals()
    plain, used = drive(build(name), rows, set())
    scheduler, stopped = build(name), set[int]()
    decisions = []
    for row in rows:
        decided, _ = drive(scheduler, [row], stopped)
        decisions += decided
        # Uneven repeats: counted, they would move a trial's mean and so the median.
        times = 6 if decided and decided[0][2] == TrialScheduler.CONTINUE and row[1] % 4 == 1 else 0
        for _ in range(times):
            again, _ = drive(scheduler, [row], set())
            assert again[0][2] == TrialScheduler.CONTINUE
    assert decisions == plain and len(used) == len(plain)


def test_none_runs_every_trial_to_its_end() -> None:
    decisions, _ = drive(build("none"), arrivals(), set())
    assert {d for _, _, d in decisions} == {TrialScheduler.CONTINUE}


def test_hyperband_has_several_brackets_but_no_more_than_rungs() -> None:
    assert brackets_of("hyperband", 27, 1, 3) == 3
    assert brackets_of("hyperband", 3, 1, 3) == 2
    assert brackets_of("hyperband", 1, 1, 3) == 1
    assert brackets_of("asha-stop", 27, 1, 3) == 1


def planned(name: str, **changes: int) -> float:
    plan = {"epochs": EPOCHS, "grace": 1, "reduction": 3} | changes
    return expected_trials(name, **plan).sum()  # type: ignore[arg-type]


def test_expected_epochs_are_near_what_asha_runs() -> None:
    for n_trials in (24, 96):
        _, used = drive(build("asha-stop"), arrivals(n_trials), set())
        plan = planned("asha-stop", trials=n_trials)
        assert 0.4 < plan / len(used) < 2.5, (plan, len(used))
    assert planned("none", trials=10) == 10 * EPOCHS
    assert planned("hyperband", trials=24) == (planned("asha-stop", trials=24) + 24 * EPOCHS) / 2
    assert planned("median", trials=8) == 8 * (1 + 0.75 * (EPOCHS - 1))


def test_expected_epochs_count_first_points_at_their_full_length() -> None:
    plan = planned("asha-stop", trials=24, whole=2)
    _, used = drive(build("asha-stop", whole=2), arrivals(24), set())
    assert plan == pytest.approx(2 * EPOCHS + planned("asha-stop", trials=22))
    assert 0.4 < plan / len(used) < 2.5, (plan, len(used))


def test_trials_are_expected_to_end_at_rungs() -> None:
    running = expected_trials("asha-stop", epochs=10, grace=2, reduction=4, trials=32)
    assert list(running) == [32, 32, 9, 9, 3.25, 3.25, 3.25, 3.25, 1.8125, 1.8125]


def test_the_first_waiting_trial_runs_next_as_with_rays_own_scheduler() -> None:
    rng, ours, rays = np.random.default_rng(1), build("none"), FIFOScheduler()
    waiting, added = [Trial.PENDING, Trial.RUNNING], []
    controller = SimpleNamespace(get_trials=lambda: added)
    chosen: set[str | None] = set()
    for number in range(200):
        added.append(SimpleNamespace(status=Trial.PENDING, trial_id=str(number)))
        ours.on_trial_add(controller, added[-1])
        for one in added:  # as Ray moves them; one that failed may be tried again
            if one.status in (*waiting, Trial.ERROR):
                one.status = rng.choice([*waiting, Trial.TERMINATED, Trial.ERROR])
        found = ours.choose_trial_to_run(controller)
        assert found is rays.choose_trial_to_run(controller)
        chosen.add(found and found.trial_id)
    assert len(chosen) > 20
