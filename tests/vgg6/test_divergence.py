"""A run that diverges stops before a weight is lost, and says in which loss it was seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.made.narrow_runs import FP32, narrow_config

from vgg6.data import TrialData
from vgg6.gradients import hold_weights
from vgg6.hardware.runtime import Runtime, resident
from vgg6.training import NonFiniteLoss, TrainState, fit


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 10.0},
        {"lr": 10.0, "activation": "gelu", "init": "torch"},
        {"lr": 10.0, "momentum": 0.0},
    ],
)
def test_a_run_that_diverges_stops_before_a_weight_is_lost(
    tiny: TrialData, runtime: Runtime, values: dict[str, Any]
) -> None:
    state = TrainState(narrow_config(**{"batch_size": 8, "epochs": 5, **values}), runtime)
    finished = []
    with pytest.raises(NonFiniteLoss, match="training loss is (nan|inf) at epoch") as caught:
        finished += list(fit(state, tiny))
    assert all(p.isfinite().all() for p in state.model.parameters())
    assert state.epoch == len(finished) == caught.value.epoch - 1
    assert caught.value.step > 0


def test_a_validation_loss_that_is_not_finite_is_divergence_too(tiny: TrialData) -> None:
    # One step an epoch: validation is the first to see what the last step did.
    state = TrainState(narrow_config(lr=10.0, batch_size=4096, epochs=9), FP32)
    with pytest.raises(NonFiniteLoss, match="validation loss is nan"):
        for metrics in fit(state, tiny):
            assert state.epoch == metrics.epoch
    assert state.best.epoch <= state.epoch


def test_gradients_of_a_lost_loss_are_zeroed_and_others_left(tiny: TrialData) -> None:
    parts = resident(tiny, "cpu")
    model = TrainState(narrow_config(), FP32).model
    logits = model(parts.normalize(parts.train_images[:8]))
    loss = F.cross_entropy(logits, parts.train_labels[:8])
    loss.backward(retain_graph=True)
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    hold_weights(model, torch.tensor(False))
    for kept, parameter in zip(before, model.parameters(), strict=True):
        assert parameter.grad is not None
        assert parameter.grad.equal(kept)
        assert parameter.grad.any()

    (loss * float("nan")).backward()
    hold_weights(model, torch.tensor(True))
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()  # NaN counts as true: none is left
