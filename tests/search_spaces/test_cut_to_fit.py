"""A space that is cut to what fits: nothing else can be suggested, and nothing that fits is lost
but what lies between two widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import qmc

from search_spaces import Parameter, Space, load_space
from search_spaces.cut_to_fit import NothingFits, cut, smallest
from search_spaces.unit_cube import suggest_at
from vgg6.config import ACTIVATIONS, NORMS, TrialConfig

WIDTH = Parameter(name="width", low=0.125, high=2.0, log=True)
LR = Parameter(name="lr", low=0.001, high=0.1, log=True)


def at_most(most: float, **slower: float) -> Callable[[TrialConfig], bool]:
    """Fits where the width, times what its activation or norm costs, is at most that."""

    def fits(config: TrialConfig) -> bool:
        factors = slower.get(config.activation, 1.0) * slower.get(config.norm, 1.0)
        return config.width * factors <= most

    return fits


def suggestions(space: Space, count: int = 512) -> list[TrialConfig]:
    rows = qmc.Sobol(len(space.names), rng=np.random.default_rng(0)).random(count)
    points = [suggest_at(space, row) for row in rows]
    return [TrialConfig.from_mapping(p) for p in points]


def space_of(*parameters: Parameter, **more: object) -> Space:
    return Space(name="made", parameters=(LR, *parameters), **more)  # type: ignore[arg-type]


SPACES = [
    load_space("sizes"),
    replace(load_space("wide"), parameters=(WIDTH, *load_space("wide").parameters), points=()),
    space_of(WIDTH),
    space_of(replace(WIDTH, choices=(0.125, 0.5, 1.0), low=None, high=None, log=False)),
    space_of(Parameter(name="norm", choices=NORMS), WIDTH,
             Parameter(name="activation", choices=ACTIVATIONS, when={"norm": ("none", "group")})),
    space_of(Parameter(name="optimizer", choices=("sgd", "adam")),
             replace(WIDTH, when={"optimizer": ("sgd",)}),
             replace(WIDTH, high=1.0, when={"optimizer": ("adam",)})),
]  # fmt: skip


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("fits", [
    at_most(0.4), at_most(0.125), at_most(2.0), at_most(0.5, gelu=1.5, mish=2.0),
    at_most(0.5, group=2.0, gelu=1.2), at_most(0.3, silu=2.3),
])  # fmt: skip
def test_nothing_that_does_not_fit_can_be_suggested(
    space: Space, fits: Callable[[TrialConfig], bool]
) -> None:
    found = cut(space, fits)
    assert all(fits(config) for config in suggestions(found))
    assert all(fits(TrialConfig.from_mapping({**found.fixed, **p})) for p in found.points)
    assert Space.from_dict(found.to_dict()) == found


def test_each_activation_keeps_the_widths_that_fit_it() -> None:
    found = cut(load_space("sizes"), at_most(0.5, gelu=2.0, silu=2.0))
    ranges = {(p.high, p.when["activation"]) for p in found.parameters if p.name == "width"}
    assert ranges == {(0.5, ("relu", "sigmoid", "tanh")), (0.25, ("silu", "gelu"))}
    widest = max(c.width for c in suggestions(found) if c.activation == "relu")
    assert widest == pytest.approx(0.5, rel=0.01)


def test_a_space_that_fits_is_left_as_it_is() -> None:
    for name in ("sizes", "default", "wide", "study", "study_grid"):
        assert cut(load_space(name), lambda config: True) == load_space(name)


def test_a_choice_that_fits_at_no_width_is_left_out_with_what_depends_on_it() -> None:
    space = space_of(
        Parameter(name="activation", choices=("relu", "gelu")), WIDTH,
        Parameter(name="dropout", low=0.1, high=0.5, when={"activation": ("gelu",)}),
    )  # fmt: skip
    found = cut(space, at_most(0.3, gelu=5.0))
    assert [p.choices for p in found.parameters if p.name == "activation"] == [("relu",)]
    assert "dropout" not in found.names


def test_first_points_that_are_too_wide_get_the_widest_network_that_fits() -> None:
    found = cut(load_space("sizes"), at_most(0.5, gelu=2.0))
    assert [(p["activation"], p["width"]) for p in found.points] == [("gelu", 0.25), ("silu", 0.5)]


def test_listed_configurations_are_filtered_and_a_grid_holds_only_what_fits() -> None:
    points = tuple({"lr": 0.01, "width": w} for w in (0.25, 0.5, 1.0))
    listed = space_of(WIDTH, points=points, points_only=True)
    assert [p["width"] for p in cut(listed, at_most(0.5)).points] == [0.25, 0.5]
    grid = Space(name="g", parameters=(
        Parameter(name="activation", choices=("relu", "gelu")),
        Parameter(name="width", choices=(0.125, 0.5, 1.0)),
    ))  # fmt: skip
    fits = at_most(0.5, gelu=2.0)
    held = [(p["activation"], p["width"]) for p in cut(grid, fits).grid()]
    assert held == [("relu", 0.125), ("relu", 0.5), ("gelu", 0.125)]


@pytest.mark.parametrize("space", [
    load_space("default"), load_space("study"), space_of(WIDTH, fixed={"activation": "mish"}),
    space_of(Parameter(name="optimizer", choices=("sgd", "adam")),
             replace(WIDTH, when={"optimizer": ("sgd",)})),
])  # fmt: skip
def test_a_space_of_which_nothing_fits_everywhere_is_refused(space: Space) -> None:
    with pytest.raises(NothingFits):
        cut(space, at_most(0.3, mish=4.0))


def test_the_smallest_networks_of_a_space_are_one_for_each_activation_and_norm() -> None:
    assert {c.width for c in smallest(load_space("sizes"))} == {0.125}
    assert len(smallest(load_space("sizes"))) == 5
    assert {c.width for c in smallest(load_space("default"))} == {1.0}
