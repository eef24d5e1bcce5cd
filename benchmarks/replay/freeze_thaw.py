"""What a strong model of learning curves could reach: freeze-thaw by a latent Kronecker process.

A trial is frozen after 1, 2, 4, 8, ... epochs. A free worker then takes what promises the most at
full length, be it a frozen trial or a new one (Swersky et al., 2014). One Gaussian process models
all curves, over configurations and epochs together (Lin et al., 2024). BoTorch has it. A search
takes from 20 seconds to minutes, so this row is only compared with.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import qmc

from benchmarks.replay.peers import missing
from benchmarks.replay.recorded import Searchable, config_of
from benchmarks.replay.simulator import Row, Start, Verdict
from search_spaces import Space
from search_spaces.unit_cube import suggest_at
from vgg6.data import Array
from vgg6.tuning.algorithms.model_sampler import expected_improvement
from vgg6.tuning.algorithms.space_encoding import SpaceEncoding

MISSING = missing("BoTorch", "requirements-botorch.txt")
START = 10  # trials that are spread evenly before the model is asked
REFIT = 1.3  # its constants are learnt again when there are so many times the epochs
FRESH, PARENTS, CHILDREN, STRIDES = 200, 8, 20, (0.1,)  # new ones that it may choose from
STEPS = 60  # in which its constants are learnt


class FreezeThaw:
    """A decider of a replay. Arguments as for the others of ``methods.py``."""

    def __init__(self, curves: Searchable, *, seed: int, trials: int, epochs: int) -> None:
        self.space: Space = curves.space
        self.encoding, self.limit, self.epochs = SpaceEncoding(self.space), trials, epochs
        self.rng = np.random.default_rng(seed)
        self.even = qmc.Sobol(len(self.space.names), rng=np.random.default_rng(seed))
        self.places: list[Array] = []  # of each trial, in the unit cube
        self.scores: list[list[float]] = []
        self.frozen: set[int] = set()
        self.running: set[int] = set()
        self.constants: dict[str, Any] | None = None
        self.learnt_from = 0

    def ask(self) -> Start | None:
        begun = len(self.places)
        if begun < self.limit and (begun < START or not any(self.scores)):
            return self._begin(np.asarray(self.even.random()[0]))
        frozen = sorted(self.frozen)
        if not frozen and begun >= self.limit:
            return None
        fresh: Array | list[Array] = self._fresh() if begun < self.limit else []
        gain = self._gain(np.array([*(self.places[number] for number in frozen), *fresh]))
        chosen = int(np.argmax(gain))
        if chosen >= len(frozen):
            return self._begin(fresh[chosen - len(frozen)])
        number = frozen[chosen]
        self.frozen.discard(number)
        self.running.add(number)
        return Start(number, self._config(number))

    def report(self, number: int, row: Row) -> Verdict:
        self.scores[number].append(float(row["best_val_acc"]))
        epoch = len(self.scores[number])
        if epoch >= self.epochs or epoch & (epoch - 1):
            return "go on"
        self.running.discard(number)
        self.frozen.add(number)
        return "pause"

    def end(self, number: int, row: Row | None, state: str) -> None:
        self.running.discard(number)

    def _begin(self, places: Array) -> Start:
        number = len(self.places)
        self.places.append(places)
        self.scores.append([])
        self.running.add(number)
        return Start(number, self._config(number))

    def _config(self, number: int) -> dict[str, Any]:
        return config_of(suggest_at(self.space, self.places[number]), self.epochs)

    def _fresh(self) -> Array:
        """New configurations, (n, names): anywhere, and beside those that have scored best."""
        best = sorted(range(len(self.scores)), key=lambda n: -max(self.scores[n], default=0.0))
        rows = [self.rng.random((FRESH, len(self.space.names)))]
        for number in best[:PARENTS]:
            rows.append(self.encoding.beside(self.places[number], CHILDREN, STRIDES, self.rng))
        return np.vstack(rows)

    def _gain(self, places: Array) -> Array:
        """The expected improvement at full length of configurations, over the best one seen."""
        seen = [n for n, scores in enumerate(self.scores) if scores]
        inputs = self.encoding.inputs_at(np.array([self.places[n] for n in seen]))
        curves = np.full((len(seen), self.epochs), math.nan)
        for row, number in enumerate(seen):
            curves[row, : len(self.scores[number])] = self.scores[number]
        known = np.isfinite(curves)
        curves = (curves - curves[known].mean()) / max(curves[known].std(), 1e-6)
        if known.sum() >= REFIT * self.learnt_from:
            self.constants, self.learnt_from = _learn(inputs, curves), int(known.sum())
        assert self.constants is not None
        # One that runs is believed to come out as expected.
        ends, _ = _predict(inputs, curves, self.constants, inputs)
        busy = [row for row, number in enumerate(seen) if number in self.running]
        curves[busy, -1] = ends[busy]
        waiting = sorted(self.running - set(seen))
        if waiting:
            begun = self.encoding.inputs_at(np.array([self.places[n] for n in waiting]))
            believed = np.full((len(waiting), self.epochs), math.nan)
            believed[:, -1], _ = _predict(inputs, curves, self.constants, begun)
            inputs, curves = np.vstack([inputs, begun]), np.vstack([curves, believed])
        mean, deviation = _predict(inputs, curves, self.constants, self.encoding.inputs_at(places))
        return expected_improvement(mean, deviation, float(ends.max()))


def _model(inputs: Array, curves: Array) -> Any:
    """The process of these curves, (n, epochs), nan where they have not been seen. Its priors are
    BoTorch's own (Hvarfner et al., 2024)."""
    import torch
    from botorch.models.latent_kronecker_gp import LatentKroneckerGP
    from botorch.models.utils.gpytorch_modules import (
        get_covar_module_with_dim_scaled_prior,
        get_gaussian_likelihood_with_lognormal_prior,
    )
    from gpytorch.kernels import ScaleKernel

    def kernel(dimensions: int) -> Any:
        return get_covar_module_with_dim_scaled_prior(dimensions, use_rbf_kernel=False)

    epochs = np.log1p(np.arange(curves.shape[1])) / np.log1p(curves.shape[1])
    return LatentKroneckerGP(
        torch.tensor(inputs), torch.tensor(epochs)[:, None], torch.tensor(curves),
        likelihood=get_gaussian_likelihood_with_lognormal_prior().double(),
        covar_module_X=kernel(inputs.shape[1]), covar_module_T=ScaleKernel(kernel(1)),
        outcome_transform=None,
    )  # fmt: skip


def _learn(inputs: Array, curves: Array) -> dict[str, Any]:
    """The constants of highest posterior probability, about: by Adam, since L-BFGS gives up where
    few epochs have been seen."""
    from botorch.optim.fit import fit_gpytorch_mll_torch
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from gpytorch.settings import fast_computations

    model = _model(inputs, curves)
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    with fast_computations(False, False, False):
        fit_gpytorch_mll_torch(likelihood, step_limit=STEPS)
    return dict(model.state_dict())


def _predict(
    inputs: Array, curves: Array, constants: dict[str, Any], asked: Array
) -> tuple[Array, Array]:
    """Means and deviations at full length of configurations, each (n,)."""
    import torch
    from gpytorch.settings import fast_computations

    model = _model(inputs, curves)
    model.load_state_dict(constants, keep_transforms=False)
    model.eval()
    with torch.no_grad(), fast_computations(False, False, False):
        ends = model.posterior(torch.tensor(asked), model.train_T[-1:])
        mean = ends.mean.reshape(-1).numpy()
        deviation = ends.variance.reshape(-1).clamp_min(1e-12).sqrt().numpy()
    return mean, deviation


BOTORCH_PEERS = {"botorch: latent kronecker, freeze-thaw": FreezeThaw}
