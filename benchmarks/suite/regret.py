"""Claim: the default search does well on problems that it was not made on.

    LCBENCH_SUITE=FOLDER python -m benchmarks.suite.regret              # goes on where it was left
    python -m benchmarks.suite.regret --role claim --workers 1,8 --seeds 10
    python -m benchmarks.suite.regret --methods "syne tune: dehb;optuna: tpe + median"

Searches are replayed on learning curves with the live searcher and scheduler. Normalised regret is
0 for the best configuration there is and 1 for the median random one, looked at after 2, 4, 8 and
16 full trainings' worth of epochs. A method's ratio to random search with ASHA is the geometric
mean over problems of the ratio of mean regrets. Its 95 % interval and the worst problem stand
beside it.

Other tools' searches go into the same table. ``benchmarks/replay/peers.py`` and ``freeze_thaw.py``
have their names, and say how to install Syne Tune and BoTorch.

LCBench's curves (Zimmer et al., 2021) come from the surrogate of YAHPO Gym (Pfisterer et al.,
2022). They are no part of this project: ``$LCBENCH_SUITE`` names a folder whose ``suite.py`` has
them.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import describe, growing_result, write_file
from benchmarks.replay import freeze_thaw
from benchmarks.replay.methods import methods, methods_on
from benchmarks.replay.peers import MISSING, SYNE_TUNE_NOT_FINITE, SYNE_TUNE_PEERS
from benchmarks.replay.recorded import rows_of
from benchmarks.replay.simulator import Conditions, Curve, replay
from benchmarks.suite.curves import Curves, problems
from benchmarks.suite.problems import CLAIM, TUNING
from vgg6.common.seeds import derive_seed
from vgg6.data import Array

LOOKS = (2, 4, 8, 16)  # full trainings
FOUND = 0.05  # a regret that counts as the answer
FLOOR = 3e-3  # a smaller regret counts as this: ratios of nothing say nothing
DRAWS = 1000  # of an interval
RANDOM = "random + plain asha"
SHOWN = ("gp + asha", "random + asha", RANDOM, "stock ray: optunasearch + asha")


def search_once(curves: Curves, method: str, workers: int, seed: int) -> dict[str, Any]:
    """One search: its regret at LOOKS, and the epochs to a regret of FOUND."""
    own = derive_seed(seed, workers, curves.name) % 2**31  # else all problems draw the same points
    rng = np.random.default_rng(own)
    decider = methods(curves)[method](curves, seed=own, trials=10_000, epochs=curves.epochs)

    def curve_of(number: int, config: dict[str, Any]) -> Curve:
        clean = curves.truth([config])[0]
        noisy = (clean + curves.noise * rng.normal()).clip(0, 1)
        scores = np.column_stack([noisy] + [np.full(len(noisy), math.nan)] * 3)
        return Curve(rows_of(scores), False)

    budget = LOOKS[-1] * curves.epochs
    trace = replay(
        decider, curve_of, Conditions(workers=workers), rng, epochs=curves.epochs, budget=budget
    )
    finals = dict(
        zip(trace.configs, curves.truth(list(trace.configs.values()))[:, -1], strict=True)
    )
    span = curves.best - curves.median
    best, regret, found = -math.inf, 1.0, None
    looks: list[float] = []
    for moment in trace.moments:
        while len(looks) < len(LOOKS) and moment.charged > LOOKS[len(looks)] * curves.epochs:
            looks.append(regret)
        if moment.row["best_val_acc"] > best:
            best = moment.row["best_val_acc"]
            regret = float((curves.best - finals[moment.number]) / span)
        if found is None and regret <= FOUND:
            found = moment.charged
    looks += [regret] * (len(LOOKS) - len(looks))
    return {f"regret_{look}": r for look, r in zip(LOOKS, looks, strict=True)} | {
        "found": found,
        "trials": len(trace.configs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--role", choices=(TUNING, CLAIM), help="these problems only (all)")
    parser.add_argument("--problems", help="names, separated by ',' (all)")
    parser.add_argument("--methods", default=";".join(SHOWN), help="names, separated by ';'")
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only-show", action="store_true", help="of what has been measured")
    parser.add_argument("--against", default=RANDOM, help="the method that others are a part of")
    arguments = parser.parse_args()
    names, workers = arguments.methods.split(";"), list(map(int, arguments.workers.split(",")))
    if not arguments.only_show and (fault := unknown(names)):
        parser.error(fault)
    every = problems(arguments.role)
    chosen = arguments.problems.split(",") if arguments.problems else list(every)
    if odd := [name for name in chosen if name not in every]:
        parser.error(f"--problems {odd[0]}: is none of {', '.join(every)}")
    facts = describe(role=arguments.role, seeds=arguments.seeds)
    path = growing_result("suite", facts, ending="parquet")
    table = pd.read_parquet(path) if path.exists() else pd.DataFrame()
    for name in chosen:
        curves = None
        for many in workers:
            for method in names:
                done = set() if table.empty else set(
                    table.query("problem == @name and workers == @many and method == @method").seed
                )  # fmt: skip
                left = [s for s in range(arguments.seeds) if s not in done]
                if not left or arguments.only_show:
                    continue
                curves = curves or every[name]()
                began = time.perf_counter()
                rows = [
                    {"problem": name, "role": curves.role, "method": method, "workers": many,
                     "seed": seed, **search_once(curves, method, many, seed)}
                    for seed in left
                ]  # fmt: skip
                table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
                write_file(path, table.to_parquet(index=False, compression="zstd"))
                print(f"{name} {many} {method}: {time.perf_counter() - began:.0f} s", flush=True)
    show(table, arguments.role, arguments.against)


def unknown(names: Sequence[str]) -> str:
    """What is wrong with the methods asked for; empty if nothing is."""
    known = methods_on(finite=False)
    for name in names:
        if name in known:
            continue
        if name in SYNE_TUNE_PEERS | SYNE_TUNE_NOT_FINITE:
            return f"{name!r} needs Syne Tune. {MISSING}"
        if name in freeze_thaw.BOTORCH_PEERS:
            return f"{name!r} needs BoTorch. {freeze_thaw.MISSING}"
        return f"{name!r} is none of {', '.join(map(repr, known))}"
    return ""


def show(table: pd.DataFrame, role: str | None, against: str = RANDOM) -> None:
    """Print each method's regret and its ratio to that of ``against``."""
    if role:
        table = table[table.role == role]
    columns = [f"regret_{look}" for look in LOOKS]
    for many, part in table.groupby("workers"):
        runs = {
            str(method): {
                str(name): rows[columns].to_numpy() for name, rows in mine.groupby("problem")
            }
            for method, mine in part.groupby("method")
        }
        for method, mine in runs.items():
            base = runs.get(against, {})
            if not (both := [name for name in mine if name in base]):
                continue
            pairs = [(mine[name], base[name]) for name in both]
            ratio, (low, high) = ratios(pairs), drawn_again(pairs)
            texts = [
                f"{middle:.2f} [{lo:.2f} {hi:.2f}] ({worst:.2f})"
                for middle, worst, lo, hi in zip(
                    geometric_mean(ratio), ratio.max(axis=0), low, high, strict=True
                )
            ]
            mean = np.mean([regrets.mean(axis=0) for regrets in mine.values()], axis=0)
            print(f"{many:3} workers  {method:32} mean {' '.join(f'{v:.3f}' for v in mean)}"
                  f"  of {against} {'  '.join(texts)}  on {len(both)} problems")  # fmt: skip


def ratios(pairs: Sequence[tuple[Array, Array]]) -> Array:
    """Mean regret as a part of the other method's, (problems, looks)."""
    means = [[np.maximum(regrets.mean(axis=0), FLOOR) for regrets in pair] for pair in pairs]
    return np.array([mine / other for mine, other in means])


def geometric_mean(ratio: Array) -> Array:
    return np.asarray(np.exp(np.log(ratio).mean(axis=0)))


def drawn_again(pairs: Sequence[tuple[Array, Array]]) -> Array:
    """A 95 % interval of the geometric mean, (2, looks): seeds are drawn anew, problems stay."""
    rng = np.random.default_rng(0)

    def again(regrets: Array) -> Array:
        return np.asarray(regrets[rng.integers(len(regrets), size=len(regrets))])

    means = [geometric_mean(ratios([(again(a), again(b)) for a, b in pairs])) for _ in range(DRAWS)]
    return np.asarray(np.quantile(means, (0.025, 0.975), axis=0))


if __name__ == "__main__":
    main()
