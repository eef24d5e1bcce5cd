"""Claim: a search of 8 short trials ends within 1.3 times what a bare script on Ray takes for them.

    python -m benchmarks.speed.short_search            # five turns, about eight minutes
    python -m benchmarks.speed.short_search --turns 1  # the quick part

The two take turns. Each is timed from its command to its end, on the same images (``digits``).

- The search is the real command, with its own Ray. It keeps its journal and packs its best.
- The bare script trains the same configurations for as many epochs, by this project's ``fit``. Its
  pool has as many actors as the search, with as many threads. The images are in the object store.

Both must come to the same scores: else they did not do the same work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import ROOT, describe, write_result
from benchmarks.speed.through_ray import search, wait_for_success
from vgg6.common.machine import usable_cpus
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import read_search

BAR = 1.3
TRIALS, EPOCHS, IMAGES = 8, 2, 500
BARE = f"""
import json, sys
import ray
from ray.util import ActorPool
from vgg6.data import load_source, split

work = json.load(sys.stdin)
data = split(load_source("digits"), limit_train={IMAGES})
ray.init(address="local", include_dashboard=False, log_to_driver=False)

@ray.remote(num_cpus=work["runtime"]["threads"])
class Trainer:
    def __init__(self, data):
        self.data = data

    def train(self, config):
        from vgg6.config import TrialConfig
        from vgg6.hardware.runtime import Runtime
        from vgg6.training import TrainState, fit
        state = TrainState(TrialConfig.from_mapping(config), Runtime(**work["runtime"]))
        return [metrics.val_acc for metrics in fit(state, self.data)]

images = ray.put(data)
pool = ActorPool([Trainer.remote(images) for _ in range(work["actors"])])
print(json.dumps(list(pool.map(lambda trainer, config: trainer.train.remote(config),
                               work["configs"]))))
"""


@dataclass(frozen=True)
class Searched:
    """What a search took, in seconds, and what its trials came to.

    ``work``: what the bare script is given; ``scores``: of each trial, in the order of its epochs.
    """

    seconds: float
    work: dict[str, Any]
    scores: list[list[float]]


def searched() -> Searched:
    """The search, from its command to its end."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        wait_for_success(
            search(
                folder, "--data", "digits", "--limit-train", str(IMAGES), "--trials", str(TRIALS),
                "--epochs", str(EPOCHS), "--scheduler", "none", "--wandb", "disabled",
            )
        )  # fmt: skip
        seconds = time.perf_counter() - began
        return Searched(seconds, *work_of(RunFolder(f"{folder}/s")))


def work_of(run: RunFolder) -> tuple[dict[str, Any], list[list[float]]]:
    """What the trials of a finished search computed, and their scores."""
    found = read_search(run)
    trials = [found.history.trials[number] for number in sorted(found.history.trials)]
    runtime = found.facts.runtime.to_dict()
    work = {
        "configs": [trial.config.to_dict() for trial in trials],
        "runtime": runtime,
        "actors": min(len(trials), usable_cpus() // runtime["threads"]),
    }
    return work, [[row.val_acc for row in trial.curve] for trial in trials]


def bare(work: dict[str, Any]) -> tuple[float, list[list[float]]]:
    """Seconds of the bare script for the same work, and its scores."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", BARE], cwd=ROOT, input=json.dumps(work), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    return time.perf_counter() - began, json.loads(done.stdout.splitlines()[-1])


def finding(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The verdict on pairs of seconds: the bare script's, the search's."""
    ratios = [search_s / bare_s for bare_s, search_s in pairs]
    median = statistics.median(ratios)
    return {
        "ratio": median, "spread": [min(ratios), max(ratios)], "bar": BAR, "holds": median <= BAR,
        "pairs": list(pairs),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=5, help="of each (default: 5)")
    arguments = parser.parse_args()
    facts = describe(turns=arguments.turns)
    bare(searched().work)  # what is measured once a machine, such as its fastest threads
    pairs = []
    for _ in range(arguments.turns):
        found = searched()
        alone, scores = bare(found.work)
        assert scores == found.scores, (scores, found.scores)
        pairs.append((alone, found.seconds))
        print(f"the search {found.seconds:.1f} s, the bare script {alone:.1f} s", flush=True)
    result = finding(pairs)
    verdict = "holds" if result["holds"] else "does NOT hold"
    spread = "({:.2f} to {:.2f})".format(*result["spread"])
    print(f"ratio {result['ratio']:.2f} {spread}, at most {BAR:g}: the claim {verdict}")
    write_result("short_search", {"machine": facts, "work": found.work, **result})


if __name__ == "__main__":
    main()
