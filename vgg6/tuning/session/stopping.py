"""When a search may end: once its incumbent is unlikely to be beaten by more than a margin.

A search shows a score for each trial that ends, whatever ended it, and asks how probable it is that
one of the trials still to come, or now running, is above the incumbent's by more than the margin.
That is a question about the upper tail of the scores, which extreme-value theory answers: above a
high threshold any distribution is close to a generalised Pareto one (Pickands, "Statistical
inference using extreme order statistics", Annals of Statistics 3, 1975), and from the best values
of a random search the distance to the maximum can be told (de Haan, "Estimation of the minimum of a
function using order statistics", JASA 76, 1981; as a stopping rule: Zhigljavsky and Hamilton,
"Stopping rules in k-adaptive global random search algorithms", J. Global Optimization 48, 2010).
Like Makarova et al., "Automatic termination for hyperparameter optimization" (AutoML 2022) it stops
where what is left to gain is below a stated amount, but asks no model of the space for it: early
stopping leaves too few full-length scores for one.

What is known is little, so nothing is estimated by one number: shape and scale of the tail and the
share of trials that reach it are averaged over what the scores leave possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from vgg6.data.layouts import Array
from vgg6.tuning.run import journal as j

RISK = 0.05  # a search ends where the probability of a better trial is below this
LEAST, LEAST_FULL = 20, 5  # ended trials, and those of full length, before which nothing is said
PEERS = 5  # ended trials that went on past an epoch, to tell how one that stands there will end
FEWEST = 4  # exceedances that a tail is fitted to
# Near a maximum of d dimensions the shape is -2/d (de Haan), and 0 for Gaussian noise: from four
# dimensions on. An accuracy is bounded, so no heavier tail is possible.
SHAPES = np.linspace(-0.5, 0.0, 7)
SCALES = np.exp(np.linspace(np.log(0.25), np.log(16.0), 36))  # times the mean excess
FINEST = 1e-4  # accuracies that differ by less than this are the same
SHARES = (np.arange(8) + 0.5) / 8  # quantiles that stand for the distribution of a share


class Outlook(NamedTuple):
    """How probable a better trial is.

    ``probability``: that a trial scores above ``incumbent`` by more than the margin; where it is
    above RISK, of some of them. ``to_come`` and ``running``: how many have not begun, or have.
    """

    probability: float
    incumbent: float
    to_come: int
    running: int


@dataclass(frozen=True)
class MarginRule:
    """Says when a search may end, from its history alone: a resumed search decides the same.

    Args:
        margin: validation accuracy, from 0 to 1.
        first: trials of points that nobody sampled, which are evaluated first: these say nothing
            about what a sampled one scores.
        total: trials of the whole search.
    """

    margin: float
    first: int
    total: int

    def outlook(self, history: j.History) -> Outlook | None:
        """How probable a better trial is; None where too little is known to say."""
        trials = history.trials.values()
        ended = [t for t in trials if t.state in (j.COMPLETED, j.PRUNED, j.INFEASIBLE)]
        sample = self._sample(ended)
        full = sum(t.state == j.COMPLETED for t in sample)
        able = [t.best_val_acc for t in trials if t.state not in (j.INFEASIBLE, j.FAILED)]
        incumbent = max((score for score in able if score is not None), default=None)
        if len(sample) < LEAST or full < LEAST_FULL or incumbent is None:
            return None
        bar = incumbent + self.margin
        active = [t for t in trials if t.state in (j.RUNNING, j.STOPPED)]
        begun = [t for t in active if t.epoch]
        to_come = max(0, self.total - len(trials)) + len(active) - len(begun)
        if not to_come and not begun:
            return None  # it has ended by itself
        none_better = 1.0 - above(np.array([_outcome(t) for t in sample]), bar, to_come, full)
        for trial in begun:
            if none_better <= 1.0 - RISK:
                break  # the answer is known, and a large cluster runs many
            reach = reachable(trial, ended)
            chance = above(reach, bar, 1, len(reach)) if len(reach) >= PEERS else 1.0
            none_better *= 1.0 - chance
        return Outlook(1.0 - none_better, incumbent, to_come, len(begun))

    def _sample(self, ended: list[j.TrialRecord]) -> list[j.TrialRecord]:
        """The trials that tell what further ones will score: of those that were sampled the later
        half, as a sampler that learns suggests better ones than it did; more where that is few."""
        sampled = sorted((t for t in ended if t.number >= self.first), key=lambda t: t.number)
        numbers = [i for i, t in enumerate(sampled) if t.state == j.COMPLETED][-LEAST_FULL:]
        wanted = [len(sampled) // 2, len(sampled) - LEAST, *numbers[:1]]
        return sampled[max(0, min(wanted)) :]

    def reason(self, history: j.History) -> str:
        """Why the search ends; empty while it goes on."""
        found = self.outlook(history)
        if found is None or found.probability >= RISK:
            return ""
        return (
            f"with a probability of {found.probability:.1%} (below {RISK:.0%}) the {found.to_come}"
            f" trials to come and the {found.running} running beat the incumbent's"
            f" {found.incumbent:.4f} by more than {self.margin:g}"
        )


def promise(margin: float) -> str:
    """When a search with this margin ends, as a plan says it."""
    return f"when a better trial by more than {margin:g} is less likely than {RISK:.0%}"


def _outcome(trial: j.TrialRecord) -> float:
    """What the search gets of an ended trial: the score at which it was stopped, if it was; of a
    diverged one nothing."""
    return 0.0 if trial.state == j.INFEASIBLE else trial.best_val_acc or 0.0


def reachable(trial: j.TrialRecord, ended: list[j.TrialRecord]) -> Array:
    """What a running trial may end with: one value for each ended trial that went on past the epoch
    at which it stands.

    Final scores are regressed on those at that epoch, and the residuals put on its own prediction.
    """
    peers = [t for t in ended if t.epoch > trial.epoch and trial.epoch in t.rows]
    then = np.array([float(t.rows[trial.epoch]["best_val_acc"]) for t in peers])
    last = np.array([_outcome(t) for t in peers])
    if not peers:
        return last
    spread = np.square(then - then.mean()).sum()
    slope = ((then - then.mean()) * (last - last.mean())).sum() / spread if spread else 0.0
    # Not below 0 nor above 1: fewer points would say more than they know.
    slope = float(np.clip(slope, 0.0, 1.0))
    reach: Array = last + slope * ((trial.best_val_acc or 0.0) - then)
    return reach


def above(scores: Array, bar: float, trials: int, full: int) -> float:
    """The probability that at least one of ``trials`` more draws is above ``bar``.

    The best quarter of ``scores`` are exceedances of a threshold, at most half of those of full
    length, so that the tail is one of scores that can be compared. How far a further exceedance
    goes follows a generalised Pareto distribution, how many there are a binomial one. Their
    parameters are integrated out: shape and log-scale over a flat prior, the share over Jeffreys'.

    Args:
        scores: more than FEWEST.
        full: how many of them are of full length.
    """
    if bar >= 1.0 or not trials:
        return 0.0
    ordered, count = np.sort(scores)[::-1], len(scores)
    k = max(FEWEST, min(count // 4, full // 2))
    threshold = ordered[k]
    if bar <= threshold:  # no tail is needed to tell
        share = (float((ordered > bar).sum()) + 0.5) / (count + 1)
        return float(1.0 - (1.0 - share) ** trials)
    excess = ordered[:k] - threshold
    scale = max(float(excess.mean()), FINEST) * SCALES
    # log density = -log(scale) - (1 + shape) * hazard
    likelihoods = [-np.log(scale) - (1.0 + SHAPES[:, None]) * _hazard(x / scale) for x in excess]
    total = np.sum(likelihoods, axis=0)
    weights = np.exp(total - total.max())
    beyond = np.exp(-_hazard((bar - threshold) / scale))
    shares = beta.ppf(SHARES, k + 0.5, count - k + 0.5)
    none = (1.0 - shares[:, None, None] * beyond) ** trials
    return float(1.0 - (none.mean(axis=0) * weights).sum() / weights.sum())


def _hazard(ratio: Array) -> Array:
    """-log of the probability that a draw of a shape (rows) exceeds ``ratio`` scales (columns);
    infinite beyond the end of a bounded one."""
    shape = SHAPES[:-1, None]
    with np.errstate(divide="ignore"):
        bounded = np.log(np.maximum(1.0 + shape * ratio, 0.0)) / shape
    return np.vstack([bounded, ratio])  # the last shape is 0: exponential
