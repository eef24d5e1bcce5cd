"""The files of a stock Ray Tune experiment, as Ray's default loggers write them.

Read are, in each trial's folder, ``params.json`` and ``result.json`` (else ``progress.csv``) and
``error.txt``, and above them the newest ``experiment_state-*.json``. Nothing is unpickled: the
pickled parts of the state are hexadecimal text, which is passed over, and ``params.pkl`` and
``basic-variant-state-*.json`` (a pickle, whatever its name says) are not opened.
"""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from pyarrow import fs as pafs

from vgg6.tuning.run.folder import RunFolder

RESULT, PROGRESS, PARAMS, ERROR = "result.json", "progress.csv", "params.json", "error.txt"
STATE = re.compile(r"experiment_state-.*\.json$")
_PICKLED = "CLOUDPICKLE_FALLBACK"


@dataclass
class RayTrial:
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
    if folder.fs.get_file_info(folder.path).type != pafs.FileType.Directory:
        return False
    entries = _entries(folder, "")
    if any(STATE.match(name) for name in entries):
        return True
    return any(
        folder.exists(f"{name}/{RESULT}") or folder.exists(f"{name}/{PROGRESS}")
        for name, is_folder in entries.items()
        if is_folder
    )


def _entries(folder: RunFolder, name: str) -> dict[str, bool]:
    """What lies in a folder, sorted, and whether it is a folder itself."""
    path = folder.file(name).rstrip("/")
    found = folder.fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return {
        e.base_name: e.type == pafs.FileType.Directory
        for e in sorted(found, key=lambda e: e.base_name)
    }


def read_trials(folder: RunFolder) -> tuple[list[RayTrial], str | None]:
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
        order = {t.ray_id: number for t, number in zip(trials, suffixes, strict=True)}
        return sorted(trials, key=lambda t: order[t.ray_id]), tuned_by
    return sorted(trials, key=lambda t: (t.started, t.folder)), tuned_by


def _read_trial(
    folder: RunFolder, name: str, inside: dict[str, bool], facts: dict[str, Any]
) -> RayTrial:
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
    return RayTrial(
        folder=name,
        ray_id=str(facts.get("trial_id") or last.get("trial_id") or _id_in(name)),
        config=config,
        rows=rows,
        status=facts.get("status", ""),
        stop=flat(facts.get("stopping_criterion") or {}),
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


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as ``a/b`` names, as Ray's own CSV has them; what was pickled is left out."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(value, dict):
            found[f"{above}{key}"] = value
        elif value.get("_type") != _PICKLED:
            found |= flat(value, f"{above}{key}/")
    return found
