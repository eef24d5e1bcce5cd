"""Claim: the default search comes to the answer in fewer epochs than what people use today.

    python -m benchmarks.quality.epochs_to_answer study_grid  # replays; goes on where it was left
    python -m benchmarks.quality.epochs_to_answer default --methods "gp + asha" --workers 1,16
    python -m benchmarks.quality.epochs_to_answer default --methods "random + plain asha"

Recorded learning curves (``benchmarks/replay``) are replayed under the real searchers and
schedulers. The target is the best recorded mean of final validation accuracies, less the noise of
seeds. A search has the answer when its incumbent has reached the target twice: by its own report,
and by the recorded mean of its configuration. Every epoch of every trial is charged.

A search without an answer in its budget counts as censored: it enters the median as later than all
others, shown as "> budget". With a larger ``--budget`` those searches, and only those, are replayed
again and further.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.machine import describe, growing_result
from benchmarks.replay.curve_files import read_curves
from benchmarks.replay.methods import Method, methods
from benchmarks.replay.plan import EPOCHS, SHARES
from benchmarks.replay.recorded import Curves, Noise, Table, by_point, draw, final, runs_of
from benchmarks.replay.search_files import Sample, Samples, read_searches, write_searches
from benchmarks.replay.simulator import Conditions, Moment, Trace, replay
from benchmarks.replay.surrogate import MODELS, TREES_MODEL, Surrogate
from search_spaces import load_space

BUDGETS = tuple(range(30, 601, 30))  # epochs after which the incumbent is looked at
MOST_TRIALS = 1000
RESAMPLES = 2000
LEAST_POINTS = 30
# What `search` does by default, and what it is held against.
DEFAULT = {"study_grid": "gp + asha", "default": "gp + asha, points first"}
RANDOM = "random + plain asha"
BARS = (RANDOM, "stock ray: optunasearch + asha")


def load_curves(name: str, width: str, model: str = TREES_MODEL) -> Curves:
    """What has been recorded of the space ``name`` on a network of this width.

    The noise of seeds is that of all recorded runs. Between the points of a space that is not
    finite stands ``model``.
    """
    noise = Noise(runs_of(read_curves("default", width)))
    runs = runs_of(read_curves(name, width))
    space = load_space(name)
    return Table(space, runs, noise) if space.is_finite else Surrogate(space, runs, noise, model)


def enough_curves(name: str, width: str) -> Curves:
    """What is recorded of a space; ends the program where that is too little to tell."""
    groups = by_point(runs_of(read_curves(name, width)))
    if len(groups) < LEAST_POINTS:
        raise SystemExit(f"{len(groups)} points of {name} are recorded, {LEAST_POINTS} are needed")
    return load_curves(name, width)


def replay_search(
    curves: Curves, method: Method, conditions: Conditions, seed: int, budget: int
) -> Sample:
    """One search: the epochs and the time to its answer, and its regret after each of BUDGETS.

    It ends when it has its answer and all of BUDGETS are past, or when ``budget`` is used up.
    """
    rng = np.random.default_rng([seed, conditions.workers])
    decider = method(curves, seed=seed, trials=MOST_TRIALS, epochs=EPOCHS)
    judgement = Judgement(curves)
    replay(
        decider, lambda number, config: draw(curves, config, rng), conditions, rng,
        epochs=EPOCHS, budget=budget, until=judgement.is_out,
    )  # fmt: skip
    return judgement.found | {"budget": budget}


def replay_until_answered(
    curves: Curves,
    method: Method,
    conditions: Conditions,
    seed: int,
    budget: int,
    sample: Sample | None = None,
) -> Sample:
    """One search, until it has its answer or has used up ``budget``.

    Args:
        sample: what it was found to be before; the same search is replayed further if that had no
            answer yet.
    """
    if sample and (sample["epochs"] is not None or sample["budget"] >= budget):
        return sample
    return replay_search(curves, method, conditions, seed, budget)


class Judgement:
    """When a search has the answer, and how good its incumbent is at every one of BUDGETS."""

    def __init__(self, curves: Curves) -> None:
        self.curves, self.enough = curves, curves.best - curves.noise.floor
        self.epochs: int | None = None
        self.time: float | None = None
        self._best, self._truth = -math.inf, 0.0
        self._track: list[float] = []
        self._judged, self._trials = 0, 0

    def is_out(self, trace: Trace) -> bool:
        """Take in what is new; whether a longer search would change nothing."""
        self._trials = len(trace.configs)
        for moment in trace.moments[self._judged :]:
            self._take_in(moment, trace.configs[moment.number])
        self._judged = len(trace.moments)
        return self.epochs is not None and trace.charged >= BUDGETS[-1]

    def _take_in(self, moment: Moment, config: dict[str, Any]) -> None:
        track = self._track
        while len(track) < len(BUDGETS) and moment.charged > BUDGETS[len(track)]:
            track.append(self._truth)
        if moment.row["best_val_acc"] > self._best:
            self._best = moment.row["best_val_acc"]
            self._truth = final(self.curves.mean(config)[0])
        if self.epochs is None and min(self._best, self._truth) >= self.enough:
            self.epochs, self.time = moment.charged, moment.time

    @property
    def found(self) -> dict[str, Any]:
        """The epochs and the time to the answer, how many trials, the regret at BUDGETS."""
        track = self._track + [self._truth] * (len(BUDGETS) - len(self._track))
        regret = [self.curves.best - truth for truth in track]
        return {"epochs": self.epochs, "time": self.time, "trials": self._trials, "regret": regret}


def judge(curves: Curves, trace: Trace) -> dict[str, Any]:
    """What ``Judgement`` finds of a whole search."""
    judgement = Judgement(curves)
    judgement.is_out(trace)
    return judgement.found


def median_interval(samples: Sequence[float | None], seed: int = 0) -> tuple[float, float, float]:
    """The median and its 95 % bootstrap interval (percentile); None counts as infinite."""
    values = np.array([math.inf if s is None else s for s in samples])
    rng = np.random.default_rng(seed)
    drawn = rng.choice(values, (RESAMPLES, len(values)))
    # Not np.median: the mean of a number and infinity is no median of either.
    medians = np.sort(drawn, axis=1)[:, (len(values) - 1) // 2]
    low, high = np.sort(medians)[[int(0.025 * RESAMPLES), int(0.975 * RESAMPLES)]]
    return float(np.sort(values)[(len(values) - 1) // 2]), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("space", choices=("study_grid", "default"))
    parser.add_argument("--width", choices=SHARES, default="full", help="of the recorded network")
    parser.add_argument("--surrogate", choices=MODELS, default=TREES_MODEL)
    parser.add_argument("--methods", help="names, separated by ';' (all)")
    parser.add_argument("--workers", default="1,4,16,64")
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--budget", type=int, default=BUDGETS[-1])
    arguments = parser.parse_args()
    curves = load_curves(arguments.space, arguments.width, arguments.surrogate)
    able = methods(curves)
    chosen = arguments.methods.split(";") if arguments.methods else list(able)
    if unknown := [name for name in chosen if name not in able]:
        parser.error(f"--methods: {unknown[0]!r} is not one of {'; '.join(able)}")
    facts = describe(space=arguments.space, repetitions=arguments.repetitions)
    recorded = describe_curves(curves)
    part = f"{arguments.space}-{arguments.width}"
    if arguments.surrogate != TREES_MODEL:
        part += f"-{arguments.surrogate}"
    path = growing_result("epochs_to_answer", facts, part, ending="parquet")
    samples: Samples = {}
    if path.exists():
        kept, curves_then = read_searches(path)
        samples = kept if curves_then == recorded else {}  # other curves say nothing about these
    print(f"\n{'method':32}{'workers':>8}{'epochs to the answer':>22}{'95 %':>16}{'missed':>8}")
    for method in chosen:
        for workers in map(int, arguments.workers.split(",")):
            cell = samples.setdefault(method, {}).setdefault(str(workers), [])
            began = time.perf_counter()
            for seed in range(arguments.repetitions):
                before = cell[seed] if seed < len(cell) else None
                conditions = Conditions(workers=workers)
                sample = replay_until_answered(
                    curves, able[method], conditions, seed, arguments.budget, before
                )
                cell[seed : seed + 1] = [sample]
                if sample is not before:  # a cell takes up to an hour, and may be interrupted
                    write_searches(path, samples, BUDGETS, machine=facts, curves=recorded)
            seconds = time.perf_counter() - began
            print(table_row(method, workers, cell) + f"   {seconds:6.1f} s", flush=True)
    grid_epochs = recorded["points"] * EPOCHS if curves.space.is_finite else None
    show_bars(arguments.space, samples, grid_epochs)


def show_bars(space: str, samples: Samples, grid_epochs: float | None) -> dict[str, Any]:
    """Print and return what the default search needs, as a share of what its rivals need.

    With it go the budgets at which its incumbent is worse than that of random + plain ASHA, beyond
    the 95 % interval of the difference.
    """
    ours = DEFAULT[space]
    found: dict[str, Any] = {}
    for workers, cell in samples.get(ours, {}).items():
        middle = median_interval([s["epochs"] for s in cell])[0]
        others = {"recorded grid": (grid_epochs, grid_epochs)} if grid_epochs else {
            other: (median_interval([s["epochs"] for s in samples[other][workers]])[0],
                    censored_at(samples[other][workers]))
            for other in BARS if workers in samples.get(other, {})
        }  # fmt: skip
        row: dict[str, Any] = {}
        for name, (n, least) in others.items() if math.isfinite(middle) else ():
            # Where the other has no answer in its budget, the share is of that: the most it is.
            label, whole = ("", n) if math.isfinite(n) else (" at most", least)
            row[f"of {name}{label}"] = middle / whole
        if workers in samples.get(RANDOM, {}):
            row["worse at"] = worse_budgets(cell, samples[RANDOM][workers])
        found[workers] = row
        shares = ", ".join(f"{v:.2f} {k}" for k, v in row.items() if k != "worse at")
        behind = row.get("worse at", "unknown")
        print(
            f"{ours}, {workers} workers: {shares}; worse than {RANDOM} at {behind or 'no budget'}"
        )
    return found


def censored_at(cell: Sequence[Sample]) -> float:
    """The epochs after which a search without an answer was given up, the fewest."""
    given_up = (s["budget"] for s in cell if s["epochs"] is None)
    return min(given_up, default=math.inf)


def worse_budgets(cell: list[Sample], other: list[Sample]) -> list[int]:
    """The budgets at which the mean regret of ``cell`` is higher than that of ``other``.

    The 95 % bootstrap interval of the difference, seed by seed, does not reach zero there.
    """
    count = min(len(cell), len(other))
    regrets = [np.array([s["regret"] for s in samples[:count]]) for samples in (cell, other)]
    difference = regrets[0] - regrets[1]  # (searches, BUDGETS)
    rows = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    low = np.quantile(difference[rows].mean(axis=1), 0.025, axis=0)
    return [budget for budget, least in zip(BUDGETS, low, strict=True) if least > 0]


def table_row(method: str, workers: int, cell: list[Sample]) -> str:
    """A row of the table."""
    middle, low, high = median_interval([s["epochs"] for s in cell])
    missed = sum(s["epochs"] is None for s in cell)
    least = censored_at(cell)
    shown = [f"> {least:.0f}" if math.isinf(x) else f"{x:.0f}" for x in (middle, low, high)]
    return f"{method:32}{workers:8}{shown[0]:>22}{f'{shown[1]} to {shown[2]}':>16}{missed:8}"


def describe_curves(curves: Curves) -> dict[str, Any]:
    """What was replayed: how many points, the best of them, the noise, the surrogate's errors."""
    facts: dict[str, Any] = {"best": curves.best, "noise_floor": curves.noise.floor,
                             "noise_points": curves.noise.points}  # fmt: skip
    if isinstance(curves, Surrogate):
        facts |= curves.cross_validate()
    elif isinstance(curves, Table):
        facts["points"] = len(curves.points)
    print("\n".join(f"{key:20}{value:.4g}" for key, value in facts.items()))
    return facts


if __name__ == "__main__":
    main()
