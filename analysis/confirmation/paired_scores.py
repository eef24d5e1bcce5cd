"""Compare candidates that ran the same seeds: pairs of them, by their differences seed by seed.

Scores are of any metric. A difference is positive where the first one is better.

A seed that is kind to one candidate is often kind to another, so the differences of a pair stray
less than its scores do. A few seeds tell little about how much. So the variance of a pair's
differences is averaged with that of all pairs and with that which the choice of the validation
images gives (of accuracies the binomial one). That is a moderated t-test (Smyth, 2004, "Linear
Models and Empirical Bayes Methods for Assessing Differential Expression in Microarray
Experiments"). Some configurations are much noisier than others, and a plain pooled variance would
call those different by chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vgg6.common.intervals import student_quantile
from vgg6.metric import ACCURACY, Metric

# What the variance of all pairs counts for, at most, and what the binomial one does, in degrees of
# freedom. Chosen by `python -m benchmarks.quality.confirmation --tune`.
POOLED_DF, BINOMIAL_DF = 0.5, 0.5
# One seed has no spread, and some configurations stray by 0.05. Only a gap above this, and above so
# many standard deviations of the choice of images, is a difference then.
FIRST_GAP, CLEAR_GAP = 0.2, 4.0
FIRST_GAP_NATS = 1.0  # the same of losses, which stray more
MOST_SEEDS = 100  # no more are asked for


@dataclass(frozen=True)
class Difference:
    """The mean of one candidate less that of another, over ``seeds`` that both ran.

    ``sd``: of the difference of one seed, and ``df``: its degrees of freedom; ``first_gap``: what a
    gap after one seed must be above.
    """

    gap: float
    seeds: int
    sd: float
    df: float
    first_gap: float = FIRST_GAP

    def bound(self, alpha: float) -> float:
        """What the true difference is above, but for a probability of ``alpha``."""
        return self.gap - self.half(alpha)

    def half(self, alpha: float) -> float:
        """How far a one-sided bound at ``alpha`` is from the gap."""
        if self.seeds == 1:
            return max(self.first_gap, CLEAR_GAP * self.sd)
        return student_quantile(alpha, self.df) * self.sd / math.sqrt(self.seeds)


class PairedScores:
    """Scores of candidates over the same seeds.

    Args:
        scores: of each candidate, one a seed: all of them as many.
        images: how many validation images each score counts: see ``Metric.images_behind``.
        metric: what they are scores of.

    ``means`` have their sign turned where less is better.
    """

    def __init__(
        self, scores: Mapping[int, Sequence[float]], images: float, metric: Metric = ACCURACY
    ) -> None:
        self.candidates, self.metric = list(scores), metric
        x = np.array([[metric.gain(s) for s in scores[c]] for c in self.candidates], dtype=float)
        self.count, self.seeds = x.shape
        self.means = dict(zip(self.candidates, map(float, x.mean(axis=1)), strict=True))
        self._place = {c: i for i, c in enumerate(self.candidates)}
        self._by_images = metric.variance(metric.gain(float(x.mean())), images)
        strays = x - x.mean(axis=1, keepdims=True)
        products = strays @ strays.T
        own = np.diag(products)
        self._pairs = np.maximum(own[:, None] + own[None, :] - 2 * products, 0.0)

    @property
    def order(self) -> list[int]:
        """The candidates, the best mean first; of equals the one that was given first."""
        return sorted(self.candidates, key=lambda c: -self.means[c])

    def difference(self, one: int, other: int) -> Difference:
        """``one`` less ``other``."""
        i, j = self._place[one], self._place[other]
        gap, df = self.means[one] - self.means[other], self.seeds - 1
        if not df:
            first = FIRST_GAP_NATS if self.metric.lower_is_better else FIRST_GAP
            return Difference(gap, 1, math.sqrt(2 * self._by_images), math.inf, first)
        pooled = float(self._pairs.sum()) / (max(1, self.count * (self.count - 1)) * df)
        lent = min(POOLED_DF, (self.count - 2) * df)
        total = df + lent + BINOMIAL_DF
        squares = float(self._pairs[i, j]) + lent * pooled + BINOMIAL_DF * 2 * self._by_images
        return Difference(gap, self.seeds, math.sqrt(squares / total), total)


def seeds_to_tell(difference: Difference, least: float, alpha: float) -> int:
    """How many more seeds put the bound of a difference above ``least``, at the gap and spread seen
    so far; at least 1, at most ``MOST_SEEDS``."""
    for more in range(1, MOST_SEEDS):
        seeds = difference.seeds + more
        df = more + (difference.df if difference.seeds > 1 else BINOMIAL_DF)
        half = student_quantile(alpha, df) * difference.sd / math.sqrt(seeds)
        if difference.gap - half > least:
            return more
    return MOST_SEEDS
