"""Claim: a search that is hurt without pause for half an hour ends with every trial accounted for
and every (trial, epoch) once.

    python -m benchmarks.soak                          # about 30 minutes on 2 CPUs
    python -m benchmarks.soak --minutes 3 --trials 40  # a look

A real search on the embedded digits runs on a real cluster of a head and two workers on this host.
A seeded loop hurts it. It kills and freezes workers. It ends the driver by SIGKILL, SIGTERM or
SIGINT and resumes it. It kills a node, and another one replaces it. After ``--minutes`` the search
is left alone until it ends.

Prints the faults, the epochs that were trained in part and again, and the seconds lost. A fault's
lost seconds are those to the next epoch of each trial that it met, less what an epoch takes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from benchmarks.machine import SCRIPT, describe, write_result
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import JOURNAL, read_history
from vgg6.tuning.run.trials import FAILED, RUNNING

# Kinds of fault and how often each is drawn.
FAULTS = {"worker killed": 5, "worker frozen": 2, "driver SIGKILL": 2, "driver SIGTERM": 1,
          "driver SIGINT": 1, "node killed": 2}  # fmt: skip
BETWEEN_S = (8.0, 25.0)  # pause between two faults
ENDING_S = 120.0  # within which a driver must have followed a signal


class Soak:
    """A cluster, a search on it, and the faults that were put into both."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder, self.random = folder, random.Random(arguments.seed)
        self.run = RunFolder(str(folder / "runs" / "soak"))
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.addresses = iter(range(2, 250))
        self.nodes = [self._add_node() for _ in range(2)]
        self.faults: list[dict[str, Any]] = []
        self.sessions = 0
        self.driver = self._start(
            "search", "--data", "digits", "--limit-train", "640", "--trials", str(arguments.trials),
            "--epochs", "8", "--name", "soak", "--wandb", "disabled",
            "--seed", str(arguments.seed),
        )  # fmt: skip

    def _add_node(self) -> Any:
        """Each worker has a loopback address of its own."""
        address = f"127.0.0.{next(self.addresses)}"
        return self.cluster.add_node(num_cpus=1, node_ip_address=address)

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        self.sessions += 1
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        with open(self.folder / "messages", "a") as messages:
            return subprocess.Popen(
                [sys.executable, SCRIPT, *arguments, "--address", self.cluster.address],
                cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=messages,
                text=True,
            )  # fmt: skip

    def hurt(self) -> None:
        """One fault of a drawn kind, and what a person would do about it."""
        kind = self.random.choices(list(FAULTS), list(FAULTS.values()))[0]
        fault = {"kind": kind, "time": time.time(), "trials": self._running()}
        if kind.startswith("worker"):
            workers = self._workers()
            if not workers:
                return
            worker = self.random.choice(workers)
            fault["trials"] = self._trials_of(pid=worker.pid)
            worker.send_signal(signal.SIGKILL if kind == "worker killed" else signal.SIGSTOP)
        elif kind == "node killed":
            node = self.nodes.pop(self.random.randrange(len(self.nodes)))
            fault["trials"] = self._trials_of(node=node.node_ip_address)
            os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self._add_node())
        else:
            self.driver.send_signal(getattr(signal, kind.split()[1]))
            fault["exit"] = self.driver.wait(ENDING_S)
            self.driver = self._start("resume", "soak")
        self.faults.append(fault)
        print(f"{len(self.faults):4} {kind}", flush=True)

    def _running(self) -> list[int]:
        trials = read_history(self.run).trials.values()
        return [t.number for t in trials if t.state == RUNNING]

    def _trials_of(self, **where: Any) -> list[int]:
        """The trials of a process or node; one without an epoch has not told where it is yet."""
        trials = read_history(self.run).trials.values()
        running = [t for t in trials if t.state == RUNNING]
        told = [
            t for t in running if t.rows and all(getattr(t.last, k) == v for k, v in where.items())
        ]
        return [t.number for t in told] or [t.number for t in running if not t.rows][:1]

    def _workers(self) -> list[psutil.Process]:
        """The processes below this cluster's raylets that hold a trial."""
        found = []
        for node in self.nodes:
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            for process in raylet.children(recursive=True):
                try:
                    if "ImplicitFunc" in " ".join(process.cmdline()):
                        found.append(process)
                except psutil.NoSuchProcess:
                    continue
        return found

    def started(self) -> bool:
        return self.run.exists(JOURNAL) and bool(read_history(self.run).arrivals)

    def end(self) -> None:
        """Leave the search alone until it ends, then end the cluster."""
        while (status := self.driver.wait()) != 0:
            if self.sessions > 2 * len(self.faults) + 5:
                raise RuntimeError(f"the driver ends with {status}: see {self.folder}/messages")
            self.driver = self._start("resume", "soak")
        self.cluster.shutdown()


