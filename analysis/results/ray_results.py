"""A stock Ray Tune experiment folder as the same tables as a search of this tool.

Epoch is ``training_iteration``. Validation accuracy reported as one of ``ALIASES`` is ``val_acc``.
Trials are judged by: the metric asked for; else the one that the experiment was tuned by; else
the first of ``GUESSES`` that was reported. Less is better if its name says so (``LESS``) and
nothing else was asked for. ``analysis.results.ray_files`` says which files are read.
"""

from __future__ import annotations

import math
import re
from typing import Any

from analysis.results.ray_files import RayTrial, flat, read_trials
from analysis.results.tables import RAY_KIND, Run, columns_of, typed
from vgg6.config import FIELD_NAMES, InputError, check_choice, check_key
from vgg6.tuning.run import journal as j
from vgg6.tuning.run.folder import RunFolder

ALIASES = {
    "val_acc": ("val_accuracy", "validation_accuracy", "eval_accuracy", "mean_accuracy"),
    "val_loss": ("validation_loss", "eval_loss"),
    "train_acc": ("train_accuracy", "training_accuracy"),
    "train_loss": ("training_loss",),
    "epoch_lr": ("lr", "learning_rate"),
}
GUESSES = ("val_acc", "val_loss", "accuracy", "loss")
LESS = re.compile(r"loss|error|(^|[_/])(err|mse|mae|rmse|ppl|perplexity)($|[_/])")
# What Ray adds to every result, or what the tables have columns of their own for.
_BOOKKEEPING = {
    "config", "timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date",
    "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip", "time_since_restore",
    "iterations_since_restore", "experiment_tag", "experiment_id", "should_checkpoint",
    "timesteps_total", "episodes_total", "timesteps_since_restore", "warmup_time",
}  # fmt: skip
_RESERVED = {"trial", "ray_id", "epoch", "state", "label", "reason", "seconds", "node", "time"}
TIMES = ("seconds", "node", "time")


def read_experiment(folder: RunFolder, metric: str | None, mode: str | None) -> Run:
    """Read an experiment; damaged lines, which a killed driver leaves, are counted and left out.

    Raises:
        InputError: the metric was never reported, or none was asked for and none can be guessed.
    """
    if mode is not None:
        check_choice("--mode", mode, ("max", "min"))
    trials, tuned_by = read_trials(folder)
    shown, better = _metric(trials, metric, tuned_by, mode)
    reported = _renamed(trials)
    column = reported.get(shown, shown)
    full = _full_length(trials)
    epochs, whole = [], []
    for number, trial in enumerate(trials):
        rows, summary = _rows_of(number, trial, column, better, reported, full)
        epochs += rows
        whole.append(summary)
    names = dict.fromkeys(n for t in trials for n in _config_columns(t.config))
    facts = ("state", "label", "ray_id", *{"epochs": None, **names}, "reason")
    scores = (column, f"best_{column}", "best_epoch")
    table = typed(columns_of(epochs, ("trial", "epoch", *facts, *scores, *TIMES)))
    overview = typed(columns_of(whole, ("trial", *facts, "epochs_run", *scores[1:])))
    tried = overview[list(names)].nunique(dropna=False)
    varied = [n for n in names if n not in ("epochs", "seed") and tried[n] > 1]
    notes = [f"{shown} is taken as what trials are judged by ({better})"] if not metric else []
    if damaged := sum(t.damaged for t in trials):
        notes.append(f"{damaged} unfinished lines of results were left out")
    return Run(
        name=folder.name, kind=RAY_KIND, data="", table=table, trials=overview, metric=column,
        mode=better, metric_name=shown, parameters=tuple(varied), notes=tuple(notes),
    )  # fmt: skip


def _config_columns(config: dict[str, Any]) -> dict[str, Any]:
    """This tool's own hyperparameters under their names, all others as ``config/NAME``."""
    return {k if k in FIELD_NAMES else f"config/{k}": v for k, v in flat(config).items()}


def _metrics(row: dict[str, Any]) -> dict[str, float]:
    """The numbers that the trainable reported itself."""
    own = {k: v for k, v in row.items() if k not in _BOOKKEEPING}
    return {
        k: v
        for k, v in flat(own).items()
        if isinstance(v, (int, float)) and not isinstance(v, bool)
    }


def _names(trials: list[RayTrial]) -> list[str]:
    """Every metric that was reported, in order."""
    return list(dict.fromkeys(n for t in trials for row in t.rows.values() for n in _metrics(row)))


