"""What a search goes by, from its record: every command ranks by it, and names it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.made.runs import made_run
from support.paths import ROOT
from support.played_search import decisions, new_search, play

from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, BALANCED_ACCURACY, VAL_LOSS, Metric
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.progress import LineSchedule, Standing, _best
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED

OTHERS = [BALANCED_ACCURACY, VAL_LOSS]


@pytest.fixture(params=OTHERS, ids=lambda metric: metric.name)
def metric(request: pytest.FixtureRequest) -> Metric:
    return request.param


def made(folder: Path, metric: Metric, **more: Any) -> RunFolder:
    return made_run(folder, trials=24, epochs=4, metric=metric, **more)


def test_the_ranking_is_the_metrics_and_not_that_of_accuracy(
    tmp_path: Path, metric: Metric
) -> None:
    search = read_search(made(tmp_path, metric))
    ranked = [t for t in search.history.ranking() if t.state == COMPLETED]
    scores = [t.score for t in ranked]
    assert scores == sorted(scores, reverse=not metric.lower_is_better)  # type: ignore[type-var]
    by_accuracy = sorted(ranked, key=lambda t: -max(row.val_acc for row in t.curve))
    assert by_accuracy != ranked
    winner = search.winner
    assert winner and winner.best_epoch == 1, "its accuracy is least there"
    assert winner.best_val_acc == winner.rows[1].val_acc
    everyone = [metric.of(row) for t in search.history.trials.values() for row in t.rows.values()]
    best = min(everyone) if metric.lower_is_better else max(everyone)
    incumbent = search.history.incumbent
    assert incumbent and incumbent.score == best


def test_a_search_of_before_goes_by_accuracy(tmp_path: Path) -> None:
    recorded = read_search(RunFolder(str(ROOT / "docs" / "cifar10-48")))
    assert recorded.metric == ACCURACY and recorded.confirmation
    assert recorded.confirmation.measure == ACCURACY
    first = recorded.history.ranking(1)[0]
    assert first.score == first.best_val_acc
    run = made_run(tmp_path, trials=8, epochs=2)
    facts = json.loads(run.read(SEARCH))
    del facts["settings"]["metric"]
    run.write_json(SEARCH, facts)
    assert read_search(run).metric == ACCURACY


def test_lines_for_people_name_the_metric(tmp_path: Path, metric: Metric, said: Any) -> None:
    run = made(tmp_path, metric)
    history = read_search(run).history
    line = Standing(history, 24, 60.0, 9).line()
    best = history.incumbent
    assert best and f"{metric.column} {best.score:.4f}" in line and "val_acc" not in line
    status, out, _ = said("status", run.path)
    assert status == 0 and f": {metric.column} {best.score:.4f}" in out and "val_acc" not in out
    found = json.loads(said("status", run.path, "--json")[1])
    assert found["metric"] == metric.name and found["incumbent"]["score"] == best.score
    status, out, _ = said("list", "--storage", tmp_path)
    assert status == 0 and re.search(rf"trials +{metric.column} ", out)
    assert f"{best.score:.4f}" in out
    made_run(tmp_path, trials=4, epochs=1, name="by accuracy")
    status, out, _ = said("list", "--storage", tmp_path)
    assert f"{metric.column} {best.score:.4f}" in out and "val_acc 0." in out


def test_a_better_trial_is_said_at_once_whichever_way_is_better(
    tmp_path: Path, metric: Metric
) -> None:
    history = read_search(made(tmp_path, metric)).history
    schedule = LineSchedule(0.0, None)
    assert schedule.is_due(1.0, _best(history))
    worse = max(history.trials.values(), key=lambda t: -t.gain if t.score is not None else 0)
    history.trials = {worse.number: worse}
    assert not schedule.is_due(2.0, _best(history)), "another trial that is worse is no news"


def test_best_shows_and_gives_the_metric(tmp_path: Path, metric: Metric, said: Any) -> None:
    run = made(tmp_path, metric)
    status, out, _ = said("best", run.path)
    winner = read_search(run).winner
    assert status == 0 and winner
    assert f"{metric.column} {winner.score:.4f} at epoch 1" in out
    assert f"val_acc {winner.best_val_acc:.4f} in that epoch" in out
    assert re.search(rf"rank +trial +configuration +{metric.column} +epoch", out)
    assert f"the best by {metric.label} for their" in out and "the most accurate" not in out
    found = json.loads(said("best", run.path, "--json")[1])
    assert found["metric"] == metric.name
    assert found["winner"]["score"] == winner.score != found["winner"]["best_val_acc"]
    assert f"--metric {metric.name}" in found["winner"]["train_command"]
    assert [row["score"] for row in found["pareto"]] == sorted(
        (row["score"] for row in found["pareto"]), reverse=not metric.lower_is_better
    )


def test_tables_have_the_best_score_under_its_own_name(
    tmp_path: Path, metric: Metric, said: Any
) -> None:
    run = made(tmp_path, metric)
    for what in ((), ("--trials",)):
        out = tmp_path / "t.csv"
        assert said("table", run.path, *what, "--out", out)[0] == 0
        table = pd.read_csv(out)
        assert metric.best_column in table
        record = read_search(run).history.trials[3]
        assert table[table.trial == 3][metric.best_column].iloc[-1] == record.score
    plain = tmp_path / "plain.csv"
    said("table", made_run(tmp_path, 4, 2, name="plain").path, "--out", plain)
    assert "best_val_loss" not in pd.read_csv(plain)


def test_insights_find_the_same_whichever_way_is_better(
    tmp_path: Path, metric: Metric, said: Any, few_draws: None
) -> None:
    run = made(tmp_path, metric)
    status, out, _ = said("insights", run.path)
    assert status == 0 and f"by {metric.column}" in out.splitlines()[0]
    assert f"difference of {metric.column}" in out
    found = json.loads(said("insights", run.path, "--json")[1])
    assert found["metric"] == metric.name
    layout = found["interaction"]
    assert f"mean_{metric.column}" in layout and "mean_val_acc" not in layout
    from analysis.insights.comparable_scores import standings
    from analysis.results.search_tables import tables_of

    search = read_search(run)
    standing = standings(tables_of(search))
    winner = search.winner
    assert winner and standing[winner.number] == 1.0


def test_the_report_names_the_metric_in_every_figure_of_scores(
    tmp_path: Path, metric: Metric, said: Any, few_draws: None
) -> None:
    from analysis.report.figure_titles import figure_titles
    from analysis.report.gather_contents import gather
    from analysis.report.page import page_parts

    contents = gather(read_search(made(tmp_path, metric)))
    parts = page_parts(contents)
    for name, title in figure_titles(contents).items():
        assert "idation accuracy" not in title.replace("alanced validation accuracy", ""), name
    drawn = contents.figures
    for name in ("progress", "pareto"):
        assert drawn[name].layout.yaxis.title.text == metric.axis
    best_so_far = next(t for t in drawn["progress"].data if t.name == "best so far")
    assert list(best_so_far.y) == sorted(best_so_far.y, reverse=metric.lower_is_better)
    shown = "".join(parts.sections.values())
    assert metric.label in shown and f">{metric.column}<" in shown
    assert ">val_acc<" not in shown
    best = max(parts.trial_data, key=lambda row: row[3])
    incumbent = contents.history.incumbent
    assert incumbent and best[2] == incumbent.score


def test_the_study_is_refused_and_so_is_a_search_of_another_metric(
    tmp_path: Path, metric: Metric, said: Any
) -> None:
    run = made(tmp_path, metric)
    status, _, err = said("report", run.path, "--study", "--out", tmp_path / "r.html")
    assert status == 2 and "--study" in err and metric.name in err
    plain = made_run(tmp_path, 24, 4, name="plain")
    status, _, err = said(
        "report", plain.path, "--study", "--also", run.path, "--out", tmp_path / "r.html"
    )
    assert status == 2 and "--also" in err and metric.name in err and "accuracy" in err
    status, _, err = said(
        "search", "--data", "digits", "--warm-start", run.path, "--name", "next",
        "--storage", tmp_path / "new", "--dry-run",
    )  # fmt: skip
    assert status == 2 and "--warm-start" in err
    assert f"goes by {metric.name}, and this search by accuracy" in err


def test_an_unknown_metric_is_refused_before_anything_starts(tmp_path: Path, said: Any) -> None:
    status, _, err = said("search", "--metric", "balanced", "--storage", tmp_path)
    assert status == 2 and "--metric: 'balanced'" in err
    assert "did you mean 'balanced_accuracy'?" in err
    status, _, err = said("train", "--metric", "loss", "--out", tmp_path / "t")
    assert status == 2 and "did you mean 'val_loss'?" in err


@pytest.mark.parametrize(
    ("where", "field", "value", "rule"),
    [
        (VAL_LOSS, "best_score", None, "best_score.*is missing"),
        (VAL_LOSS, "best_score", "x", "best_score"),
        (BALANCED_ACCURACY, "val_balanced_acc", None, "val_balanced_acc.*is missing"),
        (BALANCED_ACCURACY, "val_balanced_acc", 1.5, r"val_balanced_acc: 1.5 is not in \[0, 1\]"),
    ],
)
def test_a_row_without_the_metric_of_its_search_is_named(
    tmp_path: Path, where: Metric, field: str, value: Any, rule: str
) -> None:
    run = made(tmp_path, where)
    lines = [json.loads(line) for line in run.read(JOURNAL).splitlines()]
    row = next(line for line in lines if line["event"] == "epoch")
    del row[field]
    if value is not None:
        row[field] = value
    run.write(JOURNAL, "".join(json.dumps(line) + "\n" for line in lines).encode())
    with pytest.raises(InputError, match=rule):
        read_search(run)


def loss(config: TrialConfig, epoch: int) -> float:
    """Falls with the epochs, to a depth of the configuration's own; one trial goes astray."""
    depth = 0.2 + 0.5 * abs(math.log10(config.lr / 0.01))
    return round(5000.0 if config.lr < 1e-4 else depth + 2.0 * math.exp(-epoch), 6)


