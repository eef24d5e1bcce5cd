"""A surrogate that stands between the recorded points of a continuous space."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.replay.recorded import SCORES, Array, Noise, Run, by_point, final, mean_of
from search_spaces import Space
from vgg6.config import CHOICES

NAMES = ("activation", "optimizer", "schedule")
MOMENTUM = 0.9  # what stands for the momentum of an optimizer that has none
TREES, FOLDS = 200, 10
# Two that err differently: a sampler that models by trees might find its way about trees too well.
TREES_MODEL, GP_MODEL = "trees", "gp"
MODELS = (TREES_MODEL, GP_MODEL)
ALPHA = 1e-6  # a Gaussian process with so little noise passes through the recorded points


def features(config: dict[str, Any], space: Space) -> list[float]:
    """A configuration as numbers: names one-hot, rates by their logarithm, the learning rate's
    place in its optimizer's own range, and the step that batch size and momentum make of it."""
    momentum = config["momentum"] if config["momentum"] is not None else MOMENTUM
    one_hot = [float(config[name] == c) for name in NAMES for c in CHOICES[name]]
    lr, batch = np.log10(config["lr"]), np.log2(config["batch_size"])
    decay = np.log10(max(config["weight_decay"], 1e-7))
    step = lr - np.log10(1 - momentum) - np.log10(config["batch_size"])
    ranges = (p for p in space.parameters if p.name == "lr" and p.active(config))
    place = next(p.place(config["lr"]) for p in ranges)
    return [*one_hot, float(lr), place, float(batch), float(momentum), float(decay), float(step)]


class Surrogate:
    """Curves of any configuration of ``space``, by extremely randomised trees (Geurts et al., 2006)
    or by a Gaussian process over the recorded ones. At a recorded point it gives that point's own
    mean curve.

    Args:
        model: one of MODELS.
        seed: of the trees.
    """

    def __init__(
        self, space: Space, runs: list[Run], noise: Noise, model: str = TREES_MODEL, seed: int = 0
    ) -> None:
        self.space, self.noise, self.model, self.seed = space, noise, model, seed
        groups = list(by_point(runs).values())
        means = [mean_of(group) for group in groups]
        self.inputs = np.array([features(group[0].config, space) for group in groups])
        self.curves = np.array([scores for scores, _ in means])
        # A diverging run is one whose score is nothing, from its epoch on.
        self.finite = np.array([diverges is None for _, diverges in means], dtype=float)
        self._known: dict[bytes, tuple[Array, int | None]] = {}
        self._model = self._fit(np.arange(len(groups)))

    def allowed(self, config: dict[str, Any]) -> bool:
        return True

    def mean(self, config: dict[str, Any]) -> tuple[Array, int | None]:
        row = np.array([features(config, self.space)])
        if row.tobytes() not in self._known:
            self._known[row.tobytes()] = self._predict(self._model, row)[0]
        return self._known[row.tobytes()]

    @property
    def best(self) -> float:
        return max(final(scores) for scores in self.curves)

    def cross_validate(self) -> dict[str, float]:
        """Each tenth of the points predicted from the others: how far off its final validation
        accuracies are."""
        order = np.random.default_rng(self.seed).permutation(len(self.inputs))
        predicted = np.empty(len(order))
        for fold in np.array_split(order, min(FOLDS, len(order))):
            model = self._fit(np.setdiff1d(order, fold))
            predicted[fold] = [final(s) for s, _ in self._predict(model, self.inputs[fold])]
        truth = np.array([final(scores) for scores in self.curves])
        error = np.abs(predicted - truth)
        spread = np.square(truth - truth.mean()).sum()
        return {
            "points": float(len(truth)),
            "mae": float(error.mean()),
            "median_ae": float(np.median(error)),
            "r2": float(1 - np.square(error).sum() / spread),
            "rank_correlation": float(spearmanr(predicted, truth).statistic),
        }

    def _fit(self, rows: Array) -> Any:
        targets = np.hstack([self.curves[rows].reshape(len(rows), -1), self.finite[rows, None]])
        if self.model == TREES_MODEL:
            model = ExtraTreesRegressor(TREES, max_features=1.0, random_state=self.seed, n_jobs=1)
            return model.fit(self.inputs[rows], targets)
        lengths = np.full(self.inputs.shape[1], 3.0)  # in standard deviations of each input
        kernel = ConstantKernel() * Matern(lengths, (0.3, 1e3), nu=2.5)
        process = GaussianProcessRegressor(kernel, alpha=ALPHA, normalize_y=True)
        return make_pipeline(StandardScaler(), process).fit(self.inputs[rows], targets)

    def _predict(self, model: Any, inputs: Array) -> list[tuple[Array, int | None]]:
        found: list[tuple[Array, int | None]] = []
        for row in self._scores(model, inputs):
            scores, finite = row[:-1].reshape(-1, len(SCORES)), row[-1]
            found.append((scores, None if finite > 0.5 else 0))
        return found

    def _scores(self, model: Any, inputs: Array) -> Array:
        if self.model != TREES_MODEL:
            return np.asarray(model.predict(inputs))
        # What the forest's own predict sums up, without the job queue that takes most of its time
        # where there is one row: a replay asks for one configuration at a time.
        rows = inputs.astype(np.float32)
        total = np.zeros((len(rows), model.n_outputs_))
        for tree in model.estimators_:
            total += tree.tree_.predict(rows)[:, :, 0]
        return total / len(model.estimators_)
