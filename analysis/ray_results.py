"""A stock Ray Tune experiment folder as the same tables as a search of this tool.

Read are the files that Ray's default loggers write: in each trial's folder ``params.json`` and
``result.json`` (else ``progress.csv``), ``error.txt``, and above them the newest
``experiment_state-*.json``. Nothing is unpickled: the pickled parts of the state are hexadecimal
text, which is passed over, and ``params.pkl`` and ``basic-variant-state-*.json`` (a pickle, whatever
its name says) are not opened.

Epoch is ``training_iteration``. Validation accuracy reported as one of ``ALIASES`` is ``val_acc``.
Trials are judged by: the metric asked for; else the one that the experiment was tuned by; else
the first of ``GUESSES`` that was reported. Less is better if its name says so (``LESS``) and
nothing else was asked for.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from pyarrow import fs as pafs

from analysis.tables import RAY_KIND, Run, columns_of, typed
from vgg6.config import FIELD_NAMES, InputError, check_choice, check_key
from vgg6.tuning import journal as j
from vgg6.tuning.run_folder import RunFolder

RESULT, PROGRESS, PARAMS, ERROR = "result.json", "progress.csv", "params.json", "error.txt"
STATE = re.compile(r"experiment_state-.*\.json$")
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
_PICKLED = "CLOUDPICKLE_FALLBACK"


@dataclass
class _Trial:
    """What a trial's folder and its part of the experiment's state say."""

    folder: str
    ray_id: str
    config: dict[str, Any]
    rows: dict[int, dict[str, Any]]
    status: str = ""
    stop: dict[str, Any] = field(default_factory=dict)
    started: float = math.inf
    error: str | None = None
    damaged: int = 0


def is_experiment(folder: RunFolder) -> bool:
    """Whether Ray Tune wrote this folder: it has an experiment's state, or a trial's results."""
    if not folder.fs.get_file_info(folder.path).type == pafs.FileType.Directory:
        return False
    entries = _entries(folder, "")
    if any(STATE.match(name) for name in entries):
        return True
    return any(
        folder.exists(f"{name}/{RESULT}") or folder.exists(f"{name}/{PROGRESS}")
        for name, is_folder in entries.items()
        if is_folder
    )


def read_experiment(folder: RunFolder, metric: str | None, mode: str | None) -> Run:
    """Read an experiment; damaged lines, which a killed driver leaves, are counted and left out.

    Raises:
        InputError: the metric was never reported, or none was asked for and none can be guessed.
    """
    if mode is not None:
        check_choice("--mode", mode, ("max", "min"))
    trials, tuned_by = _read_trials(folder)
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
    varied = [
        n for n in names if n not in ("epochs", "seed") and overview[n].nunique(dropna=False) > 1
    ]
    notes = [f"{shown} is taken as what trials are judged by ({better})"] if not metric else []
    if damaged := sum(t.damaged for t in trials):
        notes.append(f"{damaged} unfinished lines of results were left out")
    return Run(
        name=folder.name, kind=RAY_KIND, data="", table=table, trials=overview, metric=column,
        mode=better, metric_name=shown, parameters=tuple(varied), notes=tuple(notes),
    )  # fmt: skip


def _entries(folder: RunFolder, name: str) -> dict[str, bool]:
    """What lies in a folder, sorted, and whether it is a folder itself."""
    path = folder.file(name).rstrip("/")
    found = folder.fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return {
        e.base_name: e.type == pafs.FileType.Directory
        for e in sorted(found, key=lambda e: e.base_name)
    }


def _read_trials(folder: RunFolder) -> tuple[list[_Trial], str | None]:
    """All trials in the order they were made, and the metric that the experiment was tuned by."""
    entries = _entries(folder, "")
    states, tuned_by = {}, None
    # A restored experiment writes a new state, with all of its trials: names end with the time.
    if newest := max((n for n in entries if STATE.match(n)), default=None):
        state = folder.read_json(newest)
        tuned_by = _json(state.get("runner_data", {})).get("_metric")
        for made, ran in state.get("trial_data", []):
            facts = _json(made) | {"started": _json(ran).get("start_time")}
            states[facts.get("relative_logdir") or facts["trial_id"]] = facts
    trials = []
    for name in dict.fromkeys([*states, *(n for n, is_folder in entries.items() if is_folder)]):
        inside = _entries(folder, name) if name in entries else {}
        if name in states or not {RESULT, PROGRESS, PARAMS}.isdisjoint(inside):
            trials.append(_read_trial(folder, name, inside, states.get(name, {})))
    numbers = [re.search(r"_(\d{5,})$", t.ray_id) for t in trials]
    suffixes = [int(n[1]) for n in numbers if n]
    if len(set(suffixes)) == len(trials):  # Ray's own numbers; its searchers give random names
        return [
            t for _, t in sorted(zip(suffixes, trials, strict=True), key=lambda x: x[0])
        ], tuned_by
    return sorted(trials, key=lambda t: (t.started, t.folder)), tuned_by


def _read_trial(
    folder: RunFolder, name: str, inside: dict[str, bool], facts: dict[str, Any]
) -> _Trial:
    results: list[dict[str, Any]] = []
    damaged = 0
    if RESULT in inside:
        results, damaged = _json_lines(folder.read(f"{name}/{RESULT}"))
    if not results and PROGRESS in inside:
        results, damaged = _csv_lines(folder.read(f"{name}/{PROGRESS}"))
    rows: dict[int, dict[str, Any]] = {}
    for result in results:
        epoch = int(result["training_iteration"])
        # A trial that went on from a checkpoint runs some iterations again: what follows counts.
        for later in [e for e in rows if e >= epoch]:
            del rows[later]
        rows[epoch] = result
    last = results[-1] if results else {}
    config = facts.get("config") or last.get("config") or {}
    if PARAMS in inside:
        config = folder.read_json(f"{name}/{PARAMS}")
    started = facts.get("started") or (results[0].get("timestamp") if results else None)
    error = folder.read(f"{name}/{ERROR}").decode(errors="replace") if ERROR in inside else None
    return _Trial(
        folder=name,
        ray_id=str(facts.get("trial_id") or last.get("trial_id") or _id_in(name)),
        config=config,
        rows=rows,
        status=facts.get("status", ""),
        stop=_flat(facts.get("stopping_criterion") or {}),
        started=math.inf if started is None else float(started),
        error=error,
        damaged=damaged,
    )


def _id_in(name: str) -> str:
    """The trial's id in its folder's name, such as ``train_2d9d6_00001_1_lr=0.1_2026-...``."""
    found = re.search(r"_([0-9a-f]{5}_\d{5}|[0-9a-f]{8})(_|$)", name)
    return found[1] if found else name


def _json(value: Any) -> Any:
    """The state holds JSON in JSON in some places."""
    return json.loads(value) if isinstance(value, str) else value


def _json_lines(content: bytes) -> tuple[list[dict[str, Any]], int]:
    rows, damaged = [], 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            int(row["training_iteration"])
        except (ValueError, KeyError, TypeError):
            damaged += 1
        else:
            rows.append(row)
    return rows, damaged


def _csv_lines(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """Without its line end a last number may be cut short and still be a number: it is left out."""
    whole, _, rest = content.decode(errors="replace").rpartition("\n")
    rows, damaged = [], int(bool(rest.strip()))
    for row in csv.DictReader(StringIO(whole, newline="")):
        if None in row or None in row.values() or not row["training_iteration"].isdigit():
            damaged += 1
        else:
            rows.append({k: _value(v) for k, v in row.items() if v != ""})
    return rows, damaged


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as ``a/b`` names, as Ray's own CSV has them; what was pickled is left out."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(value, dict):
            flat[f"{above}{key}"] = value
        elif value.get("_type") != _PICKLED:
            flat |= _flat(value, f"{above}{key}/")
    return flat


def _config_columns(config: dict[str, Any]) -> dict[str, Any]:
    """This tool's own hyperparameters under their names, all others as ``config/NAME``."""
    return {k if k in FIELD_NAMES else f"config/{k}": v for k, v in _flat(config).items()}


