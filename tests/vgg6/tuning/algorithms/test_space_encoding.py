"""A space as the model sees it, where what a parameter may be depends on others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.played_search import new_search, play

from search_spaces import Parameter, Space
from vgg6.tuning.algorithms.model_sampler import ModelSampler
from vgg6.tuning.algorithms.space_encoding import NAME_SCALE, SpaceEncoding


def batches_of_each(*for_adam: int) -> Space:
    """Batches of its own for each optimizer, and dropout for the smallest of them alone."""
    return Space(
        name="batches",
        parameters=(
            Parameter(name="optimizer", choices=("sgd", "adam")),
            Parameter(name="batch_size", choices=(32, 64), when={"optimizer": ("sgd",)}),
            Parameter(name="batch_size", choices=for_adam, when={"optimizer": ("adam",)}),
            Parameter(name="lr", low=1e-3, high=0.1, log=True),
            Parameter(name="dropout", low=0.0, high=0.5, when={"batch_size": (32,)}),
        ),
    )


@pytest.mark.parametrize("for_adam", [(128, 256), (256, 128, 32), (64, 32)])
def test_a_condition_on_a_choice_holds_whichever_list_the_choice_is_from(
    for_adam: tuple[int, ...],
) -> None:
    space = batches_of_each(*for_adam)
    encoding = SpaceEncoding(space)
    places = np.random.default_rng(0).random((200, 4))
    for place, row in zip(places, encoding.inputs_at(places), strict=True):
        params = encoding.at(place)
        batch = next(value for key, value in params.items() if key.startswith("batch_size"))
        assert ("dropout" in params) == (batch == 32)
        assert row[-1] == (place[3] if batch == 32 else 0.5)
        assert list(row[:2]) == [NAME_SCALE * (params["optimizer"] == o) for o in ("sgd", "adam")]
        assert np.allclose(encoding.inputs(params), row)


def test_the_default_searcher_goes_through_such_a_space(tmp_path: Path) -> None:
    run = new_search(tmp_path, "s", batches_of_each(128, 256), trials=24, epochs=4)
    search = play(run)
    assert len(search.history.trials) == 24 and search.history.by_model > 0


def test_a_point_that_leaves_something_open_is_hidden_from_the_model_like_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = batches_of_each(128).parameters
    points = ({"optimizer": "sgd", "batch_size": 64}, {"optimizer": "adam", "lr": 0.01})
    space = Space(name="open", parameters=parameters, points=points)
    seen: list[dict[int, int]] = []
    scores = ModelSampler._rung_scores

    def watched(self: ModelSampler, trials: list) -> list[dict[int, float]]:  # type: ignore[type-arg]
        found = scores(self, trials)
        seen.append(dict(self._own))
        assert not {number for rung in found for number in rung} & set(self._own.values())
        return found

    monkeypatch.setattr(ModelSampler, "_rung_scores", watched)
    run = new_search(tmp_path, "s", space, trials=24, epochs=4)
    trials = play(run).history.trials
    assert seen[-1] == {0: 0, 1: 1} and [trials[n].epoch for n in (0, 1)] == [4, 4]
