"""Run folders of made-up trials, as a search writes them, for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import load_space
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, PRUNED
from vgg6.tuning.settings import Settings

STARTED = 1_790_000_000.0
ACTIVATIONS = ("relu", "sigmoid", "tanh", "silu", "gelu")
OPTIMIZERS = ("sgd", "nesterov", "adam", "adagrad", "rmsprop", "nadam")
DATA = {
    "name": "digits", "argument": "digits", "origin": "made up", "fingerprint": "0" * 12,
    "train_images": 300, "val_images": 100, "split_seed": 42, "limit_train": 300,
}  # fmt: skip


def search_facts(
    name: str, trials: int, spaces: str = "study_grid", **facts: Any
) -> dict[str, Any]:
    """A whole ``search.json``, but for what ``facts`` say otherwise."""
    settings = Settings(name="made", trials=max(1, trials), data="digits", searcher="random")
    return {
        "format": 1, "name": name, "created": "2026-11-24T10:00:00+0000",
        "command": "python tune_vgg6.py search --data digits", "trials": trials,
        "settings": settings.to_dict(), "space": load_space(spaces).to_dict(), "data": DATA,
        "runtime": {"device": "cpu", "precision": "fp32", "threads": 1}, "versions": {},
    } | facts  # fmt: skip


def made_run(
    folder: Path,
    trials: int,
    epochs: int,
    *,
    seed: int = 0,
    name: str = "made",
    metric: Metric = ACCURACY,
    **facts: Any,
) -> RunFolder:
    """A finished search of ``trials``: every seventh diverged, every third was pruned at the first
    epoch, the fifth crashed, all others are complete.

    By another metric than accuracy, the best trials and epochs are those of the least accuracy.
    """
    draw = np.random.default_rng(seed)
    run = RunFolder(str(folder / name))
    run.create()
    settings = Settings(
        name="made", trials=trials, epochs=epochs, data="digits", metric=metric.name
    )
    run.write_json(SEARCH, search_facts("made", trials, settings=settings.to_dict()) | facts)
    events: list[dict[str, Any]] = [{"event": "session", "time": STARTED, "session": "session_1"}]
    for number in range(trials):
        params: dict[str, Any] = {
            "activation": ACTIVATIONS[number % 5],
            "optimizer": OPTIMIZERS[number // 5 % 6],
            "lr": (0.01, 0.001)[number % 2],
            "batch_size": (64, 128)[number // 2 % 2],
        }
        config = TrialConfig(epochs=epochs, **params).to_dict()
        began = STARTED + number * 40.0
        events.append(
            {"event": "trial", "time": began, "trial": number, "config": config, "params": params}
        )
        top, best, best_epoch, best_acc = 0.5 + 0.4 * draw.random(), 0.0, 0, 0.0
        pruned, diverged, failed = number % 3 == 2, number % 7 == 6, number == 5
        for epoch in range(1, 2 if pruned or diverged or failed else epochs + 1):
            score = round(top * (1 - 0.5**epoch) + 0.01 * draw.random(), 6)
            own = {"val_acc": score, "val_loss": round(2.2 / epoch, 6)}
            if not metric.is_accuracy:
                own |= {"val_balanced_acc": round(1 - score, 6), "val_loss": round(2 * score, 6)}
            if best_epoch == 0 or metric.is_better(own[metric.column], than=best):
                best, best_epoch, best_acc = own[metric.column], epoch, score
            if not metric.is_accuracy:
                own["best_score"] = best
            events.append(
                {"event": "epoch", "time": began + 10.0 * epoch, "trial": number, "epoch": epoch,
                 "train_loss": round(2.3 / epoch, 6), "train_acc": round(score - 0.02, 6),
                 **own, "best_val_acc": best_acc, "best_epoch": best_epoch, "lr": params["lr"],
                 "seconds": 9.5, "node": f"node{number % 2}", "pid": 100 + number % 2}
            )  # fmt: skip
        state, reason = COMPLETED, ""
        if failed:
            state, reason = FAILED, "RuntimeError: no such luck"
        elif diverged:
            state = INFEASIBLE
            reason = f"training loss is nan at epoch 2, step {number}: the run diverged"
        elif pruned:
            state, reason = PRUNED, "behind the others at epoch 1"
        events.append(
            {"event": "end", "time": began + 400.0, "trial": number, "state": state,
             "reason": reason}
        )  # fmt: skip
    events.append(
        {"event": "session_end", "time": STARTED + trials * 40.0 + 400, "session": "session_1",
         "outcome": "complete"}
    )  # fmt: skip
    run.write(JOURNAL, "".join(json.dumps(event) + "\n" for event in events).encode())
    return run
