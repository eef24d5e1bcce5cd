"""Fast training is the same training: whole steps against a plain fp32 loop, for every value that a
space may try. The network is narrow, but for one run: bf16 is slow where nothing emulates it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from test_model import PLAIN as ACTIVATION_CLASSES
from test_model import plain_vgg6
from test_optim import PLAIN as OPTIMIZER_CLASSES
from torch import nn

from search_spaces import load_space
from vgg6.augment import epoch_batches
from vgg6.common.seeds import derive_seed
from vgg6.config import ACTIVATIONS, OPTIMIZERS, TrialConfig
from vgg6.data import Source, TrialData, split
from vgg6.hardware.runtime import Runtime, resident
from vgg6.model import VGG6
from vgg6.training import TrainState, fit

STEPS = 3
NARROW = 0.125
# Small enough that a step does not throw the loss far up: there any rounding grows without bound.
LR = {"sgd": 1e-3, "nesterov": 1e-3, "adagrad": 1e-4, "rmsprop": 1e-5}  # the others: 1e-4


def losses_of_plain_fp32(config: TrialConfig, data: TrialData) -> tuple[float, float]:
    """Mean training loss of the epoch and validation loss after it, of the loop as PyTorch's
    tutorials write it: fp32, NCHW, activation before pooling, no fused optimizer."""
    parts = resident(data, "cpu")
    torch.manual_seed(derive_seed(config.seed, 0, "weights"))
    start = VGG6(config)
    model: nn.Sequential = plain_vgg6(config.activation, first=int(64 * config.width))
    with torch.no_grad():
        for mine, theirs in zip(start.parameters(), model.parameters(), strict=True):
            theirs.copy_(mine)
    cls, options = OPTIMIZER_CLASSES[config.optimizer]
    optimizer = cls(model.parameters(), lr=config.lr, foreach=False, **options)  # type: ignore[call-arg]
    total = 0.0
    for images, labels in epoch_batches(
        parts.train_images, parts.train_labels, config.batch_size,
        seed=config.seed, epoch=1, flip=parts.flip,
    ):  # fmt: skip
        optimizer.zero_grad()
        loss = F.cross_entropy(model(parts.normalize(images).contiguous()), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    with torch.no_grad():
        logits = model(parts.normalize(parts.val_images).contiguous())
        val_loss = F.cross_entropy(logits, parts.val_labels).item()
    return total / len(parts.train_labels), val_loss


def assert_same(config: TrialConfig, data: TrialData) -> None:
    runtime = Runtime(device="cpu", precision="bf16", threads=1)
    expected_train, expected_val = losses_of_plain_fp32(config, data)
    found = next(fit(TrainState(config, runtime), data))
    # bf16 keeps 8 bits (0.4 %); the losses are means over it.
    assert found.train_loss == pytest.approx(expected_train, rel=0.01)
    assert found.val_loss == pytest.approx(expected_val, rel=0.02)
    assert abs(expected_val - 2.302585) > 1e-4 or config.activation == "sigmoid", "nothing moved"


@pytest.fixture(scope="module")
def few(cifar10_source: Source) -> TrialData:
    return split(cifar10_source, limit_train=16 * STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steps_in_bf16_lose_as_much_as_plain_fp32_ones(
    few: TrialData, activation: str, optimizer: str
) -> None:
    config = TrialConfig(
        activation=activation, optimizer=optimizer, lr=LR.get(optimizer, 1e-4), batch_size=16,
        dropout=0.0, init="kaiming", epochs=1, width=NARROW,
    )  # fmt: skip
    assert_same(config, few)


@pytest.mark.slow
def test_steps_of_the_studys_own_width_lose_as_much_as_plain_fp32_ones(
    cifar10_source: Source,
) -> None:
    config = TrialConfig(
        activation="gelu", optimizer="sgd", lr=1e-3, batch_size=4, dropout=0.0, init="kaiming",
        epochs=1,
    )  # fmt: skip
    assert_same(config, split(cifar10_source, limit_train=4 * STEPS))


SIZES = sorted(
    {
        size
        for name in ("default", "study", "study_sigmoide", "study_grid", "wide")
        for parameter in load_space(name).parameters
        if parameter.name == "batch_size"
        for size in parameter.choices
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", SIZES)
def test_every_batch_size_of_the_spaces_trains_as_plain_fp32(
    cifar10_source: Source, batch_size: int
) -> None:
    data = split(cifar10_source, limit_train=batch_size * 3 // 2)  # the last batch is a half
    config = TrialConfig(
        activation="gelu", optimizer="sgd", lr=1e-3, batch_size=batch_size, dropout=0.0,
        init="kaiming", epochs=1, width=NARROW,
    )  # fmt: skip
    assert_same(config, data)


def test_the_references_know_every_name() -> None:
    assert set(ACTIVATION_CLASSES) == set(ACTIVATIONS)
    assert set(OPTIMIZER_CLASSES) == set(OPTIMIZERS)
    assert {64, 128, 256} <= set(SIZES)
