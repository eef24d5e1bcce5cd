"""The command that trains a configuration again, for a person to run."""

from __future__ import annotations

import shlex

from vgg6.config import TrialConfig
from vgg6.run_record import DataFacts, RuntimeFacts


def train_command(
    config: TrialConfig,
    data: DataFacts,
    runtime: RuntimeFacts,
    stop_after: int | None,
    out: str | None = None,
) -> str:
    """The command that runs ``config`` again. It spells out every value: a default may change."""
    flags = {f"--{k.replace('_', '-')}": v for k, v in config.to_dict().items() if v is not None}
    flags |= {"--data": data.argument, "--split-seed": data.split_seed}
    if data.limit_train is not None:
        flags["--limit-train"] = data.limit_train
    flags |= {f"--{k}": v for k, v in runtime.to_dict().items()}
    if stop_after is not None:
        flags["--stop-after"] = stop_after
    if out is not None:
        flags["--out"] = out
    # str() of a float is its shortest form that reads back as the same float.
    words = [word for flag, value in flags.items() for word in (flag, str(value))]
    return shlex.join(["python", "tune_vgg6.py", "train", *words])
