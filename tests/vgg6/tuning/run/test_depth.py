"""How far trials were trained, and when a ranking rests on too few of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run
from support.paths import NARROW

from cli.main import build_parser
from cli.search import finish, read_settings
from vgg6.tuning.algorithms.early_stopping import expected_trials
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.training_depth import expected_in_words, in_words, pruned_after, rests_on_few
from vgg6.tuning.session.session_outcome import COMPLETE, Outcome
from vgg6.tuning.settings import Settings

EPOCHS = 6


def run_of(folder: Path, ends: Sequence[tuple[int, str]], **facts: Any) -> RunFolder:
    """A search of which each trial ended after so many epochs, in this state."""
    run = made_run(folder, trials=len(ends), epochs=EPOCHS, name="lottery", **facts)
    template = next(e for e in events(run) if e["event"] == "epoch")
    made = [e for e in events(run) if e["event"] != "epoch" and e["event"] != "end"]
    last = made.pop()
    for number, (epochs, state) in enumerate(ends):
        for epoch in range(1, epochs + 1):
            score = round(0.5 + 0.01 * epoch + 0.001 * number, 4)
            seen = {"epoch": epoch, "val_acc": score, "best_val_acc": score, "best_epoch": epoch}
            made.append(template | seen | {"trial": number})
        made.append({"event": "end", "time": last["time"], "trial": number, "state": state,
                     "reason": ""})  # fmt: skip
    run.write(JOURNAL, "".join(json.dumps(e) + "\n" for e in [*made, last]).encode())
    return run


def events(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.read(JOURNAL).splitlines()]


LOTTERY = [(EPOCHS, "completed")] + [(1, "pruned")] * 7


def test_the_lottery_of_the_issue_is_told_as_what_it_is(tmp_path: Path) -> None:
    history = read_history(run_of(tmp_path, LOTTERY))
    assert in_words(history) == ("of 8 trials, 7 ended after epoch 1, 1 was trained to the end")
    assert rests_on_few(history) == "the ranking rests on 1 complete trial, and may be chance"


@pytest.mark.parametrize(
    ("ends", "words"),
    [([(6, "completed")] * 3, "each was trained to the end"),
     ([(2, "stopped"), (6, "completed")],
      "of 2 trials, 1 ended with the search, 1 was trained to the end"),
     ([(0, "failed"), (1, "infeasible"), (3, "pruned")],
      "of 3 trials, 1 ended after epoch 3, 2 diverged or crashed, none was trained to the end"),
     ([(1, "pruned"), (2, "pruned"), (3, "pruned"), (4, "pruned"), (5, "pruned")],
      "of 5 trials, 1 ended after epoch 1, 2 ended after epoch 2 to 3, 2 ended after epoch 4 to 7,"
      " none was trained to the end")],
)  # fmt: skip
def test_every_end_is_counted_once(tmp_path: Path, ends: list[tuple[int, str]], words: str) -> None:
    assert in_words(read_history(run_of(tmp_path, ends))) == words


@pytest.mark.parametrize(
    ("complete", "pruned", "warned"),
    [(1, 7, True), (2, 7, True), (0, 3, True), (3, 60, False), (1, 0, False), (2, 0, False)],
)
def test_a_ranking_on_one_or_two_complete_trials_is_warned_of(
    tmp_path: Path, complete: int, pruned: int, warned: bool
) -> None:
    ends = [(EPOCHS, "completed")] * complete + [(1, "pruned")] * pruned
    assert bool(rests_on_few(read_history(run_of(tmp_path, ends)))) == warned


def test_a_plan_says_how_many_trials_go_on_after_each_rung() -> None:
    plan = {"epochs": 6, "grace": 1, "reduction": 4.0, "trials": 8}
    running = expected_trials("asha-stop", **plan, whole=1)  # type: ignore[arg-type]
    assert expected_in_words(running.tolist()) == (
        "of 8 trials about so many go on: 4 after epoch 1, 3 after epoch 2, 2 after epoch 4,"
        " to the end"
    )
    promoted = expected_trials("asha", **plan | {"trials": 40})  # type: ignore[arg-type]
    assert expected_in_words(promoted.tolist()) == (
        "of 40 trials about so many go on: 10 after epoch 1, 3 after epoch 4, to the end"
    )
    none = expected_trials("none", **plan)  # type: ignore[arg-type]
    assert expected_in_words(none.tolist()) == "all to the end"


def test_the_end_of_a_search_and_its_status_say_how_far_its_trials_were_trained(
    tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path, LOTTERY)
    monkeypatch.setattr("analysis.winner.export.export_best", lambda *_, **__: None)
    settings = Settings(name="lottery", storage=str(tmp_path), wandb="disabled", epochs=EPOCHS)
    finish(run, Outcome(COMPLETE, "all 8 trials ended", [], 0.0), settings, "")
    out = capsys.readouterr().out
    assert "all 8 trials ended: of 8 trials, 7 ended after epoch 1" in out
    assert "warning: the ranking rests on 1 complete trial" in out
    (safer,) = [line for line in out.splitlines() if "train all" in line]
    words = shlex.split(safer.partition("tune_vgg6.py ")[2])
    assert read_settings(build_parser().parse_args(words)).scheduler == "none"
    _, shown, _ = said("status", "lottery", "--storage", tmp_path)
    assert "trained   of 8 trials, 7 ended after epoch 1" in shown
    _, as_json, _ = said("status", "lottery", "--storage", tmp_path, "--json")
    assert json.loads(as_json)["pruned_after"] == {"1": 7}
    assert pruned_after(read_history(run)) == {1: 7}


@pytest.mark.parametrize(
    ("scheduler", "warned"), [("asha-stop", True), ("asha", False), ("none", False)]
)
def test_a_dry_run_warns_of_a_ranking_on_one_or_two_complete_trials(
    tmp_path: Path, said: Any, scheduler: str, warned: bool
) -> None:
    arguments = "search --data digits --limit-train 100 --trials 8 --epochs 6 --cpus-per-trial 1"
    status, out, err = said(
        *arguments.split(), "--dry-run", "--address", "local", "--scheduler", scheduler,
        "--storage", tmp_path, "--space", NARROW,
    )  # fmt: skip
    assert status == 0, err
    assert ("warning: the ranking would rest on one or two complete trials" in out) == warned
    assert ("trained      all to the end" in out) == (scheduler == "none")
    if warned:
        assert "--scheduler none" in out and "--dry-run" not in out.split("safer answer")[1]
