"""The interval of an accuracy that was counted on a finite number of images."""

from __future__ import annotations

LEVEL = 0.95


def wilson(accuracy: float, images: int) -> dict[str, float]:
    """Wilson's score interval (1927) of a share of ``images``: low, high and its level.

    It covers which images happened to be drawn; neither the seed of the training nor a choice
    among several scores.
    """
    from scipy.stats import binomtest  # a slow import, for the end of a run

    test = binomtest(round(accuracy * images), images)
    found = test.proportion_ci(confidence_level=LEVEL, method="wilson")
    return {"low": float(found.low), "high": float(found.high), "level": LEVEL}
