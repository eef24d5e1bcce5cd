"""Claim: a replay tells the truth: on the curves of a live search it makes that search's decisions.

    python -m benchmarks.quality.live_and_replay                # three searches, an hour on 2 CPUs
    python -m benchmarks.quality.live_and_replay --keep FOLDER  # keeps them, or looks at them

Three real searches of 27 trials run on CIFAR-10, with Ray. The simulator that the other benchmarks
use then replays them on nothing but the curves in their journals:

- gp and asha, one trial at a time. Every suggestion and every promotion depends on all that came
  before it, so one wrong decision would change all later ones.
- The same, with its driver killed twice, by SIGKILL, and resumed.
- random and asha-stop, two at a time. The suggestions are given, and the decisions depend on the
  order in which epochs end. It is replayed twice: with each epoch as long as it was, and with all
  equally long, as in the other benchmarks.

Where a replay lets a trial go on past its last live epoch, the trial is trained to its full length
then and there. Its first epochs must come out as the live ones did, or the program ends.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from benchmarks.machine import SCRIPT, describe, write_result
from benchmarks.replay.deciders import Ours
from benchmarks.replay.recorded import key_of
from benchmarks.replay.simulator import Conditions, Curve, Row, Trace, replay
from search_spaces import load_space
from vgg6.data import TrialData, load_source, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import INFEASIBLE, PAUSED, PRUNED, TrialRecord

DATA, SPACE, TRIALS, EPOCHS, IMAGES, SEED = "cifar10", "wide", 27, 9, 500, 7
# searcher, scheduler, trials at once, CPUs and threads of a trial
SEARCHES = {
    "gp": ("gp", "asha", 1, 1),
    "gp-killed": ("gp", "asha", 1, 1),
    "random": ("random", "asha-stop", 2, 1),
}
KILLED_AT = {"gp-killed": (25, 50)}  # as soon as so many epochs are journaled


def search_arguments(name: str, storage: Path) -> list[str]:
    """The command line of the search of this name."""
    searcher, scheduler, at_once, threads = SEARCHES[name]
    return [
        "search", "--space", SPACE, "--trials", str(TRIALS), "--epochs", str(EPOCHS),
        "--data", DATA, "--limit-train", str(IMAGES), "--searcher", searcher,
        "--scheduler", scheduler, "--seed", str(SEED),
        "--max-concurrent", str(at_once), "--cpus-per-trial", str(threads), "--address", "local",
        "--wandb", "disabled", "--storage", str(storage), "--name", name,
    ]  # fmt: skip


def run_live(name: str, storage: Path) -> History:
    """What the search of this name found; runs it where that has not been done."""
    run = RunFolder(str(storage / name))
    if not run.exists(JOURNAL):
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        arguments = search_arguments(name, storage)
        for epochs in (*KILLED_AT.get(name, ()), None):
            process = subprocess.Popen(
                [sys.executable, SCRIPT, *arguments], env=environment, stdout=subprocess.DEVNULL
            )
            if epochs is not None:
                kill_at(process, run, epochs)
                arguments = ["resume", run.path, "--wandb", "disabled", "--address", "local"]
            elif process.wait():
                raise subprocess.CalledProcessError(process.returncode, process.args)
    return read_history(run)


def kill_at(process: subprocess.Popen[bytes], run: RunFolder, epochs: int) -> None:
    """Kill a search as soon as its journal has so many epochs."""
    while not run.exists(JOURNAL) or len(read_history(run).arrivals) < epochs:
        assert process.poll() is None, f"it ended before {epochs} epochs"
        time.sleep(0.2)
    process.kill()
    process.wait()


class EpochRows(Sequence[Row]):
    """A trial's epochs: those that it had live, and any later ones trained when they are asked for.

    Raises:
        AssertionError: an epoch comes out otherwise than it did live.
    """

    def __init__(self, trial: TrialRecord, data: TrialData, threads: int) -> None:
        self.trial, self.data, self.threads = trial, data, threads
        self.rows = [{**row.to_dict(), "training_iteration": row.epoch} for row in trial.results]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, int) and index >= len(self.rows):
            self._train_on()
        return self.rows[index]

    def _train_on(self) -> None:
        state = TrainState(self.trial.config, Runtime.resolve("cpu", "auto", self.threads))
        for metrics in fit(state, self.data):
            row = metrics.to_dict()
            if row["epoch"] > len(self.rows):
                self.rows.append({**row, "training_iteration": row["epoch"]})
            else:
                lived = self.rows[row["epoch"] - 1]
                assert lived["val_acc"] == row["val_acc"], (self.trial.number, lived, row)


def epoch_seconds(trial: TrialRecord) -> list[float]:
    """How long each epoch of a live trial took, in seconds; the first with the trial's start."""
    times = [trial.created, *(row.time for row in trial.curve)]
    if trial.state == INFEASIBLE and trial.ended is not None:
        times.append(trial.ended)
    seconds = list(np.diff(times))
    return seconds + [float(np.median(seconds))] * (EPOCHS - len(seconds))


