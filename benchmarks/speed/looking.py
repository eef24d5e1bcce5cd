"""Claim: to look at a search takes seconds, also where it has 10,000 trials.

    python -m benchmarks.speed.looking                      # all, about five minutes
    python -m benchmarks.speed.looking --runs 1 --made 100  # the quick part

Each command is a process of its own, as a user starts it. Its CPU time and its wall time are
measured so many times, and their medians are printed beside the bar, which is on the wall time.

- The recorded search of ``docs/cifar10-48``: ``status``, ``table``, ``best``, ``insights`` and
  ``report``.
- Made-up searches of 1,000 and 10,000 trials, as the default search writes them: ``status`` and
  ``report``. Their page's size is shown too.
- ``resume``, up to Ray: the folder is read, the rule and the searcher are rebuilt from it, and a
  trial is suggested. It is measured inside a process, without its imports.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import ROOT, SCRIPT, describe, write_result
from search_spaces.unit_cube import suggest_at
from tests.support.made.runs import DATA, search_facts
from vgg6.config import TrialConfig
from vgg6.data import load_source, split
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.algorithms.early_stopping import replay
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.algorithms.rule_of_search import rule_of
from vgg6.tuning.cluster.allotment import Allotment
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.search import check_params, read_search
from vgg6.tuning.run.search_facts import FORMAT, read_facts
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PRUNED
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session import build_searcher
from vgg6.tuning.session.trial_end import settle
from vgg6.tuning.settings import Settings

EPOCHS = 30
WORKERS = 8
BY_MODEL = 2 / 3  # of the trials
EPOCH_S = 9.5
STARTED = 1_790_000_000.0
RECORDED = ROOT / "docs" / "cifar10-48"
BARS = {
    "48": {"status": 1.5, "table": 1.5, "best": 1.5, "insights": 3.0, "report": 5.0},
    "1000": {"report": 15.0},
    "10000": {"status": 2.0, "report": 20.0, "resume": 20.0},
}


def made_search(folder: Path, trials: int, seed: int = 0) -> RunFolder:
    """A search of ``trials`` in the default space, as ``WORKERS`` workers and promotion make it.

    Two in three are said to be a model's. Scores rise with the epochs, to a top that is better for
    some activations and learning rates. One trial in 50 diverges.
    """
    run = RunFolder(str(folder / f"made-{trials}"))
    run.create()
    settings = Settings(name="made", trials=trials, epochs=EPOCHS, data="digits")
    # Of CIFAR-10's size, so that scores differ.
    data = DATA | {"train_images": 45_000, "val_images": 5_000, "limit_train": None}
    facts = search_facts(
        "made", trials, "default", format=FORMAT, settings=settings.to_dict(), data=data
    )
    run.write_json(SEARCH, facts)
    lines = _events(run, settings, trials, np.random.default_rng(seed))
    run.write(JOURNAL, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    return run


def _events(
    run: RunFolder, settings: Settings, trials: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """The journal's events, in the order of their times."""
    space = read_facts(run).space
    rule = rule_of(settings, space, History(), trials)
    assert isinstance(rule, PromotionRule)
    curves: list[MadeCurve] = []
    # When a worker has ended an epoch of which trial; none at its start.
    ends: list[tuple[float, int, int | None]] = [(STARTED, at, None) for at in range(WORKERS)]
    yield {"event": "session", "time": STARTED, "session": "session_1"}
    while ends:
        now, worker, number = heapq.heappop(ends)
        if number is not None:
            curve = curves[number]
            yield curve.next_epoch(number, now, worker, rng)
            if rule.stops(number, curve.epoch, curve.best):
                ended = curve.epoch == EPOCHS
                kind = _end(COMPLETED) if ended else {"event": "pause"}
                yield {"time": now, "trial": number, **kind}
                number = None
        if number is None and (number := rule.promotable()) is not None:
            rule.go_on(number)
            yield {"event": "promotion", "time": now, "trial": number}
        if number is None and len(curves) < trials:
            number = len(curves)
            config = suggest_at(space, rng.random(len(space.names)))
            good = 0.2 * (config["activation"] in ("gelu", "silu"))
            curves.append(MadeCurve(0.45 + good + 0.2 * float(rng.random()), config["lr"]))
            chosen = {"by_model": True} if number > 10 and rng.random() < BY_MODEL else {}
            yield {
                "event": "trial", "time": now, "trial": number, "params": space.params_of(config),
                "config": TrialConfig(epochs=EPOCHS, **config).to_dict(), **chosen,
            }  # fmt: skip
            if number % 50 == 49:
                reason = f"training loss is nan at epoch 1, step {number}: the run diverged"
                yield {"time": now, "trial": number, **_end(INFEASIBLE, reason)}
                rule.end(number)
                number = None
        if number is not None or len(curves) < trials:
            heapq.heappush(ends, (now + EPOCH_S * (number is not None), worker, number))
    for number, curve in enumerate(curves):
        if rule.waits(number):
            reason = f"behind the others at epoch {curve.epoch}"
            yield {"time": now, "trial": number, **_end(PRUNED, reason)}
    yield {"event": "session_end", "time": now, "session": "session_1", "outcome": "complete"}


