"""A Gaussian process over configurations and rungs, which learns what an early score is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial import KDTree

Array = npt.NDArray[np.float64]
JITTER = 1e-6
LENGTH, LENGTH_SPREAD = 0.6, 0.9  # of a length scale, for 7 inputs; its standard deviation in logs
NOISE, NOISE_SPREAD = 0.02, 1.5  # of a score's variance that is chance
DOUBT = 0.1  # of the prior on correlations: 0 is undecided about a correlation of 1
STEPS = 60  # of the chain, whenever the constants are learnt
LIMITS = (1e-3, 0.995)  # of a correlation


class RungProcess:
    """Scores at rung r + 1 are those at rung r times a correlation, plus something new.

    The autoregressive model of Kennedy and O'Hagan ("Predicting the output from a complex computer
    code when fast approximations are available", 2000), with one Matérn 5/2 kernel for all rungs
    and a length scale for each input. The correlations are learnt from trials that were seen at
    two rungs. Where the first epochs say nothing of the last, their scores have no weight; where
    they rank as the last ones do, each is worth nearly as much as a complete trial.

    Args:
        inputs: how many there are, each from 0 to 1.
        rungs: how many there are, the full length included.
    """

    def __init__(self, inputs: int, rungs: int) -> None:
        self._center = float(np.log(LENGTH * np.sqrt(inputs / 7)))
        self._inputs, self._gaps = inputs, rungs - 1
        self._theta = np.concatenate(
            [np.full(inputs, self._center), np.full(self._gaps, _logit(0.8)), [np.log(NOISE)]]
        )

    @property
    def constants(self) -> list[float]:
        """All that was learnt."""
        return [float(x) for x in self._theta]

    @constants.setter
    def constants(self, known: Sequence[float]) -> None:
        self._theta = np.array(known)

    @property
    def correlations(self) -> Array:
        """Between each rung and the next, (rungs - 1,)."""
        return self._unpacked(self._theta)[1]

    def learn(
        self, inputs: Array, rungs: npt.NDArray[np.int64], scores: Array, rng: np.random.Generator
    ) -> None:
        """Draw lengths, correlations and noise from what the scores, of mean 0 and variance 1 at
        each rung, and the priors make of them: ``STEPS`` of a Metropolis chain.

        The most probable ones would be too sure of themselves where scores are few. A draw errs
        another way each time.

        Args:
            inputs: (n, inputs).
            rungs: of each score, from 0, (n,).
            scores: (n,).
        """
        density = self._density(self._theta, inputs, rungs, scores)
        for _ in range(STEPS):
            theta = self._moved(rng)
            other = self._density(theta, inputs, rungs, scores)
            if np.log(rng.random()) < other - density:
                self._theta, density = theta, other

    def condition(self, inputs: Array, rungs: npt.NDArray[np.int64], scores: Array) -> None:
        """Take in the scores that ``predict`` goes by; arguments as ``learn``."""
        lengths, correlations, noise = self._unpacked(self._theta)
        self._known, self._rungs = inputs / lengths, rungs
        covariance = _matern(_distances(self._known, self._known))
        covariance *= _between(correlations, rungs, rungs)
        covariance[np.diag_indices(len(rungs))] += noise + JITTER
        self._factor = cholesky(covariance, lower=True, check_finite=False)
        self._weights = solve_triangular(self._factor, scores, lower=True, check_finite=False)

    def predict(self, inputs: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at the last rung, noise left out, (n,) each."""
        lengths, correlations, _ = self._unpacked(self._theta)
        kernel = _matern(_distances(self._known, inputs / lengths))
        kernel *= _between(correlations, self._rungs, np.array([self._gaps]))
        half = solve_triangular(self._factor, kernel, lower=True, check_finite=False)
        variance = np.maximum(1 - np.square(half).sum(axis=0), 1e-9)
        return half.T @ self._weights, np.sqrt(variance)

    def neighbours(self, others: Sequence[Array]) -> KDTree:
        """A tree of places, for ``apart``."""
        lengths, _, _ = self._unpacked(self._theta)
        return KDTree(np.reshape(others, (-1, self._inputs)) / lengths)

    def apart(self, inputs: Array, tree: KDTree, most: float = np.inf) -> Array:
        """How far each row lies from the nearest place of a tree, in length scales, (n,); infinite
        where that is ``most`` or more."""
        lengths, _, _ = self._unpacked(self._theta)
        far, _ = tree.query(inputs / lengths, distance_upper_bound=most)
        return np.asarray(far)

    def _unpacked(self, theta: Array) -> tuple[Array, Array, float]:
        """Lengths, correlations and noise."""
        lengths, logits = np.exp(theta[: self._inputs]), theta[self._inputs : -1]
        return lengths, np.clip(1 / (1 + np.exp(-logits)), *LIMITS), float(np.exp(theta[-1]))

    def _moved(self, rng: np.random.Generator) -> Array:
        """A neighbour of the constants: with some lengths, some correlations or the noise moved."""
        theta, kind = self._theta.copy(), rng.random()
        lengths, gaps = theta[: self._inputs], theta[self._inputs : -1]
        if kind < 0.5:
            lengths += 0.6 * rng.normal(size=self._inputs) * (rng.random(self._inputs) < 0.35)
        elif kind < 0.85:
            gaps += 1.2 * rng.normal(size=self._gaps) * (rng.random(self._gaps) < 0.5)
            # Beyond the limits all is equally probable, and the chain would not come back.
            np.clip(gaps, _logit(LIMITS[0]), _logit(LIMITS[1]), out=gaps)
        else:
            theta[-1] += 0.7 * rng.normal()
        return theta

    def _density(
        self, theta: Array, inputs: Array, rungs: npt.NDArray[np.int64], scores: Array
    ) -> float:
        """The log posterior density of ``theta``, but for a constant."""
        lengths, correlations, noise = self._unpacked(theta)
        scaled = inputs / lengths
        covariance = _matern(_distances(scaled, scaled))
        covariance *= _between(correlations, rungs, rungs)
        covariance[np.diag_indices(len(rungs))] += noise + JITTER
        factor = cholesky(covariance, lower=True, check_finite=False, overwrite_a=True)
        solved = solve_triangular(factor, scores, lower=True, check_finite=False)
        away = (theta[: self._inputs] - self._center) / LENGTH_SPREAD
        strange = (theta[-1] - np.log(NOISE)) / NOISE_SPREAD
        prior = np.log(correlations) + DOUBT * np.log(1.0001 - correlations)
        fit = -0.5 * solved @ solved - np.log(np.diag(factor)).sum()
        return float(fit + prior.sum() - 0.5 * (away @ away + strange**2))


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def _distances(a: Array, b: Array) -> Array:
    """Between rows, in length scales, times the root of 5, (len(a), len(b))."""
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2 * a @ b.T
    return np.sqrt(5 * np.maximum(squares, 0) + 1e-12)


def _matern(far: Array) -> Array:
    return (1 + far + np.square(far) / 3) * np.exp(-far)


def _between(correlations: Array, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> Array:
    """The correlation of each pair of rungs: the product of those of the gaps between them."""
    along = np.concatenate([[0.0], np.cumsum(np.log(correlations))])
    return np.exp(-np.abs(along[a][:, None] - along[b][None]))
