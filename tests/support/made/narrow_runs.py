"""Short runs of a narrow network on a CPU, and all that two equal ones have in common."""

from __future__ import annotations

import hashlib
from typing import Any

from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.model import VGG6
from vgg6.training import TrainState, fit

FP32 = Runtime(device="cpu", precision="fp32", threads=1)


def narrow_config(**values: Any) -> TrialConfig:
    """A run of a narrow network: how wide it is proves nothing here."""
    shared = {"activation": "relu", "lr": 0.01, "batch_size": 16, "epochs": 3, "init": "kaiming",
              "width": 0.25}  # fmt: skip
    return TrialConfig(**{**shared, **values})


def digest(model: VGG6) -> str:
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()


def run(state: TrainState, data: TrialData, **options: Any) -> list[dict[str, Any]]:
    """Each epoch's metrics without its time, and the weights after it."""
    out = []
    for metrics in fit(state, data, **options):
        facts = {k: v for k, v in metrics.to_dict().items() if k != "seconds"}
        out.append({**facts, "weights": digest(state.model)})
    return out