@dataclass
class MadeCurve:
    """A made-up trial: its scores rise to ``top``."""

    top: float
    lr: float
    epoch: int = 0
    best: float = 0.0
    best_epoch: int = 0

    def next_epoch(
        self, number: int, now: float, worker: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """The event of its next epoch."""
        self.epoch += 1
        score = self.top * (1 - 0.5**self.epoch) + 0.005 * float(rng.random())
        if score > self.best:
            self.best, self.best_epoch = score, self.epoch
        return {
            "event": "epoch", "time": now, "trial": number, "epoch": self.epoch,
            "train_loss": 2.3 / self.epoch, "train_acc": score * 0.98, "val_loss": 2.2 / self.epoch,
            "val_acc": score, "best_val_acc": self.best, "best_epoch": self.best_epoch,
            "lr": self.lr, "seconds": EPOCH_S, "node": f"node{worker // 4}", "pid": 100 + worker,
        }  # fmt: skip


def _end(state: str, reason: str = "") -> dict[str, Any]:
    return {"event": "end", "state": state, "reason": reason}


@dataclass(frozen=True)
class Taken:
    """What a command took: seconds of CPU and of wall time, a pair a run."""

    cpu: list[float]
    wall: list[float]

    def row(self, bar: float | None) -> dict[str, Any]:
        """The medians beside the bar, with all samples."""
        wall = statistics.median(self.wall)
        return {
            "cpu_s": statistics.median(self.cpu), "wall_s": wall, "bar_s": bar,
            "holds": None if bar is None else wall <= bar, "cpu": self.cpu, "wall": self.wall,
        }  # fmt: skip


def timed(words: Sequence[str], runs: int) -> Taken:
    """So many runs of a command, each in a process of its own."""
    cpu, wall = [], []
    for _ in range(runs):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, SCRIPT, *words], cwd=ROOT, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        wall.append(time.perf_counter() - began)
        cpu.append(used.ru_utime + used.ru_stime)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, said.decode()
    return Taken(cpu, wall)


def resumed(run: RunFolder, runs: int) -> Taken:
    """What a resumed search does before it starts a trial, apart from Ray: its folder is read and
    checked, its rule and its searcher are rebuilt, and the searcher suggests."""
    cpu, wall = [], []
    for number in range(runs):
        copy = RunFolder(f"{run.path}-{number}")
        shutil.copytree(run.path, copy.path)
        began, used = time.perf_counter(), time.process_time()
        found = read_search(copy)
        check_params(found)
        settings, history = found.facts.settings, found.history
        trials = found.facts.trials + len(history.begun_again) + 1
        plan = Plan(
            settings, found.space, trials, split(load_source("digits")),
            Runtime(device="cpu", precision="fp32", threads=1),
            Allotment(1.0, 0.0, 1, WORKERS, "made up"), "disabled",
        )  # fmt: skip
        journal = Journal(copy)
        rule = rule_of(settings, found.space, journal.history, trials)
        assert isinstance(rule, PromotionRule)
        settle(copy, journal, replay(rule, journal.history.arrivals), plan.keep, rule)
        assert isinstance(build_searcher(plan, journal, rule).suggest("next"), dict)
        journal.close()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
        shutil.rmtree(copy.path)
    return Taken(cpu, wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each command (default: 5)")
    parser.add_argument("--made", default="1000,10000", help="trials of the made-up searches")
    arguments = parser.parse_args()
    facts = describe(runs=arguments.runs, load=round(os.getloadavg()[0], 1))
    rows: list[dict[str, Any]] = []

    def add(search: str, what: str, taken: Taken, megabytes: float | None = None) -> None:
        row = {"search": search, "command": what, **taken.row(BARS.get(search, {}).get(what))}
        rows.append(row | ({} if megabytes is None else {"page_mb": megabytes}))
        bar = "" if row["bar_s"] is None else f"{row['bar_s']:g}"
        verdict = {None: "", True: "holds", False: "does NOT hold"}[row["holds"]]
        print(
            f"{search:>7}  {what:9}{row['cpu_s']:8.2f}{row['wall_s']:8.2f}{bar:>8}  {verdict}"
            + ("" if megabytes is None else f"  a page of {megabytes:.1f} MB"),
            flush=True,
        )

    print("\n trials  command    CPU s  wall s   bar s", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorded = folder / RECORDED.name
        shutil.copytree(RECORDED, recorded)
        page = folder / "report.html"
        for command in ("status", "table", "best", "insights"):
            add("48", command, timed([command, str(recorded)], arguments.runs))
        add("48", "report", timed(["report", str(recorded), "--out", str(page)], arguments.runs))
        for trials in map(int, arguments.made.split(",")):
            run = made_search(folder, trials)
            add(str(trials), "status", timed(["status", run.path], arguments.runs))
            taken = timed(["report", run.path, "--out", str(page)], arguments.runs)
            add(str(trials), "report", taken, page.stat().st_size / 1e6)
            add(str(trials), "resume", resumed(run, arguments.runs))
    holds = all(row["holds"] is not False for row in rows)
    print("the claim holds" if holds else "the claim does NOT hold")
    write_result("looking", {"machine": facts, "rows": rows, "holds": holds})


if __name__ == "__main__":
    main()
