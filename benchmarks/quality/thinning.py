"""Claim: a searcher that remembers at most 500 of its ended trials searches as well as one that
remembers them all, and its time for a suggestion stops growing.

    python -m benchmarks.quality.thinning  # 20 seeds of 1,200 trials
    python -m benchmarks.quality.thinning --searcher optuna

The objective is made up, so that thousands of trials cost nothing, but it is shaped like a
search's:

- the default space with its conditions, and an optimum of the learning rate for each optimizer;
- activations and batch sizes that cost a little, and noise;
- a trial in the lower three quarters so far is pruned at the first of its four epochs.

To be harder on the claim than a search is, thinning starts at 400 trials and keeps 200. Both
searchers see the same seeds.
"""

from __future__ import annotations

import argparse
import bisect
import math
import statistics
import tempfile
import time
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.machine import describe, write_result
from benchmarks.replay.deciders import UNKNOWN
from search_spaces import load_space
from vgg6.tuning.algorithms import told_study
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import COMPLETED, PRUNED
from vgg6.tuning.settings import FOLLOWING

EPOCHS, FIRST = 4, 1
BEST_LR = {"sgd": 0.03, "nesterov": 0.04, "adam": 6e-4, "adamw": 8e-4, "nadam": 5e-4,
           "adagrad": 0.012, "rmsprop": 2e-4}  # fmt: skip
COST = {"relu": 0.01, "sigmoid": 0.25, "tanh": 0.04, "silu": 0.005, "gelu": 0.0,
        "sgd": 0.01, "nesterov": 0.0, "adam": 0.02, "adamw": 0.015, "nadam": 0.02,
        "adagrad": 0.05, "rmsprop": 0.03, 64: 0.0, 128: 0.005, 256: 0.015,
        "constant": 0.02, "cosine": 0.005, "onecycle": 0.0}  # fmt: skip


def quality(config: dict[str, Any]) -> float:
    """The made-up accuracy of a configuration, without noise; 0.9 at the best."""
    away = math.log10(config["lr"] / BEST_LR[config["optimizer"]])
    decay = math.log10(config["weight_decay"] / 5e-4)
    names = ("activation", "optimizer", "batch_size", "schedule")
    momentum = config["momentum"]
    inertia = 0.0 if momentum is None or config["optimizer"] == "rmsprop" else momentum - 0.92
    loss = 0.15 * away**2 + 0.01 * decay**2 + 4 * inertia**2 + sum(COST[config[n]] for n in names)
    return max(0.1, 0.9 - loss)


def play(
    searcher_name: str, seed: int, trials: int, *, most: int, kept: int, best: int
) -> tuple[list[float], float, float]:
    """The incumbent's true quality after every trial, the 95th percentile of the last hundred
    suggestions' seconds, and the share of suggestions that are the model's."""
    noise = np.random.default_rng(seed)
    firsts: list[float] = []
    track, times, incumbent = [], [], 0.0
    sizes = patch.multiple(told_study, TOLD_MOST=most, TOLD_KEPT=kept, TOLD_BEST=best)
    with sizes, tempfile.TemporaryDirectory() as folder:
        journal = Journal(RunFolder(folder))
        searcher = TruthfulSearcher(
            load_space("default"),
            searcher=searcher_name,
            seed=seed,
            base={"epochs": EPOCHS, "seed": 1},
            limit=trials,
            journal=journal,
            rungs=[FIRST, EPOCHS],
        )
        for number in range(trials):
            started = time.perf_counter()
            assignment = searcher.suggest(str(number))
            times.append(time.perf_counter() - started)
            assert isinstance(assignment, dict)
            true = quality(assignment["config"])
            seen = true + noise.normal(0, 0.005)
            first = 0.6 * seen
            bisect.insort(firsts, first)
            stays = bisect.bisect(firsts, first) > 0.75 * len(firsts)
            last = EPOCHS if stays else FIRST
            for epoch in range(FIRST, last + 1):
                score = first + (seen - first) * (epoch - FIRST) / (EPOCHS - FIRST)
                row = {"epoch": epoch, "val_acc": score, "best_val_acc": score, "best_epoch": epoch}
                journal.write("epoch", **UNKNOWN | {"trial": number, **row})
                if epoch < last:
                    searcher.on_trial_result(str(number), row)
            searcher.on_trial_complete(str(number), row)
            state = COMPLETED if stays else PRUNED
            journal.write("end", trial=number, state=state, reason="")
            incumbent = max(incumbent, true if stays else 0.0)
            track.append(incumbent)
        by_model = journal.history.by_model / trials
        journal.close()
    return track, float(np.quantile(times[-100:], 0.95)), by_model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--searcher", choices=FOLLOWING, default="gp")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=1200)
    arguments = parser.parse_args()
    facts = describe(**vars(arguments))
    ways = {
        "all": {"most": 10**9, "kept": 10**9, "best": told_study.TOLD_BEST},
        "thinned": {"most": 400, "kept": 200, "best": told_study.TOLD_BEST},
    }
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    by_model: dict[str, list[float]] = {way: [] for way in ways}
    print("\nseed   regret of all   of thinned   suggestion ms: all   thinned", end="")
    print("   by the model: all   thinned", flush=True)
    for seed in range(arguments.seeds):
        for way, sizes in ways.items():
            track, slow, share = play(arguments.searcher, seed, arguments.trials, **sizes)
            found[way].append(track)
            seconds[way].append(slow)
            by_model[way].append(share)
        print(
            f"{seed:4d}{0.9 - found['all'][-1][-1]:16.5f}{0.9 - found['thinned'][-1][-1]:13.5f}"
            f"{1000 * seconds['all'][-1]:21.1f}{1000 * seconds['thinned'][-1]:10.1f}"
            f"{by_model['all'][-1]:20.2f}{by_model['thinned'][-1]:10.2f}",
            flush=True,
        )
    ends = {way: [0.9 - track[-1] for track in tracks] for way, tracks in found.items()}
    worse = [a - b for a, b in zip(ends["thinned"], ends["all"], strict=True)]
    mean, error = statistics.mean(worse), math.inf  # of one seed nothing is known
    if len(worse) > 1:
        error = statistics.stdev(worse) / len(worse) ** 0.5
    holds = mean <= 2 * error
    print(
        f"thinned ends {mean:+.5f} worse, standard error {error:.5f}, of a mean regret of"
        f" {statistics.mean(ends['all']):.5f}: the claim {'holds' if holds else 'does NOT hold'}"
    )
    write_result(
        "thinning",
        {
            "machine": facts,
            "regret": ends,
            "suggestion_p95_s": seconds,
            "by_model": by_model,
            "mean": mean,
            "error": error,
        },
        part=arguments.searcher,
    )


if __name__ == "__main__":
    main()
