"""Run folders with known effects built in: what an analysis finds in one can be checked."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support.made.runs import DATA, STARTED, search_facts

from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE
from vgg6.tuning.settings import Settings

BASE, CHANCE, RATE = 0.6, 0.1, 0.6
IMAGES = {**DATA, "name": "cifar10", "argument": "cifar10", "train_images": 45_000,
          "val_images": 5_000, "limit_train": None}  # fmt: skip


def made_study(
    folder: Path,
    configs: Sequence[TrialConfig],
    *,
    name: str = "study",
    effects: Mapping[Any, float] | None = None,
    speed: Mapping[str, float] | None = None,
    rough: Mapping[str, float] | None = None,
    growth: float = 0.0,
    noise: float = 0.001,
    dead: Collection[str] = (),
    diverged: Collection[str] = (),
    crashed: Collection[str] = (),
    space: str = "study",
    data: Mapping[str, Any] = IMAGES,
    **facts: Any,
) -> RunFolder:
    """A finished search of ``configs``, whose accuracies approach BASE plus their effects.

    Args:
        effects: on the accuracy, by value (``"gelu"``, ``"adam"``, ``0.01``, ``64``).
        speed: factor of the rate of approach, by optimizer.
        rough: standard deviation of an epoch's accuracy, by optimizer.
        growth: what each epoch after the tenth adds.
        noise: standard deviation between trials.
        dead: labels of trials that stay at chance; diverged, crashed: of those without an epoch.
    """
    effects, speed, rough = effects or {}, speed or {}, rough or {}
    run = RunFolder(str(folder / name))
    run.create()
    settings = Settings(name=name, trials=64, searcher="grid", scheduler="none").to_dict()
    about = {"settings": settings, "data": dict(data), "created": "2026-11-24T10:00:00+0000",
             "command": "python tune_vgg6.py search --space study --searcher grid"}  # fmt: skip
    run.write_json(SEARCH, search_facts(name, len(configs), space) | about | facts)
    events: list[dict[str, Any]] = [{"event": "session", "time": STARTED, "session": "session_1"}]
    for number, config in enumerate(configs):
        draw = np.random.default_rng(int(config.fingerprint, 16))
        values = (config.activation, config.optimizer, config.lr, config.batch_size)
        top = BASE + sum(effects.get(v, 0.0) for v in values) + noise * draw.standard_normal()
        rate = RATE * speed.get(config.optimizer, 1.0)
        began, best, best_epoch = STARTED + 10 * number, 0.0, 0
        params = dict(zip(("activation", "optimizer", "lr", "batch_size"), values, strict=True))
        events.append({"event": "trial", "time": began, "trial": number,
                       "config": config.to_dict(), "params": params})  # fmt: skip
        length = 0 if config.label in {*diverged, *crashed} else config.epochs
        for epoch in range(1, length + 1):
            score = CHANCE + (top - CHANCE) * (1 - math.exp(-rate * epoch))
            score += growth * max(0, epoch - 10)
            score += rough.get(config.optimizer, 0.0) * draw.standard_normal()
            if config.label in dead:
                score = CHANCE
            score = round(min(1.0, max(0.0, score)), 6)
            if score > best:
                best, best_epoch = score, epoch
            events.append(
                {"event": "epoch", "time": began + 10.0 * epoch, "trial": number, "epoch": epoch,
                 "train_loss": 2.3 * (1 - score), "train_acc": score * 0.99,
                 "val_loss": 2.3 - score, "val_acc": score, "best_val_acc": best,
                 "best_epoch": best_epoch, "lr": config.lr, "seconds": 9.5,
                 "node": "node0", "pid": 100}
            )  # fmt: skip
        state = INFEASIBLE if config.label in diverged else COMPLETED
        state = FAILED if config.label in crashed else state
        reason = "training loss is nan at epoch 1, step 3: the run diverged" * (not length)
        events.append({"event": "end", "time": began + 400.0, "trial": number, "state": state,
                       "reason": reason})  # fmt: skip
    events.append({"event": "session_end", "time": STARTED + 1000.0, "session": "session_1",
                   "outcome": "complete"})  # fmt: skip
    run.write(JOURNAL, "".join(json.dumps(event) + "\n" for event in events).encode())
    return run
