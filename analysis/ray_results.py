"""A stock Ray Tune experiment folder, read for the same analysis as a run folder of this tool.

What Ray's default loggers write is read: a ``result.json`` of JSON lines in each trial's folder,
and the trials' ends in ``experiment_state-*.json``. The pickles beside them are never opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from vgg6.config import InputError, check_choice
from vgg6.tuning import journal as j
from vgg6.tuning.run_folder import RunFolder

STATE_FILE, RESULTS, ERROR = "experiment_state-", "result.json", "error.txt"
# The first of these that is reported is the metric, unless another is named.
HIGHER = ("val_acc", "val_accuracy", "mean_accuracy", "accuracy", "acc", "score", "reward")
LOWER = ("val_loss", "validation_loss", "loss")
# What Ray adds to every report of its own.
OF_RAY = {
    "timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date", "pid",
    "time_this_iter_s", "time_total_s", "hostname", "node_ip", "config", "time_since_restore",
    "iterations_since_restore", "timesteps_total", "episodes_total", "experiment_tag",
}  # fmt: skip


def is_ray_experiment(run: RunFolder) -> bool:
    """Whether a folder is one of stock Ray Tune's."""
    return any(name.startswith(STATE_FILE) for name in run.names(""))


def ray_history(run: RunFolder, metric: str | None, mode: str | None) -> tuple[j.History, str]:
    """The experiment as a search's history: the metric as ``val_acc`` (negated where less is
    better), Ray's ``training_iteration`` as the epoch, nested configurations flattened with ``/``.

    Ray does not say why a trial was terminated: one that ended before the longest is taken to have
    been stopped early. Returns the history and the metric's name.

    Raises:
        InputError: no trial reported anything, or none the metric.
    """
    trials = list(_trials(run))
    reported = [row for _, _, rows in trials for row in rows]
    if not reported:
        raise InputError("RUN", run.path, "is a Ray Tune experiment in which no trial has reported")
    metric, sign = _metric(reported, metric, mode)
    longest = max(row["training_iteration"] for row in reported)
    history = j.History()
    for number, (config, state, rows) in enumerate(trials):
        first = rows[0]["timestamp"] if rows else 0.0
        record = j.TrialRecord(number, config, {}, float(first))
        scores = []
        for row in rows:
            value = row.get(metric)
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                continue
            scores.append(sign * value)
            facts = {"val_acc": sign * value, "best_val_acc": max(scores), "time": row["timestamp"],
                     "seconds": row["time_this_iter_s"], "node": row["hostname"],
                     "pid": row["pid"]}  # fmt: skip
            record.add_row(int(row["training_iteration"]), facts)
            history.arrivals.append((number, int(row["training_iteration"]), max(scores)))
        record.best_val_acc = max(scores, default=None)
        early = state == j.COMPLETED and record.epoch < longest
        record.state = j.PRUNED if early else state
        record.config.setdefault("epochs", longest)
        history.trials[number] = record
    return history, metric


def ray_table(run: RunFolder) -> pd.DataFrame:
    """One row a (trial, report): trial, epoch, state, label (the trial's folder), a column
    ``config/...`` a setting, every metric that was reported, seconds, node and time."""
    table = []
    for number, (config, state, rows) in enumerate(_trials(run)):
        for row in rows:
            table.append(
                {
                    "trial": number,
                    "epoch": row["training_iteration"],
                    "state": state,
                    "label": row["trial_id"],
                    **{f"config/{key}": value for key, value in config.items()},
                    **{k: v for k, v in row.items() if k not in OF_RAY},
                    "seconds": row["time_this_iter_s"],
                    "node": row["hostname"],
                    "time": float(row["timestamp"]),
                }
            )
    return pd.DataFrame(table)


def _trials(run: RunFolder) -> Iterator[tuple[dict[str, Any], str, list[dict[str, Any]]]]:
    """Each trial's flat configuration, its state and its reports, each iteration once."""
    newest = max(name for name in run.names("") if name.startswith(STATE_FILE))
    for text, _ in run.read_json(newest)["trial_data"]:
        trial = json.loads(text)
        folder = trial["relative_logdir"] or ""
        name = f"{folder}/{RESULTS}"
        lines = run.read(name).splitlines() if folder and run.exists(name) else []
        rows: dict[int, dict[str, Any]] = {}
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                if number < len(lines):
                    where = f"{run.file(name)} line {number}"
                    raise InputError("RUN", where, "is damaged") from None
                continue  # torn by a crash
            rows[row["training_iteration"]] = row
        states = {"TERMINATED": j.COMPLETED, "ERROR": j.FAILED}
        state = j.FAILED if folder and run.exists(f"{folder}/{ERROR}") else j.RUNNING
        yield _flat(trial["config"]), states.get(trial["status"], state), list(rows.values())


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _metric(rows: list[dict[str, Any]], metric: str | None, mode: str | None) -> tuple[str, int]:
    """The metric's name, and 1 or -1 for whether more or less is better."""
    names = {k for row in rows for k, v in row.items() if isinstance(v, (int, float))} - OF_RAY
    if metric is None:
        metric = next((name for name in (*HIGHER, *LOWER) if name in names), None)
        if metric is None:
            rule = f"is needed: the trials reported {', '.join(sorted(names)) or 'no number'}"
            raise InputError("--metric", "", rule)
    check_choice("--metric", metric, names)
    if mode is None:
        mode = "min" if metric in LOWER or metric.endswith("loss") else "max"
    check_choice("--mode", mode, ("max", "min"))
    return metric, 1 if mode == "max" else -1
