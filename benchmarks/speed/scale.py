"""Claim: a search of 10,000 trials is driven as fast, a trial, as one of 1,000.

    python -m benchmarks.speed.scale                    # 100, 1,000 and 10,000 trials
    python -m benchmarks.speed.scale --trials 100,1000  # the quick part

The trials are a stand-in that reports a made-up curve at once, so that all the time is the
driver's. The searcher, the scheduler, the journal, the callbacks and Ray are the real ones. Each
size runs in a process of its own, which starts its own Ray. Prints

- seconds a trial slot: from the first trial's start to the last one's end, over the trials, times
  those that run at once;
- a suggestion's time in the slowest tenth of the search, median and 95th percentile;
- the driver's own memory at its end (resident, less what it shares);
- the time to read the journal of so many trials of 30 epochs into the results table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import psutil
from ray import tune

from analysis.results.search_tables import epochs_table
from benchmarks.machine import ROOT, describe, write_result
from search_spaces import load_space
from vgg6.common.seeds import derive_seed
from vgg6.config import TrialConfig
from vgg6.data import data_facts, load_source, split
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.cluster import connect as cluster
from vgg6.tuning.cluster.allotment import Allotment
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, METRICS
from vgg6.tuning.session import session
from vgg6.tuning.session.session_outcome import COMPLETE
from vgg6.tuning.settings import Settings

EPOCHS, AT_ONCE, READ_EPOCHS = 4, 2, 30
BARS = {"slot_growth": 1.5, "slot_s": 0.14, "suggest_p95_s": 0.05, "memory_gb": 2.0, "read_s": 10.0}


def curve(config: dict[str, Any], epochs: int) -> list[float]:
    """A made-up learning curve: better for some configurations, by a seed from all of them."""
    draw = np.random.default_rng(derive_seed(0, 0, json.dumps(config, sort_keys=True)))
    top = 0.3 + 0.4 * (config["activation"] in ("gelu", "silu")) + 0.2 * draw.random()
    return [float(top * (1 - 0.5 ** (epoch + 1))) for epoch in range(epochs)]


def row(scores: list[float], epoch: int) -> dict[str, Any]:
    """What an epoch reports."""
    rest = dict.fromkeys(METRICS, 0.5)
    score, best = scores[epoch - 1], max(scores[:epoch])
    where = {"epoch": epoch, "best_epoch": 1 + scores.index(best), "node": "n", "pid": 1}
    return rest | where | {"val_acc": score, "best_val_acc": best}


def stand_in(assignment: dict[str, Any], **shared: Any) -> None:
    """Reports its curve at once."""
    scores = curve(assignment["config"], assignment["config"]["epochs"])
    for epoch in range(1, len(scores) + 1):
        tune.report(row(scores, epoch))


def made_search(folder: str, trials: int, epochs: int) -> tuple[RunFolder, session.Plan]:
    """A new search of ``trials`` stand-ins in its folder."""
    source = load_source("digits")
    data = split(source)
    plan = session.Plan(
        Settings(name="scale", trials=trials, epochs=epochs, wandb="disabled"),
        load_space("default"), trials, data, Runtime(device="cpu", precision="fp32", threads=1),
        Allotment(1.0, 0.0, 1, AT_ONCE, "stand-ins"), "disabled",
    )  # fmt: skip
    location = RunFolder(f"{folder}/scale")
    facts = data_facts("digits", source, data, split_seed=42, limit_train=None)
    session.create_run(location, plan, data_facts=facts, command="")
    return location, plan


def run(trials: int) -> dict[str, float]:
    """One search of ``trials`` stand-ins, measured."""
    suggestions: list[float] = []
    suggest = TruthfulSearcher.suggest

    def timed(self: TruthfulSearcher, trial_id: str) -> Any:
        started = time.perf_counter()
        answer = suggest(self, trial_id)
        suggestions.append(time.perf_counter() - started)
        return answer

    TruthfulSearcher.suggest = timed  # type: ignore[method-assign]
    session.train_trial = stand_in  # type: ignore[assignment]
    cluster.quiet_environment()
    with cluster.connected("local", verbose=False), tempfile.TemporaryDirectory() as folder:
        location, plan = made_search(folder, trials, EPOCHS)
        outcome = session.run_session(location, plan)
        memory = psutil.Process().memory_full_info()
        history = read_history(location)
    assert outcome.outcome == COMPLETE, outcome
    ends = [t.ended or 0.0 for t in history.trials.values()]
    # Most trials wait in the middle of a search, and most have ended at its end.
    tenths = np.array_split(suggestions, 10) if trials >= 200 else [np.array(suggestions)]
    return {
        "trials": trials,
        "epochs_run": len(history.arrivals),
        "slot_s": AT_ONCE * (max(ends) - history.trials[0].created) / trials,
        "suggest_median_s": float(max(np.median(tenth) for tenth in tenths)),
        "suggest_p95_s": float(max(np.quantile(tenth, 0.95) for tenth in tenths)),
        "memory_gb": memory.uss / 1e9,
    }


def run_apart(trials: int) -> dict[str, Any]:
    """``run`` in a process and a Ray of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.scale", "--one", str(trials)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read_time(trials: int) -> float:
    """Seconds to read a journal of ``trials`` trials of 30 epochs into the results table."""
    with tempfile.TemporaryDirectory() as folder:
        location, _ = made_search(folder, trials, READ_EPOCHS)
        journal = Journal(location)
        journal.write("session", session="session_1")
        for number in range(trials):
            config = TrialConfig(lr=0.001 + number * 1e-6, epochs=READ_EPOCHS).to_dict()
            journal.write("trial", trial=number, config=config, params={})
            scores = curve(config, READ_EPOCHS)
            for epoch in range(1, READ_EPOCHS + 1):
                journal.write("epoch", trial=number, **row(scores, epoch))
            journal.write("end", trial=number, state=COMPLETED, reason="")
        journal.close()
        started = time.perf_counter()
        table = epochs_table(read_search(location))
        seconds = time.perf_counter() - started
    assert len(table) == trials * READ_EPOCHS
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", default="100,1000,10000")
    parser.add_argument("--one", type=int, help="run one size in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run(arguments.one)))
        return
    sizes = [int(n) for n in arguments.trials.split(",")]
    facts = describe()
    print("\ntrials  slot ms  suggest ms (p95), of the slowest tenth  driver MB", flush=True)
    rows = []
    for trials in sizes:
        found = run_apart(trials)
        rows.append(found)
        print(
            f"{trials:6d}{1000 * found['slot_s']:9.1f}{1000 * found['suggest_median_s']:11.1f}"
            f" ({1000 * found['suggest_p95_s']:.1f}){1000 * found['memory_gb']:11.0f}",
            flush=True,
        )
    read_s = read_time(sizes[-1])
    print(f"reading {sizes[-1]:,} trials of {READ_EPOCHS} epochs: {read_s:.1f} s")
    largest = rows[-1] | {"read_s": read_s}
    if len(rows) > 1:
        largest["slot_growth"] = rows[-1]["slot_s"] / rows[-2]["slot_s"]
    for name, bar in BARS.items():
        if name in largest:
            verdict = "holds" if largest[name] <= bar else "does NOT hold"
            print(f"{name:15}{largest[name]:8.3f}  at most {bar:g}: {verdict}")
    write_result("scale", {"machine": facts, "rows": rows, "read_s": read_s, "bars": BARS})


if __name__ == "__main__":
    main()
