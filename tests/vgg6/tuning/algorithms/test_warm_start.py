"""--warm-start: what a search takes from earlier ones, what it refuses, and what it remembers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from support.made.curves import made_runs
from support.made.runs import DATA, made_run
from support.paths import ROOT

import tune_vgg6
from analysis.report.gather_contents import gather
from analysis.report.page import write_report
from analysis.report.summary_md import render_summary
from benchmarks.quality import warm_start as benchmark
from benchmarks.replay.recorded import Noise, final, runs_of
from benchmarks.replay.surrogate import Surrogate
from search_spaces import Parameter, Space, load_space
from search_spaces.coverage import covers
from vgg6.common.checks import InputError
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.data import load_digits, split
from vgg6.tuning.algorithms.promotion import compared_at
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.algorithms.warm_start import (
    POINTS,
    TOLD,
    TOLD_BEST,
    Earlier,
    WarmStart,
    begin_from,
    held,
    is_whole,
    near,
    read_earlier,
)
from vgg6.tuning.run.folder import SEARCH, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.search_facts import ToldTrial, WarmStartFacts
from vgg6.tuning.run.trials import (
    COMPLETED,
    FAILED,
    INFEASIBLE,
    PRUNED,
    STOPPED,
    TrialRecord,
    scored,
)
from vgg6.tuning.settings import Settings

EPOCHS = 4
ADAM = {"activation": "gelu", "optimizer": "adam", "batch_size": 64, "weight_decay": 1e-4}
DEFAULT = load_space("default")
OWN = len(DEFAULT.points)
SETTINGS = Settings(name="new", epochs=EPOCHS)


def config(epochs: int = EPOCHS, **fields: Any) -> TrialConfig:
    return TrialConfig(epochs=epochs, **{**ADAM, "lr": 1e-3, **fields})


def record(number: int, values: TrialConfig, state: str, *scores: float) -> TrialRecord:
    rows = {e: scored(e, s, s) for e, s in enumerate(scores, start=1)}
    found = TrialRecord(number, values, {}, 0.0, rows=rows, state=state)
    found.reason = "training loss is nan: the run diverged" if state == INFEASIBLE else ""
    return found


def earlier(
    *trials: TrialRecord,
    images: str = "these",
    winner: TrialConfig | None = None,
    space: Space = DEFAULT,
) -> Earlier:
    history = History({t.number: t for t in trials})
    return Earlier("before", "made up", images, space, history, winner)


def full(number: int, score: float, **fields: Any) -> TrialRecord:
    return record(number, config(**fields), COMPLETED, 0.2, 0.3, 0.4, score)


def rates(*lrs: float) -> list[TrialRecord]:
    """Completed trials that differ in their learning rate, each better than the one before."""
    return [full(i, 0.5 + 0.01 * i, lr=lr) for i, lr in enumerate(lrs)]


def test_the_best_come_first_those_that_are_alike_once_and_the_confirmed_winner_before_all() -> (
    None
):
    trials = rates(1e-4, 3e-4, 2e-3, 1e-3, 1.05e-3)
    space, _ = begin_from([earlier(*trials)], DEFAULT, SETTINGS, "these")
    assert [p["lr"] for p in space.points[OWN:]] == [1.05e-3, 2e-3, 3e-4, 1e-4]
    space, _ = begin_from([earlier(*trials, winner=config(lr=3e-4))], DEFAULT, SETTINGS, "these")
    assert [p["lr"] for p in space.points[OWN:]] == [3e-4, 1.05e-3, 2e-3, 1e-4]
    assert space.points[:OWN] == DEFAULT.points, "the space's own points come before"


def test_several_searches_take_turns_and_a_short_search_takes_fewer() -> None:
    some = earlier(*rates(1e-4, 3e-4, 1e-3, 3e-3))
    other = earlier(*[full(t.number, 0.9, lr=t.config.lr, activation="relu")
                      for t in rates(2e-4, 2e-3)])  # fmt: skip
    space, warm = begin_from([some, other], DEFAULT, SETTINGS, "these")
    taken = [(p["activation"], p["lr"]) for p in space.points[OWN:]]
    assert taken == [("gelu", 3e-3), ("relu", 2e-4), ("gelu", 1e-3), ("relu", 2e-3), ("gelu", 3e-4)]
    assert len(taken) == POINTS and [s.points for s in warm.sources] == [3, 2]
    short = Settings(name="new", epochs=EPOCHS, trials=16)
    space, _ = begin_from([some, other], DEFAULT, short, "these")
    assert len(space.points) == 2 + OWN


def test_a_point_that_the_new_space_cannot_hold_is_left_out() -> None:
    trials = [
        full(0, 0.5),
        full(1, 0.9, lr=0.01),  # above Adam's range
        full(2, 0.9, activation="mish"),
        full(3, 0.9, batch_size=96),
    ]
    space, warm = begin_from([earlier(*trials)], DEFAULT, SETTINGS, "these")
    assert warm.sources[0].points == 1 and space.points[OWN]["lr"] == 1e-3
    assert not warm.told, "the one that it holds is run again"


def test_the_spaces_own_points_are_not_run_twice() -> None:
    study_best = {**DEFAULT.points[0], "epochs": EPOCHS}
    near_it, other = (TrialConfig.from_mapping({**study_best, "lr": lr}) for lr in (0.0102, 0.02))
    trials = [
        record(0, near_it, COMPLETED, 0.2, 0.3, 0.4, 0.9),
        record(1, other, COMPLETED, 0.2, 0.3, 0.4, 0.8),
    ]
    space, warm = begin_from([earlier(*trials)], DEFAULT, SETTINGS, "these")
    assert [p["lr"] for p in space.points[OWN:]] == [0.02]
    assert [t.number for t in warm.told] == [0], "it may be told"


def test_a_parameter_that_was_added_has_the_value_that_it_had_before_it_was_one() -> None:
    wide = load_space("wide")
    before = config()
    assert held(before, wide) == {**held(before, DEFAULT), "norm": "none", "dropout": 0.5,  # type: ignore[dict-item]
                                  "label_smoothing": 0.0, "init": "torch", "cutout": 0,
                                  "flip": "random", "sam": 0.0}  # fmt: skip
    assert is_whole(before, wide)


def test_a_parameter_that_was_dropped_is_tried_without_it_and_not_told() -> None:
    trials = [full(0, 0.9, norm="batch"), full(1, 0.8, lr=3e-4, dropout=0.1), full(2, 0.7, lr=1e-4),
              full(3, 0.6, lr=2e-4)]  # fmt: skip
    short = Settings(name="new", epochs=EPOCHS, trials=16)
    space, warm = begin_from([earlier(*trials)], DEFAULT, short, "these")
    assert "norm" not in space.points[OWN] and space.points[OWN]["lr"] == 1e-3
    assert [t.number for t in warm.told] == [2, 3]
    fixed = Space(name="fixed", parameters=DEFAULT.parameters, fixed={"dropout": 0.1})
    _, warm = begin_from([earlier(*trials)], fixed, short, "these")
    assert [t.number for t in warm.told] == [], "of dropout 0.1 there is one, which runs again"


@pytest.mark.parametrize(("images", "epochs"), [("others", EPOCHS), ("these", EPOCHS + 1)])
def test_scores_of_other_images_or_of_another_length_are_never_told(
    images: str, epochs: int
) -> None:
    trials = rates(*np.geomspace(1e-4, 3e-3, 30))
    settings = Settings(name="new", epochs=epochs)
    _, warm = begin_from([earlier(*trials, images=images)], DEFAULT, settings, "these")
    assert warm.told == [] and warm.sources[0].told == 0
    assert warm.sources[0].points == POINTS, "its best are tried all the same"
    _, warm = begin_from([earlier(*trials)], DEFAULT, SETTINGS, "these")
    assert len(warm.told) == 30 - POINTS, "and these are told, but for those that run again"


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({"activation": {"choices": ("relu", "gelu")}}, True),
        ({"activation": {"choices": ("relu", "gelu", "mish")}}, False),
        ({"weight_decay": {"low": 1e-5, "high": 1e-3}}, True),
        ({"weight_decay": {"low": 1e-7, "high": 1e-3}}, False),
        ({"batch_size": {"choices": None, "low": 64, "high": 256}}, False),
    ],
)
def test_only_a_search_that_could_try_all_that_the_new_one_can_is_told(
    changes: dict[str, Any], covered: bool
) -> None:
    """A sampler that has heard of a part only would stay with it."""
    parameters = tuple(
        replace(p, **changes[p.name]) if p.name in changes else p for p in DEFAULT.parameters
    )
    space = Space(name="changed", parameters=parameters)
    trials = rates(*np.geomspace(1e-4, 3e-3, 30))
    _, warm = begin_from([earlier(*trials)], space, SETTINGS, "these")
    assert warm.sources[0].points == POINTS
    assert (len(warm.told), warm.sources[0].why) == (
        (30 - POINTS, "the same images, space and length") if covered else (0, "another space")
    )
    assert covers(DEFAULT, space) == covered
    assert covers(load_space("wide"), DEFAULT) and not covers(DEFAULT, load_space("wide"))
    flat = tuple(p for p in DEFAULT.parameters if p.name != "lr")
    one_rate = Parameter(name="lr", low=1e-3, high=2e-3)
    assert not covers(DEFAULT, Space(name="flat", parameters=(*flat, one_rate)))


@pytest.mark.parametrize(
    ("low", "high", "taken"), [(1e-5, 0.1, True), (1e-5, 0.6, False), (1e-7, 0.1, False)]
)
def test_a_space_under_a_condition_is_covered_where_the_condition_holds(
    low: float, high: float, taken: bool
) -> None:
    """The wide space has weight decay twice: much of it for AdamW, little for all others."""
    wide, decay = load_space("wide"), Parameter(name="weight_decay", low=low, high=high)
    adamw = Space(name="a", parameters=(decay,), fixed={"optimizer": "adamw"})
    assert covers(wide, adamw) == taken
    assert not covers(wide, replace(adamw, fixed={"optimizer": "adam"}))
    both = Parameter(name="optimizer", choices=("adam", "adamw"))
    mild = replace(decay, low=1e-5, high=1e-3)
    assert covers(wide, Space(name="b", parameters=(both, mild)))
    assert not covers(wide, Space(name="b", parameters=(both, replace(mild, high=0.1))))


def test_trials_are_told_as_they_ended_and_what_says_nothing_of_the_configuration_is_not() -> None:
    out_of_memory = record(5, config(lr=1e-4), INFEASIBLE)
    out_of_memory.reason = "out of device memory with 0.25 GPU"
    trials = [
        full(0, 0.9),
        record(1, config(lr=2e-3), PRUNED, 0.2, 0.3),
        record(2, config(lr=2.9e-3), INFEASIBLE, 0.1),
        record(3, config(lr=1e-4), FAILED, 0.1),
        record(4, config(lr=2e-4), STOPPED, 0.8),
        out_of_memory,
        record(6, config(lr=2.8e-3), INFEASIBLE),
    ]
    one = Settings(name="new", epochs=EPOCHS, trials=8)
    space, warm = begin_from([earlier(*trials)], DEFAULT, one, "these")
    assert [t.number for t in warm.told] == [1, 2, 6]
    searcher = build(warm, space)
    told = searcher.study.trials
    assert [t.state for t in told] == [TrialState.PRUNED] * 3
    assert told[0].intermediate_values == {1: 0.2, 2: 0.3} and told[0].params["lr[adam,adamw,nadam]"
                                                                           ] == 2e-3  # fmt: skip
    assert [sum(t.constraints.values()) > 0 for t in told] == [False, True, True]


def test_of_a_long_search_the_best_are_told_and_an_even_sample_of_the_others() -> None:
    rng = np.random.default_rng(0)
    lrs = np.exp(rng.uniform(np.log(1e-4), np.log(3e-3), 1000))
    trials = [full(i, float(rng.random()), lr=float(lr)) for i, lr in enumerate(lrs)]
    space, warm = begin_from([earlier(*trials)], DEFAULT, SETTINGS, "these")
    scores = [t.best_val_acc or 0 for t in warm.told]
    assert len(scores) == TOLD and scores == sorted(scores, reverse=True)
    first = [p["lr"] for p in space.points[OWN:]]
    others = [t.best_val_acc or 0 for t in trials if t.config.lr not in first]
    assert scores[:TOLD_BEST] == sorted(others, reverse=True)[:TOLD_BEST]
    sample = np.mean(scores[TOLD_BEST:])
    assert sample == pytest.approx(np.mean(sorted(others)[:-TOLD_BEST]), abs=0.01)


def build(warm: WarmStart, space: Space, history: Journal | None = None) -> TruthfulSearcher:
    class Unwritten(Journal):
        def __init__(self) -> None:
            self.history = History()

        def write(self, event: str, **facts: Any) -> None:
            self.history.add({"event": event, "time": 0.0, **facts})

    return TruthfulSearcher(
        space, searcher="optuna", seed=3, base={"epochs": EPOCHS, "seed": 42}, limit=40,
        journal=history or Unwritten(), earlier=warm.told, rungs=compared_at(EPOCHS, 1, 4.0),
    )  # fmt: skip


def test_a_resumed_search_suggests_the_same_from_what_it_wrote_down(tmp_path: Path) -> None:
    trials = rates(*np.geomspace(1e-4, 3e-3, 30))
    space, warm = begin_from([earlier(*trials)], DEFAULT, SETTINGS, "these")
    assert warm.facts is not None
    facts = json.loads(json.dumps({"space": space.to_dict(), "warm_start": warm.facts.to_dict()}))
    same_space = Space.from_dict(facts["space"])
    again = WarmStart.from_facts(read_record(WarmStartFacts, facts["warm_start"]), same_space)
    assert (again, same_space) == (warm, space)

    def suggested(start: WarmStart, of: Space) -> list[dict[str, Any]]:
        searcher = build(start, of)
        return [searcher.suggest(str(i))["config"] for i in range(12)]  # type: ignore[index, misc]

    assert suggested(warm, space) == suggested(again, same_space)
    assert suggested(WarmStart(), space)[:7] == suggested(warm, space)[:7], "the points"
    assert suggested(WarmStart(), space)[7:] != suggested(warm, space)[7:], "the told"


def test_a_study_that_is_made_anew_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _, warm = begin_from([earlier(*rates(*np.geomspace(1e-4, 3e-3, 30)))], DEFAULT, SETTINGS,
                         "these")  # fmt: skip
    monkeypatch.setattr("vgg6.tuning.algorithms.told_study.TOLD_MOST", 25)
    searcher = build(warm, DEFAULT)
    first = searcher.study
    for i in range(8):
        assert isinstance(searcher.suggest(str(i)), dict)
    assert searcher.study is not first
    told = [t for t in searcher.study.trials if t.state == TrialState.COMPLETE]
    assert len(told) == len(warm.told)


def test_what_was_told_guides_the_first_suggestion_that_is_sampled() -> None:
    space = Space(
        name="two",
        parameters=(
            Parameter(name="activation", choices=("relu", "gelu", "tanh")),
            Parameter(name="lr", low=1e-4, high=1e-1, log=True),
        ),
        fixed={k: v for k, v in ADAM.items() if k != "activation"},
    )
    rng = np.random.default_rng(0)
    trials = []
    for i in range(45):
        activation, lr = ("relu", "gelu", "tanh")[i % 3], float(10 ** rng.uniform(-4, -1))
        score = 0.8 if activation == "tanh" else 0.3
        trials.append(full(i, score + 0.001 * rng.random(), activation=activation, lr=lr))
    _, warm = begin_from([earlier(*trials, space=space)], space, SETTINGS, "these")
    searcher = build(warm, space)
    chosen = [searcher.suggest(str(i))["config"]["activation"] for i in range(12)]  # type: ignore[index, misc]
    # Four of twelve by chance, with a standard deviation of 1.6.
    assert chosen.count("tanh") >= 9, chosen


@pytest.mark.parametrize(
    ("change", "key", "rule"),
    [
        ({"config": config(lr=0.2)}, "told[0].config", "outside"),
        ({"config": config(norm="batch")}, "told[0].config", "outside"),
        ({"scores": []}, "told[0].scores", "empty"),
    ],
)
def test_a_told_trial_that_cannot_be_one_is_refused(
    change: dict[str, Any], key: str, rule: str
) -> None:
    told = ToldTrial(trial=0, config=config(), state=PRUNED, scores=[0.5])
    assert WarmStart.from_facts(WarmStartFacts(sources=[], told=[told]), DEFAULT).told
    changed = WarmStartFacts(sources=[], told=[told.model_copy(update=change)])
    with pytest.raises(InputError, match=rule) as refusal:
        WarmStart.from_facts(changed, DEFAULT)
    assert key in refusal.value.field


def test_points_are_alike_only_if_no_parameter_tells_them_apart() -> None:
    a = held(config(), DEFAULT)
    assert a is not None and near(a, dict(a), DEFAULT)
    assert near(a, a | {"lr": 1.1e-3}, DEFAULT) and not near(a, a | {"lr": 2e-3}, DEFAULT)
    assert not near(a, a | {"activation": "relu"}, DEFAULT)
    assert not near(a, a | {"batch_size": 128}, DEFAULT)
    sgd = held(config(optimizer="sgd", lr=0.01), DEFAULT)
    assert sgd is not None and not near(a, sgd, DEFAULT)


def test_a_dry_run_says_what_it_would_begin_from_and_the_same_data_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = split(load_digits(), limit_train=300).fingerprint
    run = made_run(tmp_path, trials=30, epochs=2, data=DATA | {"fingerprint": images})
    made_run(tmp_path, trials=30, epochs=2, name="other", seed=1)
    space = tmp_path / "grid.yaml"
    space.write_text("parameters: {activation: {choices: [relu, sigmoid, tanh, silu, gelu]},"
                     " optimizer: {choices: [sgd, adam]}, batch_size: {choices: [64, 128]},"
                     " lr: {choices: [0.01, 0.001]}}")  # fmt: skip
    arguments = ["search", "--data", "digits", "--limit-train", "300", "--epochs", "2", "--space",
                 str(space), "--wandb", "disabled", "--address", "local", "--storage",
                 str(tmp_path), "--dry-run", "--warm-start", "made", "other"]  # fmt: skip
    assert tune_vgg6.main(arguments) == 0
    out = capsys.readouterr().out
    (mine,) = [line for line in out.splitlines() if line.startswith(f"begins from  {run.path} ")]
    assert "3 points first" in mine and "the same images, space and length" in mine
    told = int(mine.split(" trials told")[0].rsplit(" ", 1)[1])
    able = [t for t in read_history(run).trials.values() if t.state != FAILED]
    held_too = [t for t in able if t.config.optimizer in ("sgd", "adam")]
    assert told == len(held_too) - 5, "all but those that are run again"
    assert "other (digits): 2 points first, 0 trials told, other images" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid.yaml", "made", "other"]


def test_a_report_says_what_its_search_began_from_and_shows_it_as_text(tmp_path: Path) -> None:
    source = {"run": "<b>runs/a</b>", "data": "digits", "points": 3, "told": 7, "why": "alike"}
    run = made_run(tmp_path, trials=6, epochs=2, warm_start={"sources": [source], "told": []})
    write_report(gather(read_search(run)), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Begun from &lt;b&gt;runs/a&lt;/b&gt; (digits): 3 points first, 7 trials told" in page
    text = render_summary(gather(read_search(run)), [])
    assert "3 points first, 7 trials told" in text and "<b>" not in text


def test_a_confirmed_winner_is_read_from_the_run_folder(tmp_path: Path) -> None:
    shown = ROOT / "docs" / "cifar10-48"
    (found,) = read_earlier([str(shown)], SETTINGS, DEFAULT)
    confirmed = json.loads((shown / "confirmation.json").read_text())
    assert found.winner == read_history(RunFolder(str(shown))).trials[confirmed["winner"]].config
    shutil.copytree(shown, tmp_path / "unconfirmed")
    (tmp_path / "unconfirmed" / "confirmation.json").unlink()
    (found,) = read_earlier(["unconfirmed"], Settings(name="x", storage=str(tmp_path)), DEFAULT)
    assert found.winner is None and next(found.configs()) == found.history.ranking()[0].config
    facts = RunFolder(str(shown)).read_json(SEARCH)
    settings = Settings(name="x", epochs=facts["settings"]["epochs"])
    _, warm = begin_from([found], DEFAULT, settings, facts["data"]["fingerprint"])
    assert warm.sources[0].points == POINTS and len(warm.told) > 30


@pytest.fixture(scope="module")
def curves() -> Surrogate:
    table = made_runs(160)
    runs = runs_of(table[table["space"] == "default"])
    return Surrogate(DEFAULT, runs, Noise(runs))


def test_on_mirrored_curves_what_was_best_is_bad(curves: Surrogate) -> None:
    mirrored = benchmark.Mirrored(curves)
    both = []
    for run in runs_of(made_runs(60)):
        if held(TrialConfig.from_mapping(run.config), DEFAULT) is None:
            continue
        found = TrialConfig.from_mapping(mirrored.opposite(run.config))
        assert is_whole(found, DEFAULT)
        opposite = found.to_dict()
        names = DEFAULT.parameters[0].choices or ()
        assert names.index(opposite["activation"]) == 4 - names.index(run.config["activation"])
        assert opposite["weight_decay"] * run.config["weight_decay"] == pytest.approx(1e-6 * 3e-3)
        again = mirrored.opposite(opposite)
        assert {k: v for k, v in again.items() if isinstance(v, str)} == {
            k: v for k, v in run.config.items() if isinstance(v, str)
        }
        both.append([final(c.mean(run.config)[0]) for c in (curves, mirrored)])
    assert len(both) > 15
    best = max(both)
    assert best[1] < best[0] - 2 * curves.noise.floor


def test_a_pair_of_replays_differs_only_in_what_the_search_began_from(
    curves: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "TRIALS", 16)
    cold = {}
    for kind, told in (
        ("same", True),
        ("misleading", False),
        ("partly", False),
        ("other length", False),
    ):
        found = benchmark.pair(curves, kind, 0, 2, (30,))
        assert (found["told"] > 0) == told and found["points"] > 0
        cold[kind] = found["cold"]
    assert all(found == cold["same"] for found in cold.values())


def test_the_part_of_a_space_is_a_part_of_it() -> None:
    part = benchmark.part_of(DEFAULT)
    for p, whole in zip(part.parameters, DEFAULT.parameters, strict=True):
        if p.choices is None:
            assert whole.low < p.low < p.high < whole.high  # type: ignore[operator]
        else:
            assert set(p.choices) <= set(whole.choices or ())
    assert len(part.parameters[0].choices or ()) == 4


def test_a_comparison_counts_a_missed_answer_as_later_than_any_other() -> None:
    def sample(cold: int | None, warm: int | None) -> dict[str, Any]:
        return {
            "cold": {"epochs": cold, "regret at 60": 0.02},
            "warm": {"epochs": warm, "regret at 60": 0.01},
        }

    row = benchmark.compare([sample(100, 60), sample(None, 80), sample(None, None)])
    assert row["missed"] == {"cold": 2, "warm": 1}
    assert row["epochs"]["warm"][0] == 80 and row["epochs"]["cold"][0] == float("inf")
    assert row["epochs"]["difference"][0] == -40
    assert row["epochs"]["difference"][2] == 0, "two that missed it do not differ"
    assert row["regret at 60"]["difference"] == pytest.approx((-0.01, -0.01, -0.01))
