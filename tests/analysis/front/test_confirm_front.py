"""The front, confirmed: each network of it over fresh seeds, none of them run twice, and packed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher
from support.made.runs import made_run

from analysis.confirmation.confirm import choose
from analysis.front import confirm_front as module
from analysis.packages.package import check_package, read_package
from analysis.packages.package_files import WEIGHTS
from analysis.winner.ranking import summary
from analysis.winner.size_front import size_front
from search_spaces import load_space
from vgg6.architecture import count_parameters
from vgg6.checkpoint import weights_bytes
from vgg6.common.checks import InputError
from vgg6.common.numbers_in_words import counted
from vgg6.config import TrialConfig
from vgg6.data import data_facts, load_digits, load_recorded, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.cluster.allotment import Allotment
from vgg6.tuning.run.confirmed_front import ConfirmedFront, read_front
from vgg6.tuning.run.folder import (
    CONFIRMED,
    FRONT,
    JOURNAL,
    SEARCH,
    RunFolder,
    confirmed_file,
    weights_file,
)
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import Search, read_search
from vgg6.tuning.run.trials import COMPLETED, scored
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session_outcome import Outcome
from vgg6.tuning.session.trial_end import Keeping
from vgg6.tuning.settings import Settings

LIMIT, EPOCHS = 100, 2
# Width and score of each trial; those of 0, 1 and 3 are the front, the largest network first.
TRIALS = [(0.5, 0.9), (0.25, 0.85), (0.25, 0.8), (0.125, 0.6), (1.0, 0.5)]
FRONT_TRIALS = [0, 1, 3]


def config_of(width: float) -> TrialConfig:
    return TrialConfig(optimizer="adam", lr=3e-3, batch_size=32, epochs=EPOCHS, width=width)


def parameters(width: float) -> int:
    return count_parameters(config_of(width))


def write_search(run: RunFolder) -> None:
    """A finished search of made-up scores on real images."""
    run.create()
    facts = data_facts("digits", load_digits(), split(load_digits(), limit_train=LIMIT),
                       split_seed=42, limit_train=LIMIT)  # fmt: skip
    settings = Settings(
        name="sized", trials=len(TRIALS), epochs=EPOCHS, data="digits", limit_train=LIMIT,
        wandb="disabled",
    )  # fmt: skip
    run.write_json(SEARCH, {
        "format": 1, "name": "sized", "trials": len(TRIALS), "data": facts.to_dict(),
        "runtime": {"device": "cpu", "precision": "fp32", "threads": 1},
        "settings": settings.to_dict(), "space": load_space("sizes").to_dict(), "versions": {},
    })  # fmt: skip
    journal = Journal(run)
    journal.write("session", session="session_1")
    for number, (width, score) in enumerate(TRIALS):
        config = config_of(width)
        journal.write("trial", trial=number, config=config.to_dict(), params={})
        for epoch in range(1, EPOCHS + 1):
            row = replace(
                scored(epoch, score, score), train_loss=1.0, train_acc=0.5, val_loss=1.0,
                lr=config.lr, best_epoch=1,
            )  # fmt: skip
            journal.write("epoch", trial=number, node="here", pid=1, **row.metrics.to_dict())
        journal.write("end", trial=number, state=COMPLETED, reason="")
    journal.write("session_end", session="session_1", outcome="complete")
    journal.close()


def play_session(inner: RunFolder, plan: Plan, make_searcher: Any) -> Outcome:
    """A session with one worker and without Ray, which trains as a trial does."""
    journal = Journal(inner)
    assert plan.keep.weights >= plan.trials + len(journal.history.trials)
    session = f"session_{len(journal.history.sessions) + 1}"
    journal.write("session", session=session)
    searcher = make_searcher(plan, journal)
    while (asked := searcher.suggest("a run")) != Searcher.FINISHED:
        number = asked["number"]
        config = journal.history.trials[number].config
        state = TrainState(config, plan.runtime, task=plan.data.task)
        for metrics in fit(state, plan.data):
            journal.write("epoch", trial=number, node="here", pid=1, **metrics.to_dict())
        inner.write(weights_file(number), weights_bytes(state.best.weights, config))
        journal.write("end", trial=number, state=COMPLETED, reason="")
    journal.write("session_end", session=session, outcome="complete")
    journal.close()
    return Outcome("complete", "", "", 0.0)


def confirm(run: RunFolder, seeds: int) -> ConfirmedFront:
    """Confirm the front of that search. The weights of all runs are kept, however small."""
    search = read_search(run)
    facts = search.facts
    trials, fresh = module.choose_front(search, seeds)
    plan = Plan(
        facts.settings, facts.space, len(trials) * seeds, load_recorded(facts.data)[1],
        Runtime(**facts.runtime.to_dict()), Allotment(1, 0, 1, 1, ""), "disabled",
        Keeping(weights=len(trials) * seeds, room=0),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_session", play_session)
        outcome, found = module.confirm_front(search, plan, trials, fresh, "test")
    assert outcome.outcome == "complete" and found
    return found


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """That search with its front confirmed over two seeds."""
    run = RunFolder(str(tmp_path_factory.mktemp("runs") / "sized"))
    write_search(run)
    confirm(run, 2)
    return run


@pytest.fixture
def run(confirmed: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it to do things to."""
    shutil.copytree(confirmed.path, tmp_path / "sized")
    return RunFolder(str(tmp_path / "sized"))


