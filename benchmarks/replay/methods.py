"""The methods that are compared on recorded curves, each by the name of its row in the tables."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Protocol

from ray.tune.schedulers import AsyncHyperBandScheduler

from benchmarks.replay.deciders import LIVE, Ours, StockRay
from benchmarks.replay.freeze_thaw import BOTORCH_PEERS
from benchmarks.replay.peers import OPTUNA_PEERS, SYNE_TUNE_NOT_FINITE, SYNE_TUNE_PEERS
from benchmarks.replay.recorded import Searchable
from benchmarks.replay.simulator import Decider


class Method(Protocol):
    def __call__(self, curves: Searchable, *, seed: int, trials: int, epochs: int) -> Decider:
        """A new search on ``curves``; all that is random in it comes from ``seed``."""


def ours(searcher: str, scheduler: str, *, points: bool = False) -> Method:
    """This project's own objects. ``points``: whether a space's first points are evaluated first,
    as a search does; without them a row shows what a method finds by itself."""

    def make(curves: Searchable, *, seed: int, trials: int, epochs: int) -> Decider:
        space = curves.space if points else replace(curves.space, points=())
        return Ours(
            space, searcher=searcher, scheduler=scheduler, seed=seed, trials=trials, epochs=epochs,
            allowed=curves.allowed,
        )  # fmt: skip

    return make


def random_plain(curves: Searchable, *, seed: int, trials: int, epochs: int) -> Decider:
    """This project's random search under Ray's own ASHA, which looks at a rung once."""
    decider = ours("random", "asha-stop")(curves, seed=seed, trials=trials, epochs=epochs)
    assert isinstance(decider, Ours)
    decider.scheduler = AsyncHyperBandScheduler(
        "epoch", "best_val_acc", "max", epochs, LIVE.grace, LIVE.reduction
    )
    return decider


def stock(curves: Searchable, *, seed: int, trials: int, epochs: int) -> Decider:
    space = replace(curves.space, points=())
    return StockRay(space, seed=seed, trials=trials, epochs=epochs, allowed=curves.allowed)


METHODS: dict[str, Method] = {
    "random": ours("random", "none"),
    "random + median": ours("random", "median"),
    "random + hyperband": ours("random", "hyperband"),
    "random + plain asha": random_plain,
    "random + asha": ours("random", "asha"),
    "random + asha-stop": ours("random", "asha-stop"),
    "tpe": ours("optuna", "none"),
    "tpe + median": ours("optuna", "median"),
    "tpe + hyperband": ours("optuna", "hyperband"),
    "tpe + asha": ours("optuna", "asha"),
    "tpe + asha, points first": ours("optuna", "asha", points=True),
    "gp + asha": ours("gp", "asha"),
    "gp + asha, points first": ours("gp", "asha", points=True),
    "stock ray: optunasearch + asha": stock,
}
GRID_ONLY: dict[str, Method] = {"grid": ours("grid", "none"), "grid + asha": ours("grid", "asha")}


def methods(curves: Searchable) -> dict[str, Method]:
    """All that can be compared on ``curves`` here: other tools' rows where these are installed."""
    return methods_on(finite=curves.space.is_finite)


def methods_on(*, finite: bool) -> dict[str, Method]:
    """All that can be compared here on finite spaces, or on others."""
    found = {**(GRID_ONLY if finite else {}), **METHODS, **OPTUNA_PEERS}
    if importlib.util.find_spec("syne_tune"):
        found |= SYNE_TUNE_PEERS | ({} if finite else SYNE_TUNE_NOT_FINITE)
    if not finite and importlib.util.find_spec("botorch"):
        found |= BOTORCH_PEERS
    return found
