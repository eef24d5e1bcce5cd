"""VGG6 is the study's network, however it is computed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgg6.augment import Normalizer
from vgg6.config import ACTIVATIONS, INITS, NORMS, TrialConfig
from vgg6.data import TrialData
from vgg6.model import VGG6

PLAIN: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "silu": nn.SiLU, "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "mish": nn.Mish,
}  # fmt: skip


def plain_vgg6(activation: str, dropout: float = 0.0, first: int = 64) -> nn.Sequential:
    """The study's network as it is written down: activation after each layer, then the pooling.

    ``first``: channels of the first layer, by which all others are as wide as the study's are.
    """
    act, c = PLAIN[activation], first
    return nn.Sequential(
        nn.Conv2d(3, c, 3, padding=1), act(),
        nn.Conv2d(c, c, 3, padding=1), act(), nn.MaxPool2d(2),
        nn.Conv2d(c, 2 * c, 3, padding=1), act(),
        nn.Conv2d(2 * c, 2 * c, 3, padding=1), act(), nn.MaxPool2d(2),
        nn.Conv2d(2 * c, 4 * c, 3, padding=1), act(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * c, 8 * c), act(), nn.Dropout(dropout), nn.Linear(8 * c, 10),
    )  # fmt: skip


def _model(activation: str = "relu", **options: object) -> VGG6:
    torch.manual_seed(0)
    options = {"dropout": 0.0, "init": "kaiming", **options}
    return VGG6(TrialConfig(activation=activation, **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def batch(digits_small: TrialData) -> tuple[Tensor, Tensor]:
    """32 real images, a few of them noisy so that no two values tie by being background."""
    data = digits_small
    normalize = Normalizer(data.mean, data.std, torch.device("cpu"))
    images = normalize(torch.from_numpy(data.train.images[:32]))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    noisy = images + 0.1 * noise * (torch.arange(32) % 2).view(-1, 1, 1, 1)
    return noisy, torch.from_numpy(data.train.labels[:32])


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    loss = F.cross_entropy(model(images).float(), labels)
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_the_parameters_are_those_of_the_layout() -> None:
    convs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256)]
    expected = sum(i * o * 9 + o for i, o in convs) + (4096 * 512 + 512) + (512 * 10 + 10)
    assert sum(p.numel() for p in _model().parameters()) == expected == 2_658_122
    assert not any(isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)) for m in _model().modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_and_gradients_equal_the_plain_network(
    activation: str, dtype: torch.dtype, batch: tuple[Tensor, Tensor]
) -> None:
    exact = dtype == torch.float64
    count = 4 if exact else 12
    images, labels = batch[0][:count].to(dtype), batch[1][:count]
    ours = _model(activation).to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = plain_vgg6(activation).to(dtype)
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
            theirs.copy_(mine)
    contiguous = images.contiguous(memory_format=torch.contiguous_format)
    # In fp64 only a different function could differ. fp32 rounds in another order, and where
    # gradients nearly cancel (sigmoid's) that is a larger part of what is left of them.
    logits, gradients = (1e-10, 1e-10) if exact else (1e-5, 2e-2)

    torch.testing.assert_close(
        ours(images), plain(contiguous), rtol=logits, atol=logits, check_stride=False
    )
    expected = _gradients(plain, contiguous, labels)
    for mine, theirs in zip(_gradients(ours, images, labels), expected, strict=True):
        assert theirs.norm() > 0
        assert (mine - theirs).norm() <= gradients * theirs.norm()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_only_activations_that_never_decrease_wait_for_the_pooling(activation: str) -> None:
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    falls = (PLAIN[activation]()(x).diff() < -1e-12).any().item()
    assert _model(activation).pool_first == (not falls)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bf16_gives_the_gradients_of_fp32_to_its_own_precision(
    activation: str, batch: tuple[Tensor, Tensor]
) -> None:
    # bf16 is slow where nothing emulates it. Sigmoid's gradients nearly cancel in a few images.
    images, labels = (part[: 32 if activation == "sigmoid" else 6] for part in batch)
    model = _model(activation).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    exact = _gradients(model, images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(images)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), model(images), rtol=0.05, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    loss = F.cross_entropy(logits.float(), labels)
    for rough, fine in zip(torch.autograd.grad(loss, list(model.parameters())), exact, strict=True):
        assert rough.dtype == torch.float32  # the weights themselves stay whole
        # bf16 keeps 8 bits: after six layers a gradient still points where the exact one does.
        assert F.cosine_similarity(rough.flatten(), fine.flatten(), dim=0) > 0.95
        assert 0.9 < (rough.norm() / fine.norm()).item() < 1.1


def test_flattening_is_in_channel_order_whatever_the_memory_layout(
    batch: tuple[Tensor, Tensor],
) -> None:
    model, (images, _) = _model(), batch
    before = model(images.contiguous(memory_format=torch.contiguous_format))
    after = model.to(memory_format=torch.channels_last)(images)  # type: ignore[call-overload]
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)])
def test_norm_standardises_after_each_convolution(
    norm: str, kind: type[nn.Module], batch: tuple[Tensor, Tensor]
) -> None:
    model = _model(norm=norm)
    norms = [m for m in model.modules() if isinstance(m, kind)]
    assert len(norms) == 5
    seen: list[Tensor] = []
    for module in norms:
        module.register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    model.train()
    model(batch[0])
    assert [t.shape[1] for t in seen] == [64, 64, 128, 128, 256]
    for out in seen:
        assert abs(out.mean().item()) < 0.01
        assert abs(out.std().item() - 1) < 0.05
    plain = sum(p.numel() for p in _model().parameters())
    assert sum(p.numel() for p in model.parameters()) == plain + 2 * (64 + 64 + 128 + 128 + 256)


def _weights(model: VGG6) -> list[nn.Conv2d | nn.Linear]:
    return [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


def _fans(layer: nn.Conv2d | nn.Linear) -> tuple[int, int]:
    weight = layer.weight
    return weight[0].numel(), weight.shape[0] * math.prod(weight.shape[2:])


@pytest.mark.parametrize("init", INITS)
def test_initial_weights_have_the_deviation_of_their_rule(init: str) -> None:
    for layer in _weights(_model(init=init)):
        fan_in, fan_out = _fans(layer)
        expected = {
            "kaiming": math.sqrt(2 / fan_in),
            "xavier": math.sqrt(2 / (fan_in + fan_out)),
            "torch": math.sqrt(1 / (3 * fan_in)),  # uniform within 1 / sqrt(fan_in)
        }[init]
        assert abs(layer.weight.std().item() / expected - 1) < 0.05
        assert abs(layer.weight.mean().item()) < 0.1 * expected
        assert layer.bias is not None
        assert layer.bias.any().item() == (init == "torch")


def test_torchs_own_initialisation_is_that_of_the_plain_network() -> None:
    torch.manual_seed(7)
    ours = VGG6(TrialConfig(activation="relu"))
    torch.manual_seed(7)
    plain = plain_vgg6("relu")
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert mine.equal(theirs)


def test_dropout_acts_in_training_only_and_at_its_rate(batch: tuple[Tensor, Tensor]) -> None:
    images, _ = batch
    model = _model(dropout=0.25)
    dropped: list[Tensor] = []
    model.dropout.register_forward_hook(lambda _, i, out: dropped.append((out == 0) & (i[0] != 0)))
    model.eval()
    assert model(images).equal(model(images))
    assert not dropped[0].any()
    model.train()
    torch.manual_seed(0)
    assert not model(images).equal(model(images))
    active = 512 * 32 / 2
    assert 0.2 < dropped[-1].sum().item() / active < 0.3


@pytest.mark.parametrize("norm", NORMS)
def test_each_layer_halves_or_keeps_the_image_and_ends_in_ten_logits(norm: str) -> None:
    model = _model(norm=norm)
    shapes: list[tuple[int, ...]] = []
    for conv in model.convs:
        conv.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == [(64, 32, 32), (64, 32, 32), (128, 16, 16), (128, 16, 16), (256, 8, 8)]
