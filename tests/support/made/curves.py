"""Made-up learning curves, shaped like those of this network: a plateau at chance, then a rise."""

import json
import math

import numpy as np
import pandas as pd

from benchmarks.quality.thinning import BEST_LR
from benchmarks.replay.plan import EPOCHS, jobs
from vgg6.config import TrialConfig

COST = {"relu": 0.02, "sigmoid": 0.5, "tanh": 0.05, "silu": 0.005, "gelu": 0.0, "sgd": 0.01,
        "nesterov": 0.0, "adam": 0.02, "adamw": 0.015, "nadam": 0.02, "adagrad": 0.05,
        "rmsprop": 0.03}  # fmt: skip


def quality(config: TrialConfig) -> float:
    """A final validation accuracy without noise: 0.75 at the best, 0.1 at the worst."""
    away = math.log10(config.lr / BEST_LR[config.optimizer])
    loss = 0.12 * away**2 + COST[config.activation] + COST[config.optimizer]
    return max(0.1, 0.75 - loss)


def made_runs(count: int, seed: int = 0) -> pd.DataFrame:
    """The first ``count`` runs of the plan, recorded by a formula."""
    rng = np.random.default_rng(seed)
    frames = []
    for job in jobs()[:count]:
        config, last = job.config, quality(job.config)
        away = math.log10(BEST_LR[config.optimizer] / config.lr)
        plateau = float(np.clip(2.0 + 2.5 * away, 0, 6))
        epochs = np.arange(1, EPOCHS + 1)
        rise = 1 - np.exp(-np.clip(epochs - plateau, 0, None) / 4)
        acc = 0.1 + (last - 0.1) * rise / rise[-1]
        if last > 0.2:
            acc = acc + rng.normal(0, 0.01, EPOCHS)
        diverged = config.lr > 25 * BEST_LR[config.optimizer]
        frames.append(
            pd.DataFrame(
                {
                    "space": job.space, "point": job.index, "seed": config.seed,
                    "config": json.dumps(config.to_dict()), "data": "made-up", "machine": "none",
                    "ended": "diverged" if diverged else "completed", "epoch": epochs,
                    "val_acc": acc, "val_loss": 2.6 - 2.5 * acc, "train_acc": acc,
                    "train_loss": 2.6 - 2.5 * acc, "lr": config.lr, "seconds": 1.0,
                    "best_val_acc": np.maximum.accumulate(acc), "best_epoch": epochs,
                }
            ).iloc[: 2 if diverged else EPOCHS]
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)
