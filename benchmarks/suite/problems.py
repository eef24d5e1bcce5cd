"""Our own problems: small VGG6 networks on two data sets, chosen to differ from one another.

Half of them are there to tune a search on, and half to make claims on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import qmc

from search_spaces import Space, load_space
from search_spaces.unit_cube import suggest_at
from vgg6.architecture import WIDTHS, Widths
from vgg6.config import TrialConfig
from vgg6.data import TrialData, load_source, split
from vgg6.data.splits import stratified

SOBOL_SEED = 11
SEEDS = (42, 43)  # the first for every point; both for the noise floor
BEST_POINTS = 8
TUNING, CLAIM = "tuning", "claim"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network, images and a space to search.

    ``narrower``: by what VGG6's channels and hidden units are divided; ``images``: for training;
    ``fixed``: what every trial of ``space`` has besides; ``points``: how many configurations are
    recorded, a power of two.
    """

    name: str
    role: str
    space_name: str
    data: str
    images: int
    narrower: int
    epochs: int
    fixed: dict[str, str | float]
    points: int

    @property
    def space(self) -> Space:
        """What varies, without the points that somebody chose for the full network."""
        space = load_space(self.space_name)
        varied = tuple(p for p in space.parameters if p.name not in self.fixed)
        return replace(space, name=self.name, parameters=varied, points=(), fixed=self.fixed)

    @property
    def widths(self) -> Widths:
        return tuple(units // self.narrower for units in WIDTHS)


# Without normalisation and with torch's initialisation a network starts late: it is at chance for
# its first few hundred steps.
PROBLEMS = (
    Problem(name="cifar-norm", role=TUNING, space_name="default", data="cifar10", images=2_000,
            narrower=8, epochs=15, fixed={"norm": "batch"}, points=64),
    Problem(name="digits-late", role=TUNING, space_name="default", data="digits", images=1_000,
            narrower=8, epochs=40, fixed={}, points=64),
    Problem(name="cifar-wide", role=TUNING, space_name="wide", data="cifar10", images=1_500,
            narrower=8, epochs=40, fixed={"sam": 0.0}, points=64),
    Problem(name="cifar-late", role=CLAIM, space_name="default", data="cifar10", images=2_000,
            narrower=8, epochs=40, fixed={"dropout": 0.2}, points=64),
    Problem(name="digits-wide", role=CLAIM, space_name="wide", data="digits", images=1_000,
            narrower=8, epochs=15, fixed={"sam": 0.0}, points=256),
    Problem(name="cifar-early", role=CLAIM, space_name="default", data="cifar10", images=2_000,
            narrower=4, epochs=15, fixed={"init": "kaiming"}, points=64),
)  # fmt: skip
VALIDATION = {"cifar10": 1_000, "digits": 437}


@dataclass(frozen=True)
class Job:
    """One run to record: point ``index`` of a problem's space, trained as ``config``."""

    index: int
    config: TrialConfig


def jobs(problem: Problem, best: Sequence[int] = ()) -> list[Job]:
    """Points of a scrambled Sobol sequence through the space, and ``best`` with the other seed.

    Seeds move the score of a bad configuration far more than that of a good one, and searches have
    to tell good ones apart.
    """
    space = problem.space
    rows = qmc.Sobol(len(space.names), rng=SOBOL_SEED).random_base2(problem.points.bit_length() - 1)

    def job(index: int, seed: int) -> Job:
        values = suggest_at(space, rows[index])
        values |= {"epochs": problem.epochs, "seed": seed}
        return Job(index, TrialConfig.from_mapping(values))

    order = [job(index, SEEDS[0]) for index in range(problem.points)]
    return order + [job(index, SEEDS[1]) for index in best]


def images_of(problem: Problem) -> TrialData:
    """A problem's images. More of them are for validation than a trial of a search has: the score
    of 200 images has too few steps to rank networks by."""
    data = split(load_source(problem.data))
    images = np.concatenate([data.train.images, data.val.images])
    labels = np.concatenate([data.train.labels, data.val.labels])
    every = replace(data.train, images=images, labels=labels)
    rng = np.random.default_rng(SOBOL_SEED)
    val, rest = stratified(labels, VALIDATION[problem.data], rng)
    train = rest[stratified(labels[rest], problem.images, rng)[0]]
    return replace(data, train=every.take(np.sort(train)), val=every.take(np.sort(val)))
