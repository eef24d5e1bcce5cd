"""A search whose trials pause and are promoted, on a real Ray, killed in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.killed_search import killed_search

from vgg6.data import load_digits, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.algorithms.promotion import UNJUDGED, PromotionRule
from vgg6.tuning.run.folder import JOURNAL, SEARCH
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import COMPLETED, PAUSED, PRUNED, RUNNING
from vgg6.tuning.session.trial_end import KEEP_BYTES

TRIALS, EPOCHS, IMAGES = 11, 5, 100
SPACE = """
name: rates
parameters:
  activation: {choices: [relu]}
  batch_size: {choices: [32]}
  optimizer: {choices: [adam]}
  lr: {low: 1e-5, high: 1e-2, log: true}
fixed: {width: 0.125, norm: batch, dropout: 0.0}
"""
# SIGKILL when a trial that was promoted from the second epoch has run its third.
KILLED = """
import os, signal, sys, tune_vgg6
from vgg6.tuning.session.callbacks import JournalCallback
def die(self, iteration, trials, trial, result, **info):
    hears(self, iteration, trials, trial, result, **info)
    record = self.journal.history.trials[trial.config["number"]]
    if record.promoted_at == 2 and record.epoch == 3: os.kill(os.getpid(), signal.SIGKILL)
hears, JournalCallback.on_trial_result = JournalCallback.on_trial_result, die
sys.exit(tune_vgg6.main(sys.argv[1:]))
"""


def decisions_of(events: list[dict[str, Any]]) -> None:
    """Put a journal's results and promotions to a new rule in their order: it decides the same."""
    rule = PromotionRule(max_t=EPOCHS, grace=1, reduction=2.0, trials=TRIALS)
    running: set[int] = set()
    begun = 0
    for event in events:
        kind, number = event["event"], event.get("trial", -1)
        if kind == "trial":
            assert rule.promotable() is None, "a paused trial goes on before another begins"
            begun += 1
            running.add(number)
        elif kind == "epoch":
            if rule.stops(number, event["epoch"], event["best_val_acc"]):
                running.discard(number)
        elif kind == "pause":
            assert rule.waits(number) and number not in running
        elif kind == "promotion":
            due = rule.promotable()
            assert number == due or (due is None and begun == TRIALS), "or it is a last resort"
            rule.go_on(number)
            running.add(number)
        elif kind == "end":
            assert event["state"] == COMPLETED or rule.waits(number)
            rule.end(number)
    assert begun == TRIALS and not running


@pytest.mark.starts_ray
def test_a_search_with_promotions_goes_on_after_a_kill_and_counts_every_epoch_once(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = (
        "search", "--data", "digits", "--limit-train", str(IMAGES), "--trials", str(TRIALS),
        "--epochs", str(EPOCHS), "--name", "s", "--wandb", "disabled", "--address", "local",
        "--reduction", "2", "--space", "space.yaml", "--searcher", "random",
        "--max-concurrent", "1",
    )  # fmt: skip
    run = killed_search(KILLED, arguments, tmp_path, "s")
    before = read_history(run)
    (promoted,) = [n for n, t in before.trials.items() if t.promoted_at == 2 and t.epoch == 3]
    assert before.trials[promoted].state == RUNNING
    paused = {n for n, t in before.trials.items() if t.state == PAUSED}
    assert paused, "else the kill proves less"
    monkeypatch.chdir(tmp_path)
    status, out, _ = said("status", "s")
    assert status == 0 and f"{len(paused)} paused" in out

    status, _, err = said("resume", "s", "--address", "local")
    assert status == 0, err
    after = read_history(run)
    assert after.repeated_rows == 0 and len(after.trials) == TRIALS
    for trial in after.trials.values():
        assert sorted(trial.rows) == list(range(1, trial.epoch + 1))
        assert trial.state == (COMPLETED if trial.epoch == EPOCHS else PRUNED)
        assert trial.epoch in (1, 2, 4, EPOCHS) and (trial.number >= UNJUDGED or trial.epoch > 1)
    complete = [n for n, t in after.trials.items() if t.state == COMPLETED]
    assert len(complete) >= 2 and promoted in {n for n, t in after.trials.items() if t.epoch >= 4}
    left = [run.names(f"checkpoints/{name}") for name in run.names("checkpoints")]
    assert left and {len(states) for states in left} == {1}, "a last state each, to go on from"
    sizes = [p.stat().st_size for p in Path(run.path, "checkpoints").rglob("*") if p.is_file()]
    assert sum(sizes) <= KEEP_BYTES
    events = [json.loads(line) for line in Path(run.file(JOURNAL)).read_text().splitlines()]
    decisions_of(events)

    # What was promoted, before the kill and after it, is what never paused, to the last bit.
    data = split(load_digits(), limit_train=IMAGES)
    runtime = Runtime(**run.read_json(SEARCH)["runtime"])
    for number in {promoted, complete[-1]}:
        record = after.trials[number]
        assert record.promoted_at > 0
        for metrics in fit(TrainState(record.config, runtime), data, stop_after=record.epoch):
            expected = {k: v for k, v in metrics.to_dict().items() if k != "seconds"}
            assert record.rows[metrics.epoch].metrics.to_dict().items() >= expected.items()
