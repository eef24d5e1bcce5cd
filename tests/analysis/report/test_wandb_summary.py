"""The W&B run that sums a search up, in real offline files."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.made.runs import made_run
from support.wandb_files import read_runs

from analysis.report.gather_contents import gather
from analysis.report.send_wandb_summary import facts_of
from analysis.report.wandb_summary import WandbSummary
from vgg6.tuning.run.folder import CONFIRMATION, RunFolder
from vgg6.tuning.run.search import read_search
from vgg6.tuning.trackers import journal_mirror

pytestmark = pytest.mark.usefixtures("few_draws")
CONFIRMED = {
    "candidates": [
        {"trial": 0, "config": {}, "mean": 0.81, "sd": 0.01, "low": 0.79, "high": 0.83,
         "search_score": 0.84, "optimism": 0.03, "tied": True, "eliminated_after": None,
         "label": "x", "runs": [{"seed": 43, "val_acc": 0.81, "state": "completed",
                                 "history": [{"epoch": 1, "val_acc": 0.81, "val_loss": 1.0,
                                              "train_acc": 0.8, "train_loss": 1.0,
                                              "best_val_acc": 0.81, "best_epoch": 1, "lr": 0.1,
                                              "seconds": 1.0}]}]}
    ],
    "format": 1, "seeds": [43], "top": 1, "winner": 0, "ties": [0],
    "why": "made up", "representative_seed": 43, "level": 0.95,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return made_run(tmp_path, trials=30, epochs=4)


@pytest.mark.slow
def test_one_offline_run_holds_the_winner_the_table_and_the_figures(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.wandb_summary.FINISH_S", 120.0)
    folder = Path(run.path)
    summary = WandbSummary(run, "offline", folder=folder, project="p", group="made")
    assert summary.finish() == ""
    (found,) = read_runs(folder)
    assert (found.name, found.group, found.project) == ("made summary", "made", "p")
    best = gather(read_search(run)).best
    assert best is not None
    assert found.summary["winner/trial"] == best.winner.in_search.trial
    assert found.summary["winner/search_val_acc"] == best.winner.in_search.best_val_acc
    assert found.config["activation"] == best.winner.config.activation
    figures = {f"report/{name}/path" for name in ("parallel", "curves", "rungs", "pareto")}
    assert figures <= found.summary.keys()
    assert found.summary["trials_table/nrows"] == 30


def test_a_confirmed_winner_is_summed_up_with_its_interval(run: RunFolder) -> None:
    config = gather(read_search(run)).history.trials[0].config
    confirmed = CONFIRMED | {
        "candidates": [CONFIRMED["candidates"][0] | {"config": config.to_dict()}]
    }
    run.write_json(CONFIRMATION, confirmed)
    facts = facts_of(gather(read_search(run)))
    assert facts["winner/trial"] == 0 and facts["winner/mean"] == 0.81
    assert (facts["winner/low"], facts["winner/high"]) == (0.79, 0.83)
    assert facts["winner/optimism"] == 0.03


def test_disabled_starts_nothing(run: RunFolder) -> None:
    summary = WandbSummary(run, "disabled", folder=Path(run.path), project="p", group="g")
    assert summary.finish() == ""
    assert not (Path(run.path) / "wandb.log").exists()


@pytest.mark.slow
def test_the_end_of_a_search_waits_for_it_no_longer_than_for_the_mirror(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert journal_mirror.FINISH_S == 10.0
    monkeypatch.setattr("analysis.report.wandb_summary.FINISH_S", 0.1)
    said = WandbSummary(run, "offline", folder=Path(run.path), project="p", group="made").finish()
    assert "still being written" in said and "sent" not in said and "wandb.log" in said