def replay_live(
    name: str, history: History, data: TrialData, clock: Callable[[TrialRecord], list[float]]
) -> Trace:
    """The search replayed on its own curves.

    Raises:
        KeyError: the replay suggests a configuration that the live search never had.
    """
    searcher, scheduler, at_once, threads = SEARCHES[name]
    known = {key_of(trial.config.to_dict()): trial for trial in history.trials.values()}

    def curve_of(number: int, config: dict[str, Any]) -> Curve:
        trial = known[key_of(config)]
        return Curve(EpochRows(trial, data, threads), trial.state == INFEASIBLE, clock(trial))

    decider = Ours(
        load_space(SPACE), searcher=searcher, scheduler=scheduler, seed=SEED, trials=TRIALS,
        epochs=EPOCHS,
    )  # fmt: skip
    return replay(
        decider, curve_of, Conditions(workers=at_once), np.random.default_rng(0), epochs=EPOCHS,
        budget=TRIALS * EPOCHS,
    )  # fmt: skip


def compare(history: History, trace: Trace) -> dict[str, Any]:
    """How far the replay is the search: trials with the same configuration, the same last epoch,
    the same end; epochs, the incumbent and its score."""
    reached: dict[int, int] = {}
    for moment in trace.moments:
        reached[moment.number] = moment.row["epoch"]
    trials = history.trials
    best = max(trace.moments, key=lambda m: (m.row["best_val_acc"], -m.number))
    incumbent = history.incumbent
    replayed = {number: key_of(config) for number, config in trace.configs.items()}
    assert incumbent is not None

    def same(number: int) -> bool:
        return number in replayed and replayed[number] == key_of(trials[number].config.to_dict())

    # A trial that still waits when a replay ends is one that the live search then ends.
    ends = {n: PRUNED if state == PAUSED else state for n, state in trace.states.items()}
    return {
        "trials": len(trials),
        "same configuration": sum(same(n) for n in trials),
        "same last epoch": sum(same(n) and reached.get(n, 0) == t.epoch for n, t in trials.items()),
        "same end": sum(same(n) and ends[n] == t.state for n, t in trials.items()),
        "epochs live": sum(t.epoch for t in trials.values()),
        "epochs replayed": len(trace.moments),
        "same incumbent": replayed[best.number] == key_of(incumbent.config.to_dict()),
        "score live": incumbent.best_val_acc,
        "score replayed": best.row["best_val_acc"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keep", type=Path, help="folder of the live searches")
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    arguments = parser.parse_args()
    facts = describe(space=SPACE, trials=TRIALS, epochs=EPOCHS, images=IMAGES)
    data = split(load_source(DATA), limit_train=IMAGES)
    with tempfile.TemporaryDirectory() as scratch:
        storage = arguments.keep or Path(scratch)
        for name in arguments.searches:
            history, rows = run_live(name, storage), []
            for clock, seconds in (("as it was", epoch_seconds), ("all equal", lambda trial: [])):
                trace = replay_live(name, history, data, seconds)
                rows.append({"search": name, "clock": clock} | compare(history, trace))
                print(json.dumps(rows[-1], indent=1), flush=True)
            write_result("live_and_replay", {"machine": facts, "rows": rows}, name)


if __name__ == "__main__":
    main()
