"""How much each hyperparameter adds to how trials stand, by an additive model.

The model is a sum of one curve a number and one level a value of a choice, fitted to all of them at
once. So a hyperparameter gets no credit for another one that its trials happened to have. Each has
a variance of its own, which the scores tell too: what adds nothing is shrunk to nothing. A share is
the first-order index of Sobol (1993), as that of fANOVA is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.insights.comparable_scores import Value

KNOTS = 5  # of a curve, which is straight in between
ROUNDS = 6  # of learning the variances
Array = npt.NDArray[np.float64]


class AdditiveModel:
    """Assesses hyperparameters of some trials, by the rows that their values are taken from.

    Args:
        trials: the hyperparameters of each.
        names: those that are assessed.
    """

    def __init__(self, trials: Sequence[Mapping[str, Value]], names: Sequence[str]) -> None:
        self._terms = {name: _Term.of([trial.get(name) for trial in trials]) for name in names}

    def shares(self, sources: Mapping[str, tuple[str, npt.NDArray[np.int64]]], y: Array) -> Array:
        """Each one's share in the variance of ``y``, in the order of ``sources``.

        Its own variance is that of its curve where all values are equally likely, as in fANOVA, for
        the part of the trials that have it. The rest of 1 is noise and interactions.

        Args:
            sources: the name of each, and the trials (n,) that its values are taken from.
            y: (n,).
        """
        terms = [self._terms[name] for name, _ in sources.values()]
        blocks = [self._terms[name].columns[rows] for name, rows in sources.values()]
        weights, noise = _fit(blocks, y)
        own = np.array(
            [np.var(term.even @ w) * term.held for term, w in zip(terms, weights, strict=True)]
        )
        return own / max(own.sum() + noise, 1e-12)


@dataclass(frozen=True)
class _Term:
    """One hyperparameter in the regression.

    Args:
        columns: (trials, k), of mean 0 over the trials that have it, and 0 for all others.
        even: (values, k), values that are equally likely.
        held: the part of the trials that have it.
    """

    columns: Array
    even: Array
    held: float

    @classmethod
    def of(cls, values: Sequence[Value | None]) -> _Term:
        given = [value for value in values if value is not None]
        has = np.array([value is not None for value in values])
        if any(value.is_choice for value in given):
            codes = pd.factorize(np.array([value.value for value in given], dtype=object))[0]
            even = np.eye(codes.max() + 1)
            own = even[codes]
        else:
            even = _hats(np.linspace(0, 1, 50))
            own = _hats(np.array([value.place for value in given]))
        columns = np.zeros((len(values), even.shape[1]))
        columns[has] = own - own.mean(axis=0)
        return cls(columns, even, float(has.mean()))


def _hats(places: Array) -> Array:
    """Linear B-splines at KNOTS places from 0 to 1."""
    knots = np.linspace(0, 1, KNOTS)
    return np.maximum(0.0, 1 - np.abs(places[:, None] - knots) * (KNOTS - 1))


def _fit(blocks: Sequence[Array], y: Array) -> tuple[list[Array], float]:
    """The weights of each block's columns, and the variance of what they do not explain.

    A block's weights are normal, of a variance of its own. These variances and that of the noise
    are learnt by the updates of MacKay (1992, "Bayesian Interpolation").
    """
    sizes = np.array([block.shape[1] for block in blocks])
    starts = np.cumsum(sizes) - sizes
    x = np.hstack(blocks)
    n, x, y = len(y), x - x.mean(axis=0), y - y.mean()
    products, along = x.T @ x, x.T @ y
    noise = float(y @ y) / n
    variances = noise / sizes
    weights = np.zeros(len(along))
    for _ in range(ROUNDS if noise else 0):
        scale = np.repeat(np.sqrt(variances / noise), sizes)
        inverse = np.linalg.inv(scale[:, None] * products * scale + np.eye(len(scale)))
        weights = scale * (inverse @ (scale * along))
        free = sizes - np.add.reduceat(np.diag(inverse), starts)  # degrees of freedom of a block
        rest = y @ y - 2 * weights @ along + weights @ products @ weights
        noise = max(float(rest) / max(n - 1 - float(free.sum()), 1.0), 1e-12)
        squares = np.add.reduceat(weights**2, starts)
        variances = np.maximum(squares / np.maximum(free, 1e-9), 1e-9 * noise)
    return np.split(weights, starts[1:]), noise