def runs_of(run: RunFolder) -> list[tuple[int, int]]:
    history = read_history(RunFolder(run.file(CONFIRMED)))
    return [(t.params["candidate"], t.params["seed"]) for t in history.trials.values()]


def altered(run: RunFolder, means: dict[int, float]) -> ConfirmedFront:
    """The front as it would be with other means."""
    found = json.loads(run.read(FRONT))
    for point in found["points"]:
        point["candidate"]["mean"] = means[point["candidate"]["trial"]]
    run.write_json(FRONT, found)
    front = read_front(run)
    assert front
    return front


def test_each_network_of_the_front_is_trained_with_each_seed_of_a_confirmation(
    confirmed: RunFolder, said: Any
) -> None:
    run, out = confirmed, " ".join(said("best", confirmed.path)[1].split())
    search = read_search(run)
    front = search.front
    assert front and [p.candidate.trial for p in front.points] == FRONT_TRIALS
    seeds = choose(search.history, 5, 2)[1]
    assert front.seeds == seeds
    assert sorted(runs_of(run)) == [(trial, seed) for trial in FRONT_TRIALS for seed in seeds]
    for point in front.points:
        one = point.candidate
        assert [r.state for r in one.runs] == [COMPLETED] * 2
        assert one.mean == pytest.approx(sum(r.val_acc or 0 for r in one.runs) / 2)
        assert one.low is not None and one.high is not None and one.low < one.mean < one.high
        assert one.parameters == parameters(TRIALS[one.trial][0])
        assert 0 < point.latency_low <= point.latency <= point.latency_high
        weights = confirmed_file(one.trial, point.representative_seed or 0)
        assert run.exists(weights)
        said = f"mean of 2 fresh seeds {one.mean:.4f} (95 % {one.low:.4f} to {one.high:.4f})"
        assert said in out
    assert out.count(" an image (quartiles ") == 3
    assert search.confirmation is None, "it names no winner"


def test_no_run_is_made_twice_and_one_that_is_missing_is_made(run: RunFolder) -> None:
    before = runs_of(run)
    confirm(run, 2)
    assert runs_of(run) == before
    journal = RunFolder(run.file(CONFIRMED))
    events = [json.loads(line) for line in journal.read(JOURNAL).decode().splitlines()]
    last = max(e["trial"] for e in events if e["event"] == "trial")
    kept = [e for e in events if e.get("trial") != last]  # as if it had been killed before
    journal.write(JOURNAL, "".join(json.dumps(e) + "\n" for e in kept).encode())
    run.delete(FRONT)
    assert confirm(run, 2).to_dict()["points"] == read_front(run).to_dict()["points"]  # type: ignore[union-attr]
    assert sorted(runs_of(run)) == sorted(before)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_best_confirms_the_front_on_ray_and_goes_on_with_more_seeds(
    tmp_path: Path, said: Any
) -> None:
    run = RunFolder(str(tmp_path / "sized"))
    write_search(run)
    for seeds in (1, 2):
        status, out, err = said("best", run.path, "--front", "--confirm", str(seeds))
        assert status == 0, err
        assert f"at most {counted(3 * seeds, 'run')}" in err
        assert out.count(f"mean of {counted(seeds, 'fresh seed')} ") == 3
    assert sorted(runs_of(run)) == [(trial, seed) for trial in FRONT_TRIALS for seed in (43, 44)]
    status, _, err = said("export", run.path, "--at", "10M", "--out", tmp_path / "out")
    assert status == 0 and "was confirmed for its size, over 2 fresh seeds" in err


