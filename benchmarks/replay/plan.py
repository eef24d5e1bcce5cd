"""What is recorded: points of two spaces and seeds, in an order whose every beginning is of use."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from scipy.stats import qmc

from search_spaces import Space, load_space
from search_spaces.unit_cube import suggest_at
from vgg6.architecture import WIDTHS, Widths
from vgg6.config import TrialConfig

# 15 epochs of 16,000 images are 240,000: without normalisation layers and with the study's
# initialisation a network stays at chance for its first 350 steps, so a run needs some thousands.
EPOCHS, LIMIT_TRAIN = 15, 16_000
SEEDS = (42, 43, 44)  # the first for every point; all three for the noise floor
GRID_POINTS, DEFAULT_POINTS, SEEDED_POINTS = 60, 98, 36
SOBOL_SEED = 7
# How wide the recorded network is. A quarter as wide learns with the same depth, initialisation and
# number of steps, plateau at chance included, at an eighth of the time.
SHARES = {"full": 1, "quarter": 4}
STUDY_BEST = {"activation": "gelu", "optimizer": "sgd", "batch_size": 128, "lr": 0.01}


def widths(width: str) -> Widths:
    """The channels and hidden units of the network of this name in ``SHARES``."""
    return tuple(units // SHARES[width] for units in WIDTHS)


@dataclass(frozen=True)
class Job:
    """One run to record: point ``index`` of ``space``, trained as ``config``."""

    space: str
    index: int
    config: TrialConfig


def sobol_points(space: Space, count: int) -> list[dict[str, Any]]:
    """The first ``count`` points of a scrambled Sobol sequence through ``space``."""
    rows = qmc.Sobol(len(space.names), seed=SOBOL_SEED).random_base2((count - 1).bit_length())
    return [suggest_at(space, row) for row in rows[:count]]


def balanced_points(space: Space, first: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """``first``, then points of a grid, each the one whose values, and pairs of values, came least
    often so far: any beginning of the list is spread evenly over the grid's factors."""
    left, seen = space.grid(), Counter[tuple[tuple[str, Any], ...]]()
    chosen: list[dict[str, Any]] = []

    def cells(point: dict[str, Any]) -> list[tuple[tuple[str, Any], ...]]:
        items = sorted(point.items())
        return [(item,) for item in items] + list(combinations(items, 2))

    for turn in range(count):
        point = min(left, key=lambda p: sum(seen[cell] for cell in cells(p))) if turn else first
        left.remove(point)
        seen.update(cells(point))
        chosen.append(point)
    return chosen


def jobs() -> list[Job]:
    """All jobs; of every ten, three are of the grid, five of the default space (its own points,
    then Sobol's), two another seed of one of these."""

    def job(space: str, index: int, point: dict[str, Any], seed: int) -> Job:
        config = TrialConfig.from_mapping({**point, "epochs": EPOCHS, "seed": seed})
        return Job(space, index, config)

    grid_points = balanced_points(load_space("study_grid"), STUDY_BEST, GRID_POINTS)
    space = load_space("default")
    default = [*space.points, *sobol_points(space, DEFAULT_POINTS - len(space.points))]
    queues = {
        "grid": [job("study_grid", i, p, SEEDS[0]) for i, p in enumerate(grid_points)],
        "default": [job("default", i, p, SEEDS[0]) for i, p in enumerate(default)],
        "seeds": [
            job("default", i, p, seed)
            for i, p in enumerate(default[:SEEDED_POINTS])
            for seed in SEEDS[1:]
        ],
    }
    cycle: tuple[str, ...] = ("grid", "default", "default", "grid", "default", "seeds")
    cycle += ("default", "grid", "default", "seeds")
    order: list[Job] = []
    while any(queues.values()):
        order += [queues[name].pop(0) for name in cycle if queues[name]]
    return order
