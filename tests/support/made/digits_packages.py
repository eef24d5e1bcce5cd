"""A short training of a narrow network on digits, and changes to the package that it makes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from safetensors.torch import load_file

from analysis.packages.package_files import write_sums
from vgg6.checkpoint import save_weights
from vgg6.config import TrialConfig
from vgg6.data import data_facts, load_digits, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit

LIMIT = 100
RUNTIME = Runtime.resolve("cpu", threads=1)
CONFIG = TrialConfig(
    activation="silu", optimizer="adam", lr=1e-3, batch_size=32, epochs=3, width=0.25
)
OTHER = replace(CONFIG, activation="tanh")
SEEDS = (101, 102, 103)
DATA = split(load_digits(), limit_train=LIMIT)
FACTS = data_facts("digits", load_digits(), DATA, split_seed=42, limit_train=LIMIT)


def trained(config: TrialConfig) -> tuple[TrainState, list[dict[str, Any]]]:
    state = TrainState(config, RUNTIME)
    return state, [m.to_dict() for m in fit(state, DATA)]


def rewrite(package: Path, **changes: Any) -> None:
    """Change what a package holds, and give it true checksums again."""
    sections = yaml.safe_load((package / "config.yaml").read_text())
    config = changes.get("config", CONFIG)
    sections |= {k: changes[k] for k in ("data", "runtime", "stop_after") if k in changes}
    (package / "config.yaml").write_text(yaml.safe_dump(sections | {"config": config.to_dict()}))
    weights = changes.get("weights") or load_file(package / "weights.safetensors")
    save_weights(package / "weights.safetensors", weights, config)
    if "history" in changes:
        pd.DataFrame(changes["history"]).to_csv(package / "history.csv", index=False)
    if "metrics" in changes:
        (package / "metrics.json").write_text(json.dumps(changes["metrics"]))
    write_sums(package)
