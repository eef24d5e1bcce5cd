"""TensorBoard and optuna-dashboard, started for real, serve what the journal says."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from support.made.runs import made_run

from analysis.results.convert import convert
from vgg6.common.checks import InputError
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, PRUNED, RUNNING


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return made_run(tmp_path, trials=15, epochs=4)


@contextmanager
def served(module: str, *arguments: str) -> Iterator[str]:
    """A viewer on a free port of this machine. Gives its address; ends it afterwards."""
    if importlib.util.find_spec(module.split(".")[0]) is None:
        pytest.skip(f"needs {module}: pip install -r requirements-dev.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; from {module} import {STARTS[module]} as main;"
         " sys.exit(main())", *arguments, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, f"{module} ended by itself"
            try:
                urllib.request.urlopen(address, timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


STARTS = {"tensorboard.main": "run_main", "optuna_dashboard._cli": "main"}


def get(address: str, body: dict[str, Any] | None = None, **query: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    url = f"{address}?{urlencode(query)}" if query else address
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_tensorboard_serves_every_epoch_and_every_configuration(run: RunFolder) -> None:
    folder, command = convert(read_search(run), "tensorboard", None)
    assert command.startswith("tensorboard --logdir ")
    history = read_history(run)
    with served("tensorboard.main", "--logdir", str(folder)) as address:
        for _ in range(300):  # it reads in the background
            tags = get(f"{address}/data/plugin/scalars/tags")
            if sum("val_acc" in found for found in tags.values()) == len(history.trials):
                break
            time.sleep(0.1)
        assert len(tags) == len(history.trials)
        for name in tags:
            trial = history.trials[int(name.split("_")[1])]
            points = get(f"{address}/data/plugin/scalars/scalars", tag="val_acc", run=name)
            expected = [(e, row.val_acc, row.time) for e, row in sorted(trial.rows.items())]
            assert [(s, pytest.approx(v, abs=1e-6), w) for w, s, v in points] == [
                (e, v, pytest.approx(t)) for e, v, t in expected
            ]
        wanted = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS",
                  "STATUS_FAILURE", "STATUS_RUNNING"], "colParams": [], "startIndex": 0,
                  "sliceSize": 100}  # fmt: skip
        groups = get(f"{address}/data/plugin/hparams/session_groups", wanted)["sessionGroups"]
        shown = {int(g["hparams"]["trial"]): g["hparams"] for g in groups}
        assert sorted(shown) == sorted(history.trials)
        for number, trial in history.trials.items():
            assert shown[number]["activation"] == trial.config.activation
            assert shown[number]["lr"] == pytest.approx(trial.config.lr)
            assert shown[number]["state"] == trial.state


@pytest.mark.slow
def test_optuna_dashboard_serves_every_trial_as_it_truly_ended(run: RunFolder) -> None:
    lines = Path(run.file(JOURNAL)).read_text().splitlines(keepends=True)
    # The last complete trial runs on: its end and the session's are not there yet.
    last = max(i for i, line in enumerate(lines) if '"completed"' in line)
    number = json.loads(lines[last])["trial"]
    kept = [line for i, line in enumerate(lines) if i != last and "session_end" not in line]
    Path(run.file(JOURNAL)).write_text("".join(kept))
    file, command = convert(read_search(run), "optuna", None)
    assert command.startswith("optuna-dashboard ")
    convert(read_search(run), "optuna", None)  # again, in its place
    history = read_history(run)
    with served("optuna_dashboard._cli", str(file)) as address:
        studies = get(f"{address}/api/studies")["study_summaries"]
        assert [s["study_name"] for s in studies] == ["made"]
        study = get(f"{address}/api/studies/{studies[0]['study_id']}", after="0")
    trials = {t["number"]: t for t in study["trials"]}
    assert sorted(trials) == sorted(history.trials)
    named = {COMPLETED: "Complete", PRUNED: "Pruned", INFEASIBLE: "Pruned",
             FAILED: "Fail", RUNNING: "Running"}  # fmt: skip
    assert {t.state for t in history.trials.values()} == set(named)
    assert trials[number]["state"] == "Running"
    for at, trial in history.trials.items():
        shown = trials[at]
        assert shown["state"] == named[trial.state]
        curve = {p["step"]: p["value"] for p in shown.get("intermediate_values", [])}
        assert curve == {e: row.best_val_acc for e, row in trial.rows.items()}
        attributes = {a["key"]: a["value"] for a in shown["user_attrs"]}
        assert attributes["state"].strip('"') == trial.state
        params = {p["name"]: p["param_external_value"] for p in shown["params"]}
        assert params["optimizer"] == trial.config.optimizer
        if trial.state == COMPLETED:
            assert shown["values"] == [trial.best_val_acc]


def test_a_second_conversion_takes_the_place_of_the_first(run: RunFolder) -> None:
    folder, _ = convert(read_search(run), "tensorboard", None)
    before = sorted(p.name for p in folder.rglob("*"))
    (folder / "left").mkdir()
    convert(read_search(run), "tensorboard", None)
    assert len(list(folder.iterdir())) == 15 and len(before) == 30


def test_an_unknown_form_is_answered_with_the_nearest(run: RunFolder) -> None:
    with pytest.raises(InputError, match="tensorboard"):
        convert(read_search(run), "tensorbord", None)