def _renamed(trials: list[RayTrial]) -> dict[str, str]:
    """The columns of the metrics that do not keep their name."""
    reported = _names(trials)
    names = {}
    for column, aliases in ALIASES.items():
        if column not in reported and (alias := next((a for a in aliases if a in reported), None)):
            names[alias] = column
    config = {name for t in trials for name in _config_columns(t.config)}
    taken = {n for n in reported if n in _RESERVED | config and n not in names}
    return names | {n: f"result/{n}" for n in taken}


def _metric(
    trials: list[RayTrial], asked: str | None, tuned_by: str | None, mode: str | None
) -> tuple[str, str]:
    """The metric as it was reported, and whether more of it is better."""
    reported = _names(trials)
    original = {column: name for name, column in _renamed(trials).items()}
    guesses = [tuned_by, *(original.get(g, g) for g in GUESSES)]
    name = next((g for g in guesses if g in reported), None)
    if asked:
        name = original.get(asked, asked)
    if not trials or not reported:
        name = name or "val_acc"  # nothing has come yet: the tables are empty
    elif name is None:
        rule = f"is not set, and none can be guessed of {', '.join(reported)}: name one"
        raise InputError("--metric", None, rule)
    else:
        check_key("--metric", name, reported)
    return name, mode or ("min" if LESS.search(name) else "max")


def _full_length(trials: list[RayTrial]) -> int:
    """The iterations of a trial that nobody stopped: its stopping criterion, else the longest."""
    limits = [t.stop["training_iteration"] for t in trials if "training_iteration" in t.stop]
    return int(max(limits, default=max((max(t.rows, default=0) for t in trials), default=0)))


def _state(trial: RayTrial, metric: str, full: int) -> tuple[str, str]:
    """How the trial stands, in this tool's words, and why.

    Ray marks the last result ``done`` where a scheduler or a stopping criterion ended the trial; a
    function that returned by itself leaves it unmarked. So a marked one that fell short of the full
    length, and met no criterion, was pruned.
    """
    epoch = max(trial.rows, default=0)
    row = trial.rows.get(epoch, {})
    ended = trial.status == "TERMINATED" or bool(row.get("done"))
    # A trial that was retried keeps its error's file, however it ended.
    if trial.status == "ERROR" or (trial.error is not None and not trial.status and not ended):
        return j.FAILED, _last_error(trial.error or "")
    if not ended:
        return j.RUNNING, ""
    values = flat(row)
    score = values.get(metric)
    if isinstance(score, float) and not math.isfinite(score):
        return j.INFEASIBLE, f"{metric} is {score}"
    met = any(values.get(name, -math.inf) >= limit for name, limit in trial.stop.items())
    if row.get("done") and epoch < full and not met:
        return j.PRUNED, f"stopped at iteration {epoch}"
    return j.COMPLETED, ""


def _last_error(text: str) -> str:
    """The exception of a traceback; its message may go on over several lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    named = [x for x in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", x)]
    return (named or lines or ["the worker died"])[-1].strip()


def _rows_of(
    number: int, trial: RayTrial, metric: str, mode: str, reported: dict[str, str], full: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of one trial, and its summary."""
    original = next((name for name, column in reported.items() if column == metric), metric)
    state, reason = _state(trial, original, full)
    config = {"epochs": full} | _config_columns(trial.config)
    facts = {
        "trial": number, "state": state, "label": trial.folder, "ray_id": trial.ray_id, **config,
        "reason": reason,
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    best: float | None = None
    best_epoch: int | None = None
    finals: dict[str, float] = {}
    for epoch, result in sorted(trial.rows.items()):
        values = {reported.get(k, k): float(v) for k, v in _metrics(result).items()}
        score = values.get(metric, math.nan)
        better = best is None or (score > best if mode == "max" else score < best)
        if math.isfinite(score) and better:
            best, best_epoch = score, epoch
        rows.append(
            {
                **facts, "epoch": epoch, **values, f"best_{metric}": best, "best_epoch": best_epoch,
                "seconds": _real(result.get("time_this_iter_s")), "node": result.get("hostname"),
                "time": _real(result.get("timestamp")),
            }
        )  # fmt: skip
        finals = {f"final_{k}": v for k, v in values.items()}
    last = rows[-1] if rows else {"epoch": 0}
    ended = last.get("time") if state != j.RUNNING else None
    summary = {
        **facts, "epochs_run": last["epoch"], f"best_{metric}": best, "best_epoch": best_epoch,
        **finals, "train_seconds": sum((r["seconds"] or 0.0 for r in rows), 0.0),
        "created": None if trial.started == math.inf else trial.started, "ended": ended,
    }  # fmt: skip
    return rows, summary


def _real(value: Any) -> float | None:
    return None if value is None else float(value)