def _metrics(row: dict[str, Any]) -> dict[str, float]:
    """The numbers that the trainable reported itself."""
    own = {k: v for k, v in row.items() if k not in _BOOKKEEPING}
    return {
        k: v
        for k, v in _flat(own).items()
        if isinstance(v, (int, float)) and not isinstance(v, bool)
    }


def _names(trials: list[_Trial]) -> list[str]:
    """Every metric that was reported, in order."""
    return list(dict.fromkeys(n for t in trials for row in t.rows.values() for n in _metrics(row)))


def _renamed(trials: list[_Trial]) -> dict[str, str]:
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
    trials: list[_Trial], asked: str | None, tuned_by: str | None, mode: str | None
) -> tuple[str, str]:
    """The metric as it was reported, and whether more of it is better."""
    reported = _names(trials)
    original = {column: name for name, column in _renamed(trials).items()}
    guesses = [tuned_by, *(original.get(g, g) for g in GUESSES)]
    name = (
        original.get(asked, asked) if asked else next((g for g in guesses if g in reported), None)
    )
    if not trials or not reported:
        name = name or "val_acc"  # nothing has come yet: the tables are empty
    elif name is None:
        rule = f"is not set, and none can be guessed of {', '.join(reported)}: name one"
        raise InputError("--metric", None, rule)
    else:
        check_key("--metric", name, reported)
    return name, mode or ("min" if LESS.search(name) else "max")


def _full_length(trials: list[_Trial]) -> int:
    """The iterations of a trial that nobody stopped: its stopping criterion, else the longest."""
    limits = [t.stop["training_iteration"] for t in trials if "training_iteration" in t.stop]
    return int(max(limits, default=max((max(t.rows, default=0) for t in trials), default=0)))


def _state(trial: _Trial, metric: str, full: int) -> tuple[str, str]:
    """How the trial stands, in this tool's words, and why.

    Ray marks the last result ``done`` where a scheduler or a stopping criterion ended the trial; a
    function that returned by itself leaves it unmarked. So a marked one that fell short of the full
    length, and met no criterion, was pruned.
    """
    if trial.error is not None or trial.status == "ERROR":
        return j.FAILED, _last_error(trial.error or "the worker died")
    epoch = max(trial.rows, default=0)
    row = trial.rows.get(epoch, {})
    if not (trial.status == "TERMINATED" or (not trial.status and row.get("done"))):
        return j.RUNNING, ""
    flat = _flat(row)
    score = flat.get(metric)
    if isinstance(score, float) and not math.isfinite(score):
        return j.INFEASIBLE, f"{metric} is {score}"
    met = any(flat.get(name, -math.inf) >= limit for name, limit in trial.stop.items())
    if row.get("done") and epoch < full and not met:
        return j.PRUNED, f"stopped at iteration {epoch}"
    return j.COMPLETED, ""


def _last_error(text: str) -> str:
    """The exception of a traceback; its message may go on over several lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    named = [x for x in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", x)]
    return (named or lines or ["the worker died"])[-1].strip()


def _rows_of(
    number: int, trial: _Trial, metric: str, mode: str, reported: dict[str, str], full: int
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