def lost_seconds(fault: dict[str, Any], history: History, usual: float) -> list[float]:
    """For each trial that a fault met: how long it got no further, less an epoch's usual time."""
    waits = []
    for number in fault["trials"]:
        trial = history.trials[number]
        times = [row.time for row in trial.rows.values()] + [trial.ended or 0.0]
        later = [t for t in times if t > fault["time"]]
        if later:
            waits.append(max(0.0, min(later) - fault["time"] - usual))
    return waits


def by_kind(faults: list[dict[str, Any]], history: History, usual: float) -> dict[str, Any]:
    """What each kind of fault cost. An epoch under way ends with its process: it is begun again."""
    table = {}
    for kind in FAULTS:
        met = [fault for fault in faults if fault["kind"] == kind]
        waits = [seconds for fault in met for seconds in lost_seconds(fault, history, usual)]
        table[kind] = {
            "faults": len(met),
            "epochs_begun_again": len(waits),
            "lost_s": round(sum(waits), 1),
            "lost_s_median": round(statistics.median(waits or [0.0]), 1),
            "lost_s_max": round(max(waits, default=0.0), 1),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of chaos (30)")
    parser.add_argument("--trials", type=int, default=220)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the run is kept; default: nowhere")
    arguments = parser.parse_args()
    facts = describe(seed=arguments.seed)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    soak = Soak(folder, arguments)
    while not soak.started():
        time.sleep(0.5)
    chaos_began = time.monotonic()
    while time.monotonic() - chaos_began < 60 * arguments.minutes:
        time.sleep(soak.random.uniform(*BETWEEN_S))
        if soak.driver.poll() == 0:
            break
        if soak.driver.poll() is not None:  # it ended by itself: the cluster was lost under it
            soak.driver = soak._start("resume", "soak")
        elif soak.started():
            soak.hurt()
    chaos_minutes = (time.monotonic() - chaos_began) / 60
    soak.end()
    minutes = (time.monotonic() - began) / 60

    history = read_history(soak.run)
    trials = history.trials.values()
    rows = [row for t in trials for row in t.rows.values()]
    usual = statistics.median(row.seconds for row in rows)
    table = by_kind(soak.faults, history, usual)
    again = sum(row["epochs_begun_again"] for row in table.values())
    lost = sum(row["lost_s"] for row in table.values())
    states = Counter(t.state for t in trials)
    gaps = [t.number for t in trials if sorted(t.rows) != list(range(1, t.epoch + 1))]
    unended = states[RUNNING] + states[FAILED]
    whole = len(trials) == arguments.trials and not unended
    holds = whole and not gaps and history.repeated_rows == 0
    for kind, row in table.items():
        print(f"{kind:15} {row}")
    print(f"{len(soak.faults)} faults in {chaos_minutes:.0f} minutes, {soak.sessions} drivers")
    print(f"{again} epochs begun again, {lost:.0f} trial-seconds lost")
    print(f"trials {dict(states)}; {len(rows)} epochs, each of {usual:.1f} s")
    print(f"epochs counted twice {history.repeated_rows}, gaps {len(gaps)}")
    print("the claim holds" if holds else "the claim does NOT hold")
    found = {
        "faults": len(soak.faults), "chaos_minutes": round(chaos_minutes, 1),
        "minutes": round(minutes, 1), "drivers": soak.sessions,
        "epochs_begun_again": again, "lost_s": round(lost, 1), "by_kind": table,
        "trials": dict(states), "epochs": len(rows), "epoch_s_median": round(usual, 2),
        "epochs_counted_twice": history.repeated_rows, "torn_lines": history.torn_lines,
        "gaps": gaps, "holds": holds,
    }  # fmt: skip
    write_result("soak", {"machine": facts, **found})
    if not holds:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
