"""Claim: a search that begins from an earlier one has its answer sooner, and a misleading earlier
one costs it no more than the noise.

    python -m benchmarks.quality.warm_start default        # replays on what is recorded
    python -m benchmarks.quality.warm_start default --repetitions 20 --workers 1

Recorded learning curves (``benchmarks/replay``) are replayed under the searcher and the scheduler
that a search has by default. Each search runs twice: cold, and warm from an earlier search of 64
trials, which was replayed before it with another seed. The earlier search is

- ``same``: of the same space, data and length;
- ``partly``: of a part of the space's names and the middle half of its ranges;
- ``other length``: of the same space, its scores said to be of another length;
- ``misleading``: of data on which what is good here is bad. Every range is turned upside down, and
  every list of names around.

Pairs share their seed. Without ``--own-points`` no search has the space's own first points, which
somebody chose by hand. Prints the epochs to the answer, as ``epochs_to_answer.py`` defines it, and
the regret after 60, 150 and 300 epochs. The regret is the distance of the incumbent's recorded mean
from the best one. Each is the median of the cold searches, of the warm ones and of the differences,
with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.machine import describe, write_result
from benchmarks.quality.epochs_to_answer import (
    BUDGETS,
    MOST_TRIALS,
    describe_curves,
    enough_curves,
    judge,
    median_interval,
)
from benchmarks.replay.deciders import LIVE, Ours
from benchmarks.replay.plan import EPOCHS, SHARES
from benchmarks.replay.recorded import Array, Curves, draw
from benchmarks.replay.simulator import Conditions, Trace, replay
from search_spaces import Parameter, Space
from vgg6.tuning.algorithms.warm_start import Earlier, WarmStart, begin_from
from vgg6.tuning.settings import Settings

KINDS = ("same", "partly", "other length", "misleading")
IMAGES, OTHER_IMAGES = "these images", "other images"
TRIALS = 64  # of an earlier search
LOOKS = (60, 150, 300)  # epochs after which the incumbent is looked at


class Mirrored:
    """Curves on which each configuration does what its opposite does on ``curves``."""

    def __init__(self, curves: Curves) -> None:
        self.curves, self.space, self.noise = curves, curves.space, curves.noise

    def opposite(self, config: dict[str, Any]) -> dict[str, Any]:
        """Every number from the other end of its range, every name from that of its list."""
        found = dict(config)
        for p in self.space.parameters:
            if p.active(found):
                found[p.name] = _opposite(p, self._within(p, config, found))
            elif not any(q.name == p.name and q.active(found) for q in self.space.parameters):
                found[p.name] = None
        return found

    def _within(self, p: Parameter, config: dict[str, Any], found: dict[str, Any]) -> Any:
        """The value of ``config`` in the range that its opposite has for it."""
        value = config[p.name]
        if value is not None and p.contains(value):
            return value
        own = next((q for q in self.space.parameters if q.name == p.name and q.active(config)), p)
        return p.at(0.5 if value is None else own.place(value))

    def allowed(self, config: dict[str, Any]) -> bool:
        return self.curves.allowed(self.opposite(config))

    def mean(self, config: dict[str, Any]) -> tuple[Array, int | None]:
        return self.curves.mean(self.opposite(config))

    @property
    def best(self) -> float:
        return self.curves.best


def _opposite(p: Parameter, value: Any) -> Any:
    if p.choices is not None:
        return p.choices[-1 - p.choices.index(value)]
    return p.at(1.0 - p.place(value))


def part_of(space: Space) -> Space:
    """The middle half of every range, and of every list without conditions all but the last."""
    bound = {parent for p in space.parameters for parent in p.when}

    def part(p: Parameter) -> Parameter:
        if p.choices is None:
            return replace(p, low=p.at(0.25), high=p.at(0.75))
        cut = p.name not in bound and len(p.choices) > 2
        return replace(p, choices=p.choices[:-1]) if cut else p

    return Space(name="part", parameters=tuple(part(p) for p in space.parameters))


def run(
    curves: Curves, space: Space, warm: WarmStart, seed: int, workers: int, trials: int, budget: int
) -> tuple[Ours, Trace]:
    """One search."""
    rng = np.random.default_rng([seed, workers])
    decider = Ours(
        space, searcher=LIVE.searcher, scheduler=LIVE.scheduler, seed=seed, trials=trials,
        epochs=EPOCHS, allowed=curves.allowed, earlier=warm.told, added=warm.points,
    )  # fmt: skip
    trace = replay(
        decider, lambda number, config: draw(curves, config, rng), Conditions(workers=workers),
        rng, epochs=EPOCHS, budget=budget,
    )  # fmt: skip
    return decider, trace


def earlier_search(curves: Curves, space: Space, kind: str, seed: int, workers: int) -> Earlier:
    """A search that was run before, as its run folder would tell of it."""
    space = part_of(space) if kind == "partly" else space
    on = Mirrored(curves) if kind == "misleading" else curves
    decider, _ = run(on, space, WarmStart(), seed, workers, TRIALS, TRIALS * EPOCHS)
    history = decider.journal.history
    if kind == "other length":
        for trial in history.trials.values():
            trial.config = replace(trial.config, epochs=2 * EPOCHS)
    images = OTHER_IMAGES if kind == "misleading" else IMAGES
    return Earlier(kind, kind, images, space, history)


def pair(
    curves: Curves,
    kind: str,
    seed: int,
    workers: int,
    looks: Sequence[int] = LOOKS,
    *,
    own_points: bool = False,
) -> dict[str, Any]:
    """What a search finds cold, and what it finds warm."""
    bare = curves.space if own_points else replace(curves.space, points=())
    earlier = earlier_search(curves, bare, kind, 10_000 + seed, workers)
    settings = Settings(name="replay", epochs=EPOCHS)
    warmed, warm = begin_from([earlier], bare, settings, IMAGES)
    found = {}
    for name, space, start in (
        ("cold", bare, WarmStart()), ("warm", warmed, warm)
    ):  # fmt: skip
        _, trace = run(curves, space, start, seed, workers, MOST_TRIALS, max(looks))
        judged = judge(curves, trace)
        regrets = {f"regret at {n}": judged["regret"][BUDGETS.index(n)] for n in looks}
        found[name] = {"epochs": judged["epochs"], **regrets}
    source = warm.sources[0]
    return found | {"points": source.points, "told": source.told}


def compare(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians with intervals of both, and of the differences, warm less cold. A search without its
    answer is later than any other; one such against another is no difference."""
    row: dict[str, Any] = {"searches": len(samples)}
    for key in samples[0]["cold"]:
        values = {
            name: [math.inf if s[name][key] is None else s[name][key] for s in samples]
            for name in ("cold", "warm")
        }
        pairs = zip(values["warm"], values["cold"], strict=True)
        row[key] = {name: median_interval(values[name]) for name in values}
        row[key]["difference"] = median_interval([0.0 if w == c else w - c for w, c in pairs])
    row["missed"] = {n: sum(s[n]["epochs"] is None for s in samples) for n in ("cold", "warm")}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("space", choices=("study_grid", "default"))
    parser.add_argument("--width", choices=SHARES, default="full", help="of the recorded network")
    parser.add_argument("--workers", default="1,4")
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--own-points", action="store_true", help="evaluated before all others")
    arguments = parser.parse_args()
    curves = enough_curves(arguments.space, arguments.width)
    own = arguments.own_points
    facts = describe(space=arguments.space, repetitions=arguments.repetitions, own_points=own)
    recorded = describe_curves(curves)
    rows: list[dict[str, Any]] = []
    samples: dict[str, list[dict[str, Any]]] = {}
    for workers in map(int, arguments.workers.split(",")):
        for kind in KINDS:
            began = time.perf_counter()
            cell = [
                pair(curves, kind, seed, workers, own_points=own)
                for seed in range(arguments.repetitions)
            ]
            samples[f"{kind}, {workers} workers"] = cell
            rows.append({"earlier": kind, "workers": workers, **compare(cell)})
            print(f"{workers} workers, {time.perf_counter() - began:.0f} s")
            print(table_lines(rows[-1]), flush=True)
            write_result(
                "warm_start",
                {"machine": facts, "curves": recorded, "rows": rows, "samples": samples},
                f"{arguments.space}-{arguments.width}{'-own-points' * own}",
            )


def table_lines(row: dict[str, Any]) -> str:
    """A row of the table, in lines."""
    lines = [f"earlier search: {row['earlier']} ({row['searches']} pairs)"]
    for key in (key for key in row if key == "epochs" or key.startswith("regret")):
        form = "{:.0f}" if key == "epochs" else "{:.4f}"
        texts = []
        for name in ("cold", "warm", "difference"):
            middle, low, high = (form.format(x) for x in row[key][name])
            texts.append(f"{name} {middle} ({low} to {high})")
        lines.append(f"  {key:13} {', '.join(texts)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
