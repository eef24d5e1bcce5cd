"""Claim: a search that --stop-margin ends had found what the whole search would have, but for the
margin, and saved its epochs.

    python benchmarks/stopping.py study_grid             # replays on what is recorded of the space
    python benchmarks/stopping.py default --repetitions 20 --workers 1,4

Recorded learning curves (``benchmarks/replay``) are replayed under the real searcher and scheduler,
each search to its end. A rule only looks on, so one replay shows where every rule would have ended
it. A decision is right when the whole search's incumbent is better by no more than the margin: by
its score, as the rule says it, and by the recorded mean curve of its configuration, without the
luck of a seed. ``--patience`` is shown beside it, judged by the smallest margin.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.epochs_to_answer import describe_curves, load_curves
from benchmarks.machine import describe, write_result
from benchmarks.replay.deciders import Ours
from benchmarks.replay.plan import EPOCHS, SHARES
from benchmarks.replay.recorded import Curves, by_point, draw, final, runs_of
from benchmarks.replay.simulator import Conditions, Trace, replay
from benchmarks.replay.table import read_curves
from vgg6.common.intervals import wilson
from vgg6.tuning.run import journal as j
from vgg6.tuning.session.callbacks import StopRule
from vgg6.tuning.session.stopping import MarginRule

MARGINS = (0.002, 0.005, 0.01, 0.02)
PATIENCES = (10, 20, 40)
TRIALS = 64  # as a search has by default
LEAST_POINTS = 30


def enough_curves(name: str, width: str) -> Curves:
    """What is recorded of a space; ends the program where that is too little to tell."""
    groups = by_point(runs_of(read_curves(name, width)))
    if len(groups) < LEAST_POINTS:
        raise SystemExit(f"{len(groups)} points of {name} are recorded, {LEAST_POINTS} are needed")
    return load_curves(name, width)


def rules(first: int, trials: int) -> dict[str, Callable[[j.History], str]]:
    """Every rule by its name: why it would end a search with this history, or nothing."""

    def patient(patience: int) -> Callable[[j.History], str]:
        def reason(history: j.History) -> str:
            rule = StopRule(history, None, patience)
            return rule.reason if rule.stop_all() else ""

        return reason

    margins = {f"margin {m:g}": MarginRule(m, first, trials).reason for m in MARGINS}
    return margins | {f"patience {p}": patient(p) for p in PATIENCES}


def play(
    curves: Curves, searcher: str, scheduler: str, workers: int, seed: int, trials: int = TRIALS
) -> dict[str, Any]:
    """One whole search, and at which epoch each rule would have ended it."""
    rng = np.random.default_rng([seed, workers])
    decider = Ours(
        curves.space, searcher=searcher, scheduler=scheduler, seed=seed, trials=trials,
        epochs=EPOCHS, allowed=curves.allowed,
    )  # fmt: skip
    history = decider.journal.history
    waiting = rules(len(curves.space.points), trials)
    stops: dict[str, dict[str, float]] = {}
    ended = 0

    def standing(trace: Trace) -> dict[str, float]:
        best = history.ranking(first=1)[0]
        truth = final(curves.mean(trace.configs[best.number])[0])
        return {"epochs": trace.charged, "score": best.best_val_acc or 0.0, "truth": truth}

    def look(trace: Trace) -> bool:
        nonlocal ended
        now = sum(t.ended is not None for t in history.trials.values())
        if now > ended:
            ended = now
            for name in [name for name, rule in waiting.items() if rule(history)]:
                del waiting[name]
                stops[name] = standing(trace) | {"trials": now}
        return False

    trace = replay(
        decider, lambda number, config: draw(curves, config, rng),
        Conditions(workers=workers), rng, epochs=EPOCHS, budget=trials * EPOCHS, until=look,
    )  # fmt: skip
    return {"stops": stops, "whole": standing(trace) | {"trials": len(trace.configs)}}


def summary(samples: Sequence[dict[str, Any]], rule: str, margin: float) -> dict[str, Any]:
    """How often a rule ended a search, was right, and what it saved, over whole searches.

    ``saved``: of all epochs of all searches, those that were not run.
    """
    stops = [(s["stops"][rule], s["whole"]) for s in samples if rule in s["stops"]]
    # A search that is not ended early has found what it would have.
    lost = {
        kind: [whole[kind] - stop[kind] for stop, whole in stops] for kind in ("score", "truth")
    }
    epochs = sum(s["whole"]["epochs"] for s in samples)
    spared = sum(whole["epochs"] - stop["epochs"] for stop, whole in stops)
    right = {kind: sum(x <= margin for x in values) for kind, values in lost.items()}
    return {
        "searches": len(samples), "ended_early": len(stops), "right": right,
        "right_share": right["score"] / len(stops) if stops else None,
        "right_95": wilson(right["score"] / len(stops), len(stops)) if stops else None,
        "worst": max(lost["score"], default=0.0), "saved": spared / epochs,
    }  # fmt: skip


def margin_of(rule: str) -> float:
    """By what a rule's decision is judged."""
    kind, _, number = rule.partition(" ")
    return float(number) if kind == "margin" else MARGINS[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("space", choices=("study_grid", "default"))
    parser.add_argument("--width", choices=SHARES, default="full", help="of the recorded network")
    parser.add_argument("--searchers", default="forest,random")
    parser.add_argument("--schedulers", default="asha,none")
    parser.add_argument("--workers", default="1,4")
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--trials", type=int, default=TRIALS)
    arguments = parser.parse_args()
    curves = enough_curves(arguments.space, arguments.width)
    facts = describe(
        space=arguments.space, repetitions=arguments.repetitions, trials=arguments.trials
    )
    recorded = describe_curves(curves)
    rows: list[dict[str, Any]] = []
    samples: dict[str, list[dict[str, Any]]] = {}
    for searcher in arguments.searchers.split(","):
        for scheduler in arguments.schedulers.split(","):
            for workers in map(int, arguments.workers.split(",")):
                name, began = f"{searcher} + {scheduler}, {workers} workers", time.perf_counter()
                samples[name] = cell = [
                    play(curves, searcher, scheduler, workers, seed, arguments.trials)
                    for seed in range(arguments.repetitions)
                ]
                print(f"\n{name}, {time.perf_counter() - began:.0f} s")
                rows += [{"search": name} | row for row in show(cell)]
                write_result(
                    f"stopping_{arguments.space}_{arguments.width}",
                    {"machine": facts, "curves": recorded, "rows": rows, "samples": samples},
                )


def show(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print the table of one kind of search. Returns its rows."""
    print(f"{'rule':16}{'ended early':>13}{'right':>8}{'by truth':>10}{'worst':>9}{'saved':>8}")
    rows = []
    for rule in rules(0, 0):
        row = {"rule": rule} | summary(samples, rule, margin_of(rule))
        counts = f"{row['ended_early']} of {row['searches']}"
        print(
            f"{rule:16}{counts:>13}{row['right']['score']:8}{row['right']['truth']:10}"
            f"{row['worst']:9.4f}{row['saved']:8.0%}",
            flush=True,
        )
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
