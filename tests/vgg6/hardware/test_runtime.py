"""A run takes the device, precision and threads that there are, and holds its data there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.made.narrow_runs import FP32, narrow_config

from vgg6.augment import epoch_batches
from vgg6.common.checks import InputError
from vgg6.data import Source, TrialData, split
from vgg6.gradients import Gradients, Replayed
from vgg6.hardware.runtime import Runtime, native_bf16, resident, usable_cpus
from vgg6.sharpness import Sharpened
from vgg6.training import TrainState


def test_auto_becomes_what_the_machine_has() -> None:
    found = Runtime.resolve()
    assert found.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found.precision in ("bf16", "fp32")
    assert found.threads == usable_cpus()
    if native_bf16():
        assert Runtime.resolve("cpu").precision == "bf16"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "gpu"}, "^device: 'gpu' is not one of auto, cpu, cuda"),
        ({"precision": "fp16"}, "^precision: 'fp16' .*did you mean 'bf16'"),
        ({"threads": 0}, "^threads: 0 is not in"),
        ({"threads": 1.5}, "^threads: 1.5 is not a whole number"),
        ({"threads": True}, "^threads: True is not a whole number"),
    ],
)
def test_a_machine_that_does_not_exist_is_an_input_error(
    asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Runtime.resolve(**asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_where_there_is_none_is_an_input_error() -> None:
    with pytest.raises(InputError, match="device: 'cuda' needs a CUDA GPU"):
        Runtime.resolve("cuda")


def test_a_run_on_a_gpu_uses_only_convolutions_that_give_the_same_bits_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    FP32.apply()
    assert not torch.backends.cudnn.deterministic, "it is no matter on a CPU"
    replace(FP32, device="cuda").apply()
    assert torch.backends.cudnn.deterministic


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("radius", [0.0, 0.05])
def test_replaying_a_cuda_graph_gives_the_gradients_of_running_each_batch(
    digits_source: Source, dropout: float, radius: float
) -> None:
    runtime = Runtime(device="cuda", precision="fp32", threads=1)
    config = narrow_config(dropout=dropout, batch_size=32)
    parts = resident(split(digits_source, limit_train=32 * 9 + 5), "cuda")
    found = []
    for replays in (False, True):
        state = TrainState(config, runtime)
        gradients = Gradients(state.model, parts.normalize, runtime, 0.0)
        plain = Replayed(gradients, 32) if replays else gradients
        compute = Sharpened(plain, gradients, radius) if radius else plain
        state.model.train()
        for epoch in (1, 2):
            torch.manual_seed(epoch)
            for images, labels in epoch_batches(
                parts.train_images, parts.train_labels, 32, seed=1, epoch=epoch, flip=False
            ):
                compute(images, labels)
                state.optimizer.step()
        assert gradients.finite
        found.append((gradients.totals.tolist(), state.model.state_dict()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for name, value in found[0][1].items():
        torch.testing.assert_close(value, found[1][1][name], rtol=1e-3, atol=1e-5)


def test_data_with_equal_images_but_another_rule_is_not_taken_for_the_same(
    tiny: TrialData, digits_source: Source
) -> None:
    assert not resident(tiny, "cpu").flip
    mirrored = split(replace(digits_source, flip=True), limit_train=60)
    assert resident(mirrored, "cpu").flip