def test_export_at_a_size_packs_the_best_mean_that_fits(
    run: RunFolder, tmp_path: Path, said: Any
) -> None:
    front = altered(run, {0: 0.7, 1: 0.75, 3: 0.4})
    assert [p and p.candidate.trial for p in map(front.within, (10**7, parameters(0.2)))] == [1, 3]
    out = tmp_path / "small"
    status, _, err = said("export", run.path, "--at", str(parameters(0.5)), "--out", out)
    assert status == 0, err
    assert "trial 1 was confirmed for its size, over 2 fresh seeds" in err, "0 has the better score"
    check_package(out)
    package = read_package(out)
    point = front.point(1)
    assert point and package.config == replace(config_of(0.25), seed=point.representative_seed)
    found = package.metrics.confirmed
    assert found and found.mean == 0.75 and found.seeds == front.seeds
    stored = run.read(confirmed_file(1, point.representative_seed or 0))
    assert (out / WEIGHTS).read_bytes() == stored
    assert "the best confirmed of its size" in (out / "README.md").read_text().splitlines()[0]


def test_where_no_confirmed_network_is_as_small_the_ranking_decides(
    run: RunFolder, tmp_path: Path, said: Any
) -> None:
    found = json.loads(run.read(FRONT))
    found["points"] = found["points"][:1]
    run.write_json(FRONT, found)
    words = ("export", run.path, "--at", str(parameters(0.25)), "--out", tmp_path / "out")
    err = said(*words)[2]
    assert "trial 1 is the first of the ranking with at most" in err


def test_a_larger_network_without_a_better_mean_is_said_to_be_beaten(
    run: RunFolder, said: Any
) -> None:
    altered(run, {0: 0.7, 1: 0.75, 3: 0.4})
    search = read_search(run)
    sized = summary(search, top=3).size_front
    assert [one.is_beaten for one in sized] == [True, False, False]
    assert "mean of 2 fresh seeds 0.7000" in sized[0].confirmed_in_words
    out = said("best", run.path)[1]
    assert out.count("a smaller one is as good") == 1
    rows = json.loads(said("best", run.path, "--json")[1])["size_front"]
    assert [row["mean"] for row in rows] == [0.7, 0.75, 0.4]


def test_a_front_of_before_an_extension_is_not_shown(run: RunFolder) -> None:
    search = read_search(run)
    facts = search.facts.to_dict() | {
        "extensions": [{"session": 2, "time": 0.0, "command": "", "trials": 6}]
    }
    run.write_json(SEARCH, facts)
    again = read_search(run)
    assert again.front is None
    assert not any(one.seeds for one in summary(again, top=3).size_front)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"latency": "soon"}, "latency"),
        ({"representative_seed": 7}, "representative_seed"),
        ({"representative_seed": None}, "representative_seed"),
    ],
)
def test_a_damaged_front_is_refused_by_its_file_and_field(
    run: RunFolder, change: dict[str, Any], where: str
) -> None:
    found = json.loads(run.read(FRONT))
    found["points"][1] |= change
    run.write_json(FRONT, found)
    with pytest.raises(InputError) as caught:
        read_search(run)
    assert FRONT in caught.value.field and where in caught.value.field


def test_a_front_is_asked_for_with_a_number_of_seeds_of_a_search_of_several_widths(
    tmp_path: Path, said: Any
) -> None:
    plain = made_run(tmp_path, 6, 2)
    for flags in (["--front"], ["--front", "--confirm"]):
        status, _, err = said("best", plain.path, *flags)
        assert status == 2 and "--confirm" in err and "number of seeds" in err
    status, _, err = said("best", plain.path, "--front", "--confirm", "2", "--margin", "0.01")
    assert status == 2 and "--margin" in err and "not for --front" in err


def test_the_front_of_a_search_without_widths_is_refused(tmp_path: Path) -> None:
    search: Search = read_search(made_run(tmp_path, 6, 2))
    assert size_front(search.history.ranking(), search.facts.data) == []
    with pytest.raises(InputError, match="several widths"):
        module.choose_front(search, 2)
