"""Sharpness-aware steps: in the last third of a run alone, and the weights stay where they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.made.narrow_runs import FP32, digest, narrow_config, run

from vgg6.data import TrialData
from vgg6.gradients import Gradients
from vgg6.hardware.runtime import resident
from vgg6.sharpness import Sharpened
from vgg6.training import TrainState


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_only_the_last_third_of_a_run_is_sharpened_and_leaves_the_weights_in_place(
    tiny: TrialData, norm: str
) -> None:
    config = narrow_config(norm=norm, epochs=5, sam=0.1, dropout=0.0)
    plain, sharp = (run(TrainState(c, FP32), tiny) for c in (replace(config, sam=0.0), config))
    assert [a == b for a, b in zip(plain, sharp, strict=True)] == [True] * 3 + [False] * 2

    parts = resident(tiny, "cpu")
    state = TrainState(config, FP32)
    gradients = Gradients(state.model, parts.normalize, FP32, 0.0)
    before = digest(state.model)
    gradients(parts.train_images, parts.train_labels)
    once, normalised = gradients.totals.clone(), digest(state.model)
    assert (before == normalised) == (norm == "none"), "batch norm keeps what it saw"
    slope = state.model.fc1.weight.grad
    assert slope is not None
    state = TrainState(config, FP32)
    gradients = Gradients(state.model, parts.normalize, FP32, 0.0)
    Sharpened(gradients, gradients, 0.1)(parts.train_images, parts.train_labels)
    assert digest(state.model) == normalised, "weights and statistics, to the last bit"
    assert gradients.totals.equal(once), "counted once"
    sharp_slope = state.model.fc1.weight.grad
    assert sharp_slope is not None and not torch.allclose(sharp_slope, slope, rtol=1e-2)


def test_a_loss_that_is_not_finite_beside_the_weights_only_is_seen_and_leaves_them(
    tiny: TrialData,
) -> None:
    parts = resident(tiny, "cpu")
    state = TrainState(narrow_config(), FP32)
    gradients = Gradients(state.model, parts.normalize, FP32, 0.0)
    before = digest(state.model)
    gradients(parts.train_images, parts.train_labels)
    assert gradients.finite
    Sharpened(gradients, gradients, 1e30)(parts.train_images, parts.train_labels)
    assert not gradients.finite and gradients.loss.isfinite()
    assert digest(state.model) == before