@pytest.mark.parametrize("scheduler", ["asha", "asha-stop", "median"])
def test_trials_of_the_least_loss_go_on_and_the_others_are_stopped(
    tmp_path: Path, scheduler: str
) -> None:
    run = new_search(
        tmp_path, "s", trials=24, epochs=8, scheduler=scheduler, searcher="random",
        metric="val_loss",
    )  # fmt: skip
    search = play(run, loss)
    whole = [t.score for t in search.history.trials.values() if t.state == COMPLETED]
    first = [loss(t.config, 8) for t in search.history.trials.values()]
    assert len(whole) < 20, "some were stopped"
    assert min(whole) == min(first), "the best of all was trained to the end"
    assert sorted(first).index(max(whole)) <= 16, "and the worst were not"  # type: ignore[arg-type]
    assert search.winner and search.winner.score == min(first)


def test_a_model_searches_for_the_least_loss_and_a_resume_goes_on_alike(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"trials": 30, "epochs": 4, "searcher": "gp", "metric": "val_loss"}
    whole = play(new_search(tmp_path, "whole", **asked), loss)
    by_model = [t for t in whole.history.trials.values() if t.by_model]
    even = [t for t in whole.history.trials.values() if not t.by_model]
    at_one = [loss(t.config, 1) for t in by_model], [loss(t.config, 1) for t in even]
    assert len(by_model) >= 5
    assert sorted(at_one[0])[len(by_model) // 2] < sorted(at_one[1])[len(even) // 2]
    run = new_search(tmp_path, "again", **asked)
    play(run, loss, killed_after=25)
    play(run, loss)
    assert decisions(run)[-8:] == decisions(whole.folder)[-8:]
