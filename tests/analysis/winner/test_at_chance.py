"""A search in which nothing beat chance says so first, and what to try."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.made.runs import made_run
from support.paths import ROOT

from analysis.confirmation.contest import conclude
from analysis.winner.pareto import pareto_front
from analysis.winner.ranking import beats_chance, summary
from analysis.winner.render_ranking import AT_CHANCE, render
from search_spaces import load_space
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, TrialRecord


def at_chance(run: RunFolder, score: float, trial: int | None = None, **others: float) -> RunFolder:
    """Give each epoch of ``trial``, or of all, this score, and whatever else is named."""
    lines = [json.loads(line) for line in Path(run.file(JOURNAL)).read_text().splitlines()]
    for event in lines:
        if event["event"] == "epoch" and trial in (None, event["trial"]):
            event |= {"val_acc": score, "best_val_acc": score, **others}
    run.write(JOURNAL, "".join(json.dumps(line) + "\n" for line in lines).encode())
    return run


def test_a_search_at_chance_says_so_before_it_names_a_best_one(tmp_path: Path) -> None:
    run = at_chance(made_run(tmp_path, 8, 3), 0.12)  # of 100 validation images
    found = summary(read_search(run), top=3)
    assert not found.beats_chance and found.to_dict()["beats_chance"] is False
    assert found.pareto
    text = render(found)
    assert text.index("No trial beat chance") < text.index("Best on")
    for said in (
        "once in 10",
        "0.1200",
        "lower learning rates",
        "1 of 8 trials diverged",
        "more epochs",
    ):
        assert said in text


def test_the_space_that_is_advised_at_chance_varies_what_is_said_of_it() -> None:
    page = (ROOT / "analysis/report/templates/sections/result.html").read_text()
    for text in (AT_CHANCE, page):
        _, _, named = text.partition("space ")
        (name,) = re.findall(r"such as `(\w+)`", named)
        assert {"init", "norm"} <= set(load_space(name).names)


def test_a_confirmation_at_chance_says_so_whatever_the_search_scored(tmp_path: Path) -> None:
    run = made_run(tmp_path, 8, 3)
    search = read_search(run)
    best = search.history.ranking()[0]
    curve = [replace(row, val_acc=0.11, best_val_acc=0.11) for row in best.curve]
    history = History()
    for number, seed in enumerate((50, 51)):
        rows = {row.epoch: row for row in curve}
        config, params = replace(best.config, seed=seed), {"candidate": best.number, "seed": seed}
        history.trials[number] = TrialRecord(number, config, params, 0.0, rows, COMPLETED)
    confirmed = conclude(history, [best], [50, 51], images=100)
    text = render(summary(replace(search, confirmation=confirmed), top=3))
    assert text.index("No trial beat chance") < text.index("Best on")
    assert "1 mean over fresh seeds is\n0.1100" in text


def test_a_search_that_learns_is_not_said_to_be_at_chance(tmp_path: Path) -> None:
    found = summary(read_search(made_run(tmp_path, 8, 3)), top=3)
    assert found.beats_chance and "beat chance" not in render(found)


def test_a_quick_trial_at_chance_is_on_no_front(tmp_path: Path) -> None:
    run = made_run(tmp_path, 8, 3)
    ended = [t for t in read_search(run).history.ranking() if t.state == COMPLETED]
    last = ended[-1].number
    search = read_search(at_chance(run, 0.11, trial=last, seconds=0.001))
    assert last in [cost.trial for cost in pareto_front(search.history.ranking())]
    front = [cost.trial for cost in summary(search, top=3).pareto]
    assert front and last not in front


@pytest.mark.parametrize(
    ("best", "images", "scores", "is_above"),
    [(0.12, 100, 1, False), (0.12, 10_000, 1, True), (0.15, 500, 1, True),
     (0.15, 500, 10**4, False)],
)  # fmt: skip
def test_more_scores_of_fewer_images_must_be_higher(
    best: float, images: int, scores: int, is_above: bool
) -> None:
    assert beats_chance(best, images, scores) is is_above


def test_best_of_each_says_how_many_epochs_that_trial_ran(tmp_path: Path) -> None:
    run = made_run(tmp_path, 3, 4)  # the third is pruned after an epoch
    found = summary(read_search(run), top=3)
    text = " ".join(render(found).split())
    for best in found.best_by["activation"]:
        length = "1 of 4" if best.best.trial == 2 else "4"
        assert f"{best.value} {best.best.best_val_acc:.4f} ({length})" in text
        assert best.to_dict("activation")["epochs_run"] == (1 if best.best.trial == 2 else 4)
    assert [cost.trial for cost in found.pareto if cost.trial == 2] == []
