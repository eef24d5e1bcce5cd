"""How far the model between a problem's recorded points can be trusted.

    python -m benchmarks.suite.fidelity        # a minute; needs nothing but the recorded curves
    python -m benchmarks.suite.fidelity --problems cifar-late

A search is judged by configurations that were never trained. What they would have scored is the
guess of a model. Here each recorded point is guessed by a model that has not seen it (16-fold
cross-validation). Printed are the part of the variance that is explained, and Spearman's rank
correlation: over all points, and over the better half. A search lives in the better half. Where the
guess does not rank it, a search cannot be told from chance there.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import spearmanr
from sklearn.model_selection import KFold

from benchmarks.suite.curves import model_of, recorded_points
from benchmarks.suite.problems import PROBLEMS
from vgg6.data import Array

FOLDS = 16


def guessed(inputs: Array, curves: Array, folds: int = FOLDS) -> Array:
    """The final score of each point, by a model of the other points."""
    found = np.empty(len(curves))
    for known, left in KFold(folds, shuffle=True, random_state=0).split(inputs):
        model = model_of(inputs[known], curves[known])
        found[left] = model.predict(inputs[left]).reshape(len(left), -1)[:, -1]
    return found


def agreement(scores: Array, guesses: Array) -> tuple[float, float, float]:
    """The variance explained, and rank correlations over all points and over the better half."""
    better = scores >= np.median(scores)
    explained = 1 - np.mean((guesses - scores) ** 2) / np.var(scores)

    def ranks(of: Array) -> float:
        return float(spearmanr(scores[of], guesses[of]).statistic)

    return float(explained), ranks(np.full(len(scores), True)), ranks(better)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    names = [problem.name for problem in PROBLEMS]
    parser.add_argument("--problems", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    print("problem        points  variance  ranks: all  better half")
    for problem in (p for p in PROBLEMS if p.name in arguments.problems):
        inputs, curves = recorded_points(problem)
        if len(inputs) < FOLDS:
            print(f"{problem.name:14} {len(inputs):6}  too few are recorded")
            continue
        explained, every, better = agreement(curves[:, -1], guessed(inputs, curves))
        print(f"{problem.name:14} {len(inputs):6}  {explained:8.2f}  {every:10.2f}  {better:11.2f}")


if __name__ == "__main__":
    main()
