"""What a search is expected to cost, before it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_spaces import Space, load_space
from search_spaces.parameter import Parameter
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.session import cost
from vgg6.tuning.settings import AUTO_TRIALS, Settings

LEARNING_RATE = Parameter(name="lr", low=0.001, high=0.1, log=True)


def space_of(*parameters: Parameter, **fixed: float) -> Space:
    return Space(name="one", parameters=(LEARNING_RATE, *parameters), fixed=fixed)


@pytest.mark.slow
def test_sharpened_epochs_count_twice_in_a_plan(digits_small: TrialData, runtime: Runtime) -> None:
    settings = Settings(name="plan", epochs=6, scheduler="none")

    def estimate(space: Space) -> cost.Estimate:
        return cost.estimate(settings, space, digits_small, runtime, 4, concurrent=2)

    plain, sharp = estimate(space_of()), estimate(space_of(sam=0.05))
    assert plain.epochs == sharp.epochs == 4 * 6
    assert plain.total_seconds == pytest.approx(plain.epoch_seconds * 24 / 2)
    assert sharp.total_seconds == pytest.approx(sharp.epoch_seconds * (24 + 8) / 2)


def test_epochs_that_some_of_a_space_sharpen_count_by_their_share() -> None:
    varied = space_of(Parameter(name="sam", choices=(0.0, 0.05, 0.1)))
    share = cost.sharpened_share(cost.sampled_configs(varied, 5))
    assert list(share[:3]) == [0, 0, 0], "the last third, begun ones whole"
    assert share[3:] == pytest.approx(2 / 3, abs=0.03)
    listed = replace(varied, points=({"lr": 0.1, "sam": 0.1}, {"lr": 0.1, "sam": 0.0}))
    walked = cost.sampled_configs(replace(listed, points_only=True), 3)
    assert list(cost.sharpened_share(walked)) == [0, 0, 0.5]


@pytest.mark.slow
def test_automatic_trials_are_fewer_where_time_is_short(
    digits_small: TrialData, runtime: Runtime
) -> None:
    settings = Settings(name="plan", epochs=6)
    least, most = int(AUTO_TRIALS.low), int(AUTO_TRIALS.high)
    for limit, expected in ((1e-6, least), (1e6, most)):
        space = load_space("default")
        assert cost.auto_trials(settings, space, digits_small, runtime, 2, limit) == expected
