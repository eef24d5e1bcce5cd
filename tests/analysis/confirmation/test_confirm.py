"""Confirmation: the best of a search over fresh seeds, what is noise, and who is dropped early."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import ray
from safetensors.torch import load_file

from analysis.confirmation import confirm as c
from analysis.confirmation.candidate_record import run_key
from analysis.confirmation.confirmed_result import confirmed_result
from analysis.confirmation.contest import Contest, conclude
from analysis.confirmation.rounds import Rounds
from analysis.winner.pareto import TrialCost, best_of_each, pareto_front
from analysis.winner.ranking import summary
from analysis.winner.render_ranking import render
from search_spaces import load_space
from vgg6.architecture import count_parameters
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import TrialData, data_facts, load_digits, split
from vgg6.evaluation import evaluate
from vgg6.hardware.runtime import Runtime, resident
from vgg6.model import VGG6
from vgg6.training import TrainState, fit
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.folder import CONFIRMED, JOURNAL, SEARCH, RunFolder, confirmed_file
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PRUNED, RUNNING, TrialRecord, scored
from vgg6.tuning.session.plan import plan_confirmation
from vgg6.tuning.settings import Settings

IMAGES = 5000


def test_an_interval_of_accuracies_stays_between_0_and_1() -> None:
    history = History()
    for number, score in enumerate([0.99, 0.9, 1.0]):
        run = replace(record(number, score, 1.0), params={"candidate": 0, "seed": number})
        history.trials[number] = run
    known = conclude(history, [record(0, 0.99, 1.0)], [0, 1, 2], IMAGES).chosen
    assert known.mean is not None
    assert known.high == 1.0 and known.low is not None and 0 < known.low < known.mean


def record(number: int, score: float, seconds: float, **changes: Any) -> TrialRecord:
    config = TrialConfig(epochs=2, **changes)
    rows = {
        epoch: replace(scored(epoch, acc, score), best_epoch=1, seconds=seconds)
        for epoch, acc in ((1, score), (2, score - 0.1))
    }
    return TrialRecord(number, config, {}, 0.0, rows, COMPLETED)


def test_the_front_leaves_out_whom_another_beats_in_all() -> None:
    trials = [
        record(0, 0.80, 10.0), record(1, 0.79, 20.0), record(2, 0.78, 5.0), record(3, 0.7, 5.0),
    ]  # fmt: skip
    front = pareto_front(trials)
    assert [row.trial for row in front] == [0, 2]
    assert front[0].seconds == 10.0, "what came after the best epoch is not its cost"


def test_a_trial_that_was_not_completed_is_on_no_front_and_its_length_is_said() -> None:
    pruned, whole = record(0, 0.9, 1.0), record(1, 0.8, 10.0)
    pruned.state, pruned.epoch = PRUNED, 1
    assert [row.trial for row in pareto_front([pruned, whole])] == [1]
    slow, quick = record(0, 0.5, 30.0), record(1, 0.5, 10.0)
    assert [row.trial for row in pareto_front([slow, quick])] == [1], "of equal scores the quicker"
    best = best_of_each([pruned, whole], "optimizer")[0].best
    assert (best.trial, best.epochs_run, best.epochs) == (0, 1, 2)


def test_a_larger_network_is_on_the_front_only_if_it_is_better() -> None:
    plain, normed = record(0, 0.8, 10.0), record(1, 0.8, 10.0, norm="batch")
    assert TrialCost.of(normed).parameters > TrialCost.of(plain).parameters
    assert [row.trial for row in pareto_front([plain, normed])] == [0]
    assert [row.trial for row in pareto_front([record(1, 0.9, 10.0, norm="batch"), plain])] == [
        1,
        0,
    ]


def test_parameters_are_those_of_the_network_that_is_trained() -> None:
    for norm in ("none", "batch", "group"):
        config = TrialConfig(norm=norm)
        assert count_parameters(config) == sum(p.numel() for p in VGG6(config).parameters())


def test_the_best_of_each_optimizer_comes_with_how_many_there_were() -> None:
    trials = [record(0, 0.8, 1.0), record(1, 0.7, 1.0, optimizer="adam"), record(2, 0.6, 1.0)]
    found = best_of_each(trials, "optimizer")
    assert [(r.value, r.best.trial, r.trials) for r in found] == [
        (TrialConfig().optimizer, 0, 2),
        ("adam", 1, 1),
    ]


# A finished search of made-up scores. The confirmation's runs are really trained, and its best two
# are tied or not as training has it.
CONFIGS = [
    TrialConfig(activation="relu", optimizer="adam", lr=1e-3, batch_size=32, epochs=2, width=0.25),
    TrialConfig(activation="gelu", optimizer="adam", lr=1e-3, batch_size=32, epochs=2, width=0.25),
    TrialConfig(activation="sigmoid", optimizer="sgd", lr=1e-4, batch_size=50, epochs=2),
    TrialConfig(
        activation="relu", optimizer="adam", lr=1e-3, batch_size=32, epochs=2, seed=43, width=0.25
    ),
]
SCORES = [0.93, 0.92, 0.3, 0.91]
LIMIT = 300
RUNTIME = Runtime.resolve("cpu", threads=1)


@pytest.fixture(scope="module")
def data() -> TrialData:
    return split(load_digits(), limit_train=LIMIT)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory, data: TrialData) -> RunFolder:
    run = RunFolder(str(tmp_path_factory.mktemp("runs") / "first"))
    run.create()
    facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=LIMIT)
    settings = Settings(name="first", trials=4, epochs=2, data="digits", limit_train=LIMIT)
    run.write_json(
        SEARCH,
        {"format": 1, "name": "first", "trials": 4, "data": facts.to_dict(),
         "runtime": RUNTIME.to_dict(),
         "settings": settings.to_dict(), "space": load_space("default").to_dict(),
         "versions": {}},
    )  # fmt: skip
    journal = Journal(run)
    journal.write("session", session="session_1")
    for number, config in enumerate(CONFIGS):
        journal.write("trial", trial=number, config=config.to_dict(), params={})
        for row in record(number, SCORES[number], 1.0).curve:
            whole = replace(row, train_loss=1.0, train_acc=0.5, val_loss=1.0, lr=config.lr)
            metrics = whole.metrics.to_dict()
            journal.write("epoch", trial=number, node="here", pid=1, **metrics)
        journal.write("end", trial=number, state=COMPLETED, reason="")
    journal.write("session_end", session="session_1", outcome="complete")
    journal.close()
    return run


def confirmed(run: RunFolder, data: TrialData, top: int, seeds: int, **asked: Any) -> Confirmation:
    search = read_search(run)
    settings = replace(search.facts.settings, wandb="disabled")
    candidates, fresh = c.choose(search.history, top, seeds)
    runs = len(candidates) * seeds
    plan = plan_confirmation("this machine", settings, search.facts, data, runs)
    outcome, found = c.confirm(search, plan, candidates, fresh, "test", **asked)
    assert outcome.outcome == "complete" and found is not None
    return found


@pytest.fixture(scope="module")
def found(ray_here: None, search: RunFolder, data: TrialData) -> Confirmation:
    """Two candidates over two seeds."""
    return confirmed(search, data, top=2, seeds=2)


def journal_of(run: RunFolder) -> History:
    return read_history(RunFolder(run.file(CONFIRMED)))


@pytest.mark.slow
def test_seeds_are_fresh_and_a_configuration_is_taken_once(search: RunFolder) -> None:
    candidates, seeds = c.choose(read_history(search), top=4, count=3)
    assert seeds == [44, 45, 46], "43 is the seed of one of the trials"
    plain = {replace(t.config, seed=0) for t in candidates}
    assert len(plain) == len(candidates) == 3


@pytest.mark.slow
def test_a_sole_candidate_is_not_said_to_be_above_others_by_more_than_noise(
    found: Confirmation, search: RunFolder
) -> None:
    candidates, seeds = c.choose(read_history(search), top=1, count=2)
    alone = conclude(journal_of(search), candidates, seeds, IMAGES)
    assert alone.why == f"trial {alone.winner} was the only candidate, over 2 fresh seeds"


@pytest.mark.slow
def test_a_confirming_run_asks_for_as_many_cpus_as_it_has_threads(
    ray_here: None, search: RunFolder, data: TrialData
) -> None:
    facts = read_search(search).facts
    most = ray.cluster_resources()["CPU"]
    for threads in (1, 2, 512):  # of a search on a larger machine: not refused on this one
        runtime = facts.runtime.model_copy(update={"threads": threads})
        settings = replace(facts.settings, wandb="disabled")
        asked = facts.model_copy(update={"runtime": runtime})
        plan = plan_confirmation("here", settings, asked, data, 1)
        assert (plan.allotment.cpus, plan.runtime.threads) == (min(threads, most), threads)


@pytest.mark.slow
def test_a_confirming_run_equals_the_same_run_outside_ray_bit_for_bit(
    found: Confirmation, data: TrialData
) -> None:
    row = found.candidates[0]
    run = row.runs[0]
    config = replace(row.config, seed=run.seed)
    outside = [m.to_dict() for m in fit(TrainState(config, RUNTIME), data)]
    assert len(outside) == config.epochs, "at full length"
    for ours, theirs in zip(run.history, outside, strict=True):
        assert {**ours.to_dict(), "seconds": 0, "epoch": 0} == {**theirs, "seconds": 0, "epoch": 0}


@pytest.mark.slow
def test_the_winner_is_judged_by_its_mean_and_shown_beside_its_search_score(
    found: Confirmation, search: RunFolder
) -> None:
    for row in found.candidates:
        scores = [run.val_acc for run in row.runs]
        # How far apart the two are differs by machine: the second may be dropped after a seed.
        seeds = [44, 45][: row.eliminated_after]
        assert sorted(run.seed for run in row.runs) == seeds
        assert row.mean == fmean(scores)
        assert row.low < row.mean < row.high and row.sd > 0
        assert row.optimism == row.search_score - row.mean
    means = [row.mean for row in found.candidates]
    assert means == sorted(means, reverse=True)
    assert found.winner in found.ties and found.ties[0] == found.candidates[0].trial
    text = render(summary(read_search(search), top=3))
    winner = next(r for r in found.candidates if r.trial == found.winner)
    assert f"{winner.mean:.4f} (95 % {winner.low:.4f} to {winner.high:.4f})" in text
    assert f"{winner.search_score:.4f}: an optimism of {winner.optimism:+.4f}" in text
    assert found.why in " ".join(text.split())
    again = summary(read_search(search), top=3).winner.train_command
    assert f"--seed {found.representative_seed}" in again


@pytest.mark.slow
def test_the_kept_weights_are_those_of_the_winners_median_run(
    found: Confirmation, search: RunFolder, data: TrialData
) -> None:
    row = next(r for r in found.candidates if r.trial == found.winner)
    run = next(r for r in row.runs if r.seed == found.representative_seed)
    RUNTIME.apply()
    model = VGG6(row.config)
    file = confirmed_file(found.winner, found.representative_seed)
    model.load_state_dict(load_file(Path(search.file(file))))
    parts = resident(data, "cpu")
    scored = evaluate(model, parts.val_images, parts.val_labels, parts.normalize, RUNTIME)
    assert scored.accuracy == run.val_acc
    assert run.val_acc == sorted(r.val_acc for r in row.runs)[0], "of two the lower"


@pytest.mark.slow
def test_a_larger_confirmation_goes_on_from_a_smaller_one_until_a_winner_is_settled(
    found: Confirmation, search: RunFolder, data: TrialData, tmp_path: Path
) -> None:
    shutil.copytree(search.path, tmp_path / "first")
    run = RunFolder(str(tmp_path / "first"))
    before = journal_of(run)
    more = confirmed(run, data, top=3, seeds=5, margin=0.4, until_settled=True)
    after = journal_of(run)
    assert after.arrivals[: len(before.arrivals)] == before.arrivals
    keys = [run_key(t) for t in after.trials.values()]
    assert len(set(keys)) == len(keys), "no run is repeated"
    loser = next(r for r in more.candidates if r.label.startswith("Sigmoid"))
    assert loser.eliminated_after == 1 and len(loser.runs) == 1, "and a clear loser runs once"
    assert more.candidates[-1] is loser
    added = set(keys) - {run_key(t) for t in before.trials.values()}
    assert (loser.trial, 44) in added and {seed for _, seed in added} <= {44, 45}
    assert (more.more_seeds, more.seeds) == (0, [44, 45]), "and no more rounds than needed"


def play(rounds: Rounds, score: Callable[[int, int], float]) -> list[tuple[int, int]]:
    """Run what is asked for, one after the other, without Ray; gives which runs these were."""
    asked = []
    while (wanted := rounds.suggest("")) != Rounds.FINISHED:
        assert isinstance(wanted, dict)
        key = run_key(rounds.journal.history.trials[wanted["number"]])
        end(rounds.journal, wanted["number"], score(*key))
        asked.append(key)
    return asked


def end(journal: Journal, number: int, score: float) -> None:
    """Complete a run with this score."""
    for row in record(number, score, 1.0).curve:
        journal.write("epoch", trial=number, node="here", pid=1, **row.metrics.to_dict())
    journal.write("end", trial=number, state=COMPLETED, reason="")


def noisy(candidate: int, seed: int) -> float:
    """Candidate 1 is better by 0.01 than 2, in a noise that hides it for a few seeds."""
    stray = (0.02, -0.02, 0.015, -0.01, 0.01, -0.015)[(seed + 2 * candidate) % 6]
    return {1: 0.86, 2: 0.85, 3: 0.5}[candidate] + stray


def test_rounds_go_on_until_the_winner_is_settled_and_from_where_they_were(tmp_path: Path) -> None:
    journal = Journal(RunFolder(str(tmp_path)))
    candidates = {number: TrialConfig(epochs=2) for number in (1, 2, 3)}
    trials = [record(number, 0.9, 1.0) for number in candidates]
    seeds = list(range(50, 60))

    def rounds(count: int, until_settled: bool) -> Rounds:
        return Rounds(Contest(candidates, seeds[:count], IMAGES, 0.005, until_settled), journal)

    first = play(rounds(2, False), noisy)
    assert first == [(1, 50), (2, 50), (3, 50), (1, 51), (2, 51)], "the third is dropped"
    found = conclude(journal.history, trials, seeds[:2], IMAGES)
    assert found.winner == 1 and found.more_seeds
    assert "trial 1 is not shown to be better than trial 2" in found.why
    assert f"{found.more_seeds} more seeds would tell" in found.why
    second = play(rounds(10, True), noisy)
    assert second and not set(first) & set(second)
    assert {candidate for candidate, _ in second} == {1, 2}
    last = max(seed for _, seed in second)
    assert last < 59, "fewer than it might have been"
    settled = conclude(journal.history, trials, seeds, IMAGES)
    assert settled.seeds == list(range(50, last + 1)), "whole rounds count"
    assert (settled.winner, settled.more_seeds) == (1, 0)
    before = conclude(journal.history, trials, seeds[: last - 50], IMAGES)
    assert before.more_seeds, "a round earlier it was not"


def test_a_run_that_began_early_is_not_counted_for_a_candidate_that_was_dropped(
    tmp_path: Path,
) -> None:
    journal = Journal(RunFolder(str(tmp_path)))
    candidates = {number: TrialConfig(epochs=2) for number in (1, 2)}
    rounds = Rounds(Contest(candidates, [50, 51], IMAGES), journal)
    first = [rounds.suggest("") for _ in range(3)]  # the leader's second seed begins
    assert [run_key(t) for t in journal.history.trials.values()] == [(1, 50), (2, 50), (1, 51)]
    for wanted, score in zip(first, (0.5, 0.9, 0.95), strict=True):
        assert isinstance(wanted, dict)
        end(journal, wanted["number"], score)
    play(rounds, lambda *_: 0.9)
    trials = [record(number, 0.9, 1.0) for number in candidates]
    found = conclude(journal.history, trials, [50, 51], IMAGES)
    lost = next(row for row in found.candidates if row.trial == 1)
    assert (lost.eliminated_after, lost.mean, len(lost.runs)) == (1, 0.5, 1)


def test_rounds_end_at_their_bound_where_candidates_are_the_same(tmp_path: Path) -> None:
    candidates = {number: TrialConfig(epochs=2) for number in (1, 2)}
    journal = Journal(RunFolder(str(tmp_path)))
    rounds = Rounds(Contest(candidates, [50, 51, 52], IMAGES, 0.0, until_settled=True), journal)
    asked = play(rounds, lambda candidate, seed: 0.8 + 0.01 * ((candidate + seed) % 2))
    assert len(asked) == 6
    trials = [record(number, 0.9, 1.0) for number in candidates]
    found = conclude(rounds.journal.history, trials, [50, 51, 52], IMAGES)
    assert found.more_seeds and "would tell" in found.why


def test_a_score_of_fewer_epochs_has_no_optimism(tmp_path: Path) -> None:
    journal = Journal(RunFolder(str(tmp_path)))
    play(Rounds(Contest({1: TrialConfig(epochs=2)}, [50, 51], IMAGES), journal), lambda *_: 0.88)
    whole, pruned = record(1, 0.9, 1.0), record(1, 0.28, 1.0)
    pruned.state, pruned.epoch = PRUNED, 1
    found = conclude(journal.history, [whole], [50, 51], IMAGES).chosen
    assert found.optimism == pytest.approx(0.02)
    assert "an optimism of +0.0200" in str(confirmed_result(found))
    found = conclude(journal.history, [pruned], [50, 51], IMAGES).chosen
    assert found.optimism is None
    assert "0.2800, trained for fewer epochs" in str(confirmed_result(found))
    assert found.low is not None and found.mean is not None and found.low < found.mean


@pytest.mark.slow
def test_an_interrupted_confirmation_ends_with_the_same_winner_and_numbers(
    found: Confirmation, search: RunFolder, data: TrialData, tmp_path: Path
) -> None:
    shutil.copytree(search.path, tmp_path / "first")
    run = RunFolder(str(tmp_path / "first"))
    journal = Path(run.file(CONFIRMED)) / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if json.loads(line)["event"] == "end"]
    journal.write_text("".join(lines[: ends[1] + 1]))  # killed after its second run
    assert len(journal_of(run).trials) < 4 or any(
        t.state == RUNNING for t in journal_of(run).trials.values()
    )
    again = confirmed(run, data, top=2, seeds=2)

    def timeless(rows: Confirmation) -> str:
        def clean(value: Any) -> Any:
            if isinstance(value, dict):
                times = ("seconds", "epoch_seconds", "created")
                return {k: clean(v) for k, v in value.items() if k not in times}
            return [clean(v) for v in value] if isinstance(value, list) else value

        return json.dumps(clean(rows.to_dict()["candidates"]))

    assert timeless(again) == timeless(found)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_when_every_candidate_diverges_the_confirmation_says_why(
    search: RunFolder, data: TrialData, tmp_path: Path
) -> None:
    shutil.copytree(search.path, tmp_path / "first", ignore=shutil.ignore_patterns("confirm*"))
    journal = tmp_path / "first" / JOURNAL
    changed = journal.read_text().replace('"lr": 0.001', '"lr": 10.0')
    journal.write_text(changed.replace('"optimizer": "adam"', '"optimizer": "sgd"'))
    run = RunFolder(str(tmp_path / "first"))
    changed_search = read_search(run)
    candidates, fresh = c.choose(changed_search.history, top=1, count=1)
    settings = replace(changed_search.facts.settings, wandb="disabled")
    plan = plan_confirmation("this machine", settings, changed_search.facts, data, 1)
    outcome, found = c.confirm(changed_search, plan, candidates, fresh, "test")
    assert found is None and "diverged" in outcome.detail


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_a_confirmation_whose_time_is_used_up_is_incomplete_and_leaves_no_winner(
    search: RunFolder, data: TrialData, tmp_path: Path
) -> None:
    shutil.copytree(search.path, tmp_path / "first", ignore=shutil.ignore_patterns("confirm*"))
    found = read_search(RunFolder(str(tmp_path / "first")))
    candidates, fresh = c.choose(found.history, top=2, count=10)
    settings = replace(found.facts.settings, wandb="disabled")
    plan = plan_confirmation("this machine", settings, found.facts, data, 20, time_budget=0.1)
    outcome, winner = c.confirm(found, plan, candidates, fresh, "test", until_settled=True)
    assert (outcome.outcome, winner) == ("incomplete", None)
    assert "time budget of 0.1 s is used up" in outcome.detail
    assert read_search(RunFolder(str(tmp_path / "first"))).confirmation is None


@pytest.mark.slow
def test_a_better_trial_that_came_after_the_confirmation_is_named(
    found: Confirmation, search: RunFolder, tmp_path: Path
) -> None:
    assert summary(read_search(search), top=3).unconfirmed == []
    shutil.copytree(search.path, tmp_path / "first")
    run = RunFolder(str(tmp_path / "first"))
    journal = Journal(run)
    config = TrialConfig(activation="silu", epochs=2)
    journal.write("trial", trial=4, config=config.to_dict(), params={})
    last = journal.history.trials[0].rows[2]
    row = {**last.metrics.to_dict(), "node": last.node, "pid": last.pid}
    top = {"epoch": 1, "best_epoch": 1, "val_acc": 0.999, "best_val_acc": 0.999}
    journal.write("epoch", trial=4, **(row | top))
    journal.write("end", trial=4, state=COMPLETED, reason="")
    journal.close()
    assert summary(read_search(run), top=3).unconfirmed == [4]
    assert "trial 4 came among the best: confirm again" in render(summary(read_search(run), top=3))


def test_a_search_without_a_score_has_nothing_to_confirm() -> None:
    assert c.choose(History(), top=3, count=2) == ([], [1, 2])
    with pytest.raises(InputError, match="no fresh seed"):
        history = History()
        trial = record(4, 0.8, 1.0)
        run = replace(record(0, 0.1, 1.0), params={"candidate": 4, "seed": 9})
        run.state, run.reason = INFEASIBLE, "loss is nan"
        history.trials[0] = run
        conclude(history, [trial], [9], IMAGES)
