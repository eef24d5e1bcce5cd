"""The Gaussian process over rungs, on made functions: what it learns of a rung, and predicts."""

from __future__ import annotations

import numpy as np
import pytest

from vgg6.tuning.algorithms.rung_gaussian_process import Array, RungProcess

N = 30


def first(x: Array) -> Array:
    return np.sin(4 * x[:, 0]) + x[:, 1]


def other(x: Array) -> Array:
    return np.cos(7 * x[:, 0] + 2) * (1 - 2 * x[:, 1])


def standard(scores: Array) -> Array:
    return np.asarray((scores - scores.mean()) / scores.std())


def learnt(
    low: Array, high: Array, x: Array, seed: int = 0, rounds: int = 6
) -> tuple[RungProcess, float]:
    """A process that was shown two rungs of the same trials, and its mean correlation."""
    process, rng = RungProcess(2, 2), np.random.default_rng(seed)
    inputs, rungs = np.vstack([x, x]), np.repeat([0, 1], len(x))
    scores = np.concatenate([low, high])
    seen = []
    for _ in range(rounds):
        process.learn(inputs, rungs, scores, rng)
        seen.append(float(process.correlations[0]))
    process.condition(inputs, rungs, scores)
    return process, float(np.mean(seen[rounds // 2 :]))


@pytest.fixture(scope="module")
def x() -> Array:
    return np.random.default_rng(1).random((N, 2))


def test_a_rung_that_ranks_as_the_last_one_does_is_trusted(x: Array) -> None:
    _, correlation = learnt(standard(first(x)), standard(first(x)), x)
    assert correlation > 0.95


@pytest.mark.parametrize(("kind", "most"), [("another function", 0.4), ("chance", 0.75)])
def test_a_rung_that_says_nothing_of_the_last_one_is_not_trusted(
    x: Array, kind: str, most: float
) -> None:
    found = []
    for seed in range(4):
        chance = np.random.default_rng(seed).normal(size=N)
        low = other(x) if kind == "another function" else chance
        found.append(learnt(standard(low), standard(first(x)), x, seed)[1])
    assert np.mean(found) < most, found


def test_what_it_has_learnt_changes_when_later_trials_say_otherwise(x: Array) -> None:
    """However long the rungs had agreed."""
    same, unlike = standard(first(x)), standard(other(x))
    for seed in range(3):
        process, before = learnt(same, same, x, seed)
        rng, seen = np.random.default_rng(seed), []
        for _ in range(6):
            process.learn(
                np.vstack([x, x]), np.repeat([0, 1], N), np.concatenate([unlike, same]), rng
            )
            seen.append(float(process.correlations[0]))
        assert np.mean(seen[3:]) < 0.5 < before, seen


def test_the_prediction_interpolates_the_last_rung_and_is_doubtful_elsewhere(x: Array) -> None:
    high = standard(first(x))
    process, _ = learnt(high, high, x)
    mean, deviation = process.predict(x)
    assert np.abs(mean - high).max() < 0.25 and deviation.max() < 0.4
    grid = np.random.default_rng(5).random((200, 2))
    truth = (first(grid) - first(x).mean()) / first(x).std()
    mean, deviation = process.predict(grid)
    assert np.corrcoef(mean, truth)[0, 1] > 0.95
    far = process.predict(np.array([[9.0, 9.0]]))
    assert far[0] == pytest.approx(0, abs=1e-6) and far[1] == pytest.approx(1, abs=1e-3)


def test_trials_that_were_only_seen_early_guide_where_the_rungs_agree_and_else_do_not(
    x: Array,
) -> None:
    """The last rung was seen on one side only; the first rung everywhere."""
    left = x[:, 0] < 0.5
    grid = np.random.default_rng(5).random((100, 2)) * [0.4, 1] + [0.55, 0]
    certain = {}
    for name, low in (("agree", standard(first(x))), ("differ", standard(other(x)))):
        process, rng = RungProcess(2, 2), np.random.default_rng(0)
        inputs = np.vstack([x, x[left]])
        rungs = np.concatenate([np.zeros(N, int), np.ones(left.sum(), int)])
        scores = np.concatenate([low, standard(first(x))[left]])
        for _ in range(6):
            process.learn(inputs, rungs, scores, rng)
        process.condition(inputs, rungs, scores)
        certain[name] = float(np.mean(process.predict(grid)[1]))
    assert certain["agree"] < 0.6 * certain["differ"], certain


def test_rungs_between_hand_on_the_product_of_their_correlations(x: Array) -> None:
    process = RungProcess(2, 3)
    given = process.correlations
    assert given.shape == (2,)
    deviation = {}
    for rung in (0, 1, 2):
        process.condition(x[:1], np.array([rung]), np.array([1.0]))
        mean, spread = process.predict(x[:1])
        deviation[rung] = (float(mean[0]), float(spread[0]))
    assert deviation[1][0] == pytest.approx(deviation[2][0] * given[1])
    assert deviation[0][0] == pytest.approx(deviation[2][0] * given[0] * given[1])
    assert deviation[0][1] > deviation[1][1] > deviation[2][1]


def test_the_chain_is_its_generators(x: Array) -> None:
    high = standard(first(x))
    (one, _), (same, _), (unlike, _) = (learnt(high, high, x, seed, 2) for seed in (4, 4, 5))
    assert np.array_equal(one.predict(x)[0], same.predict(x)[0])
    assert not np.array_equal(one.predict(x)[0], unlike.predict(x)[0])


def test_scores_that_are_all_equal_do_no_harm(x: Array) -> None:
    process, _ = learnt(np.zeros(N), np.zeros(N), np.zeros_like(x), rounds=2)
    mean, deviation = process.predict(x)
    assert np.isfinite(mean).all() and np.isfinite(deviation).all()
