"""Each optimizer is PyTorch's plain one, and each schedule PyTorch's curve, whatever is fused."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vgg6.config import OPTIMIZERS, SCHEDULES, TrialConfig
from vgg6.model import VGG6
from vgg6.optim import build_optimizer, lr_factor, set_lr

PLAIN: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "nadam": (torch.optim.NAdam, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "rmsprop": (torch.optim.RMSprop, {"momentum": 0.9}),
}


def _pair() -> tuple[VGG6, VGG6]:
    """Two equal small copies of the network, in the memory layout that training uses."""
    torch.manual_seed(0)
    config = TrialConfig(activation="relu", dropout=0.0, init="kaiming", width=0.25)
    models = VGG6(config), VGG6(config)
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return models


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_five_steps_equal_pytorchs_plain_loop(name: str, weight_decay: float) -> None:
    ours, plain = _pair()
    lr = 0.01 if name in ("sgd", "nesterov") else 1e-4
    config = TrialConfig(optimizer=name, lr=lr, weight_decay=weight_decay)
    fast = build_optimizer(ours.parameters(), config)
    cls, options = PLAIN[name]
    slow = cls(plain.parameters(), lr=lr, weight_decay=weight_decay, foreach=False, **options)
    draw = torch.Generator().manual_seed(1)
    before = [p.detach().clone() for p in ours.parameters()]
    for step in range(5):
        images = torch.randn((8, 3, 32, 32), generator=draw)
        labels = torch.randint(0, 10, (8,), generator=draw)
        # Both take the gradients of one model: the optimizers are compared, not the rounding.
        ours.zero_grad(set_to_none=True)
        F.cross_entropy(ours(images), labels).backward()
        for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
            assert mine.grad is not None
            theirs.grad = mine.grad.clone()
        for optimizer in (fast, slow):
            set_lr(optimizer, lr * (1 - 0.1 * step))
            optimizer.step()
    for start, mine, theirs in zip(before, ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
        assert (theirs - start).abs().max().item() > 1e-5  # it did move


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_configurations_numbers_reach_the_optimizer(name: str) -> None:
    has_momentum = name in ("sgd", "nesterov", "rmsprop")
    config = TrialConfig(
        optimizer=name, lr=0.03, weight_decay=0.02, momentum=0.7 if has_momentum else None
    )
    (group,) = build_optimizer(VGG6(config).parameters(), config).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.03, 0.02)
    assert group.get("nesterov", False) == (name == "nesterov")
    if has_momentum:
        assert group["momentum"] == 0.7
    assert len(group["params"]) == 14


def test_nesterov_without_momentum_is_plain_sgd() -> None:
    config = TrialConfig(optimizer="nesterov", momentum=0)
    (group,) = build_optimizer(VGG6(config).parameters(), config).param_groups
    assert group["momentum"] == 0
    assert not group["nesterov"]


def _torch_curve(schedule: str, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler: torch.optim.lr_scheduler.LRScheduler
    if schedule == "onecycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=1.0, total_steps=total, cycle_momentum=False
        )
    else:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    curve = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at its last step PyTorch warns that there is no next
        for step in range(total):
            curve.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step < total - 1:
                scheduler.step()
    return curve


@pytest.mark.parametrize("total", [50, 7, 352])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_a_schedule_equals_pytorchs_at_every_step(schedule: str, total: int) -> None:
    ours = [lr_factor(schedule, step, total) for step in range(total)]
    assert ours == pytest.approx(_torch_curve(schedule, total), rel=1e-9, abs=1e-12)


def test_a_constant_schedule_is_constant() -> None:
    assert {lr_factor("constant", step, 50) for step in range(50)} == {1.0}


@pytest.mark.parametrize("total", range(1, 21))
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_factor_is_positive_and_at_most_one_for_any_length(schedule: str, total: int) -> None:
    for step in range(total):
        assert 0 < lr_factor(schedule, step, total) <= 1


def test_set_lr_reaches_every_group() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [p], "lr": 1.0} for p in parameters])
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_steps_on_each_device(name: str, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    parameter = torch.nn.Parameter(torch.ones(3, device=device))
    optimizer = build_optimizer([parameter], TrialConfig(optimizer=name, lr=0.01))
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert (parameter < 1).all()


@pytest.mark.parametrize(("device", "fused"), [("cpu", True), ("meta", False)])
def test_adagrad_is_fused_on_the_cpu_alone(device: str, fused: bool) -> None:
    """CUDA has no such kernel of Adagrad; the meta device stands in for it where there is none."""
    parameter = torch.nn.Parameter(torch.ones(3, device=device))
    optimizer = build_optimizer([parameter], TrialConfig(optimizer="adagrad", lr=0.01))
    assert optimizer.defaults["fused"] is fused
