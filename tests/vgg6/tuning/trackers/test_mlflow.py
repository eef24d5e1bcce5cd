"""A search in MLflow: through a real Ray into a real tracking store, and read back."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.driven_mirrors import DRIVER, drive, two_sessions
from support.made.runs import made_run

from search_spaces import Parameter, Space
from vgg6.common.checks import InputError
from vgg6.data import data_facts, load_digits, split
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.session import plan as planning
from vgg6.tuning.session.session import create_run, run_session
from vgg6.tuning.session.session_outcome import Outcome
from vgg6.tuning.settings import Settings
from vgg6.tuning.trackers.journal_mirror import Followed
from vgg6.tuning.trackers.mlflow_mirror import BEGAN, TOLD, MlflowMirror

mlflow = pytest.importorskip("mlflow", reason="needs MLflow: pip install mlflow")
RATES = (1e-3, 2e-3, 3e-3)
LR = Parameter(name="lr", low=1e-4, high=10.0, log=True)
SPACE = Space(
    name="points", parameters=(LR,), fixed={"width": 0.125},
    points=tuple({"lr": r} for r in RATES), points_only=True,
)  # fmt: skip


HAS_METRICS = """
import sqlite3
from contextlib import closing
from vgg6.tuning.trackers.mlflow_mirror import MlflowMirror

def has_metrics(file):
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            return db.execute("select count(*) from metrics").fetchone()[0] > 0
    except sqlite3.OperationalError:
        return False  # there is no such file or table yet, or it is locked
"""


def runs_of(uri: str, experiment: str) -> list[Any]:
    """The MLflow runs of an experiment."""
    client = mlflow.MlflowClient(uri)
    (found,) = [e for e in client.search_experiments() if e.name == experiment]
    return list(client.search_runs([found.experiment_id]))


def followed(run: RunFolder, name: str) -> Followed:
    return Followed(Path(run.file(JOURNAL)), Path(run.path), name)


def search(folder: Path, uri: str) -> tuple[RunFolder, Outcome]:
    """Run the search in ``folder``, or what is left of it."""
    settings = Settings(
        name="mirrored", storage=str(folder), trials=3, epochs=3, searcher="grid",
        scheduler="none", data="digits", wandb="disabled", mlflow=uri, max_concurrent=1,
        cpus_per_trial=1.0,
    )  # fmt: skip
    data = split(load_digits(), limit_train=32)
    run = RunFolder(str(folder / "mirrored"))
    plan = planning.make_plan(settings, SPACE, data, "this machine")
    if not run.exists(JOURNAL):
        facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=32)
        create_run(run, plan, data_facts=facts, command="test")
    return run, run_session(run, plan)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_mlflow_has_every_trial_epoch_once_and_a_resumed_one_in_its_own_run(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run, outcome = search(tmp_path, uri)
    assert outcome.outcome == "complete" and outcome.tracker_problems == []
    # As if the driver had died before the last trial's end: it is run again.
    journal = Path(run.file(JOURNAL))
    lines = journal.read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if '"completed"' in line)
    again = json.loads(lines[last])["trial"]
    kept = [
        line
        for line in lines[:last]
        if not (f'"trial": {again}, ' in line and '"epoch": 3,' in line)
    ]
    journal.write_text("".join(kept))
    shutil.rmtree(run.file("weights"))
    run, outcome = search(tmp_path, uri)
    assert outcome.outcome == "complete" and outcome.tracker_problems == []
    history = read_history(run)
    found = runs_of(uri, "mirrored")
    assert sorted(int(r.data.tags["trial"]) for r in found) == [0, 1, 2], "none began a second run"
    client = mlflow.MlflowClient(uri)
    for one in found:
        record = history.trials[int(one.data.tags["trial"])]
        assert one.info.status == "FINISHED" and one.data.tags["state"] == record.state
        assert float(one.data.params["lr"]) == record.config.lr
        assert one.data.params["activation"] == record.config.activation
        logged = client.get_metric_history(one.info.run_id, "val_acc")
        assert sorted(m.step for m in logged) == sorted(record.rows) == [1, 2, 3]
        assert all(m.value == record.rows[m.step].val_acc for m in logged)


@pytest.mark.slow
@pytest.mark.parametrize("mirror_too", [False, True])
def test_each_epoch_reaches_mlflow_though_the_driver_is_killed_just_after_it(
    tmp_path: Path, mirror_too: bool
) -> None:
    killed, resumed = two_sessions(made_run(tmp_path, trials=2, epochs=4))
    folder = tmp_path / "searched"
    folder.mkdir()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    driver = DRIVER.format(
        imports=HAS_METRICS, mirror=f'MlflowMirror("{uri}", search)',
        begun='has_metrics(folder / "mlflow.db")', wait=0,
    )  # fmt: skip
    assert drive(driver, folder, *killed, mirror_too) == -signal.SIGKILL
    (before,) = runs_of(uri, "g")
    steps = mlflow.MlflowClient(uri).get_metric_history(before.info.run_id, "val_acc")
    assert len(steps) == (1 if mirror_too else 3), "the mirror outlives its driver"
    assert before.info.status == ("RUNNING" if mirror_too else "KILLED")
    assert drive(driver, folder, *resumed) == 0
    (after,) = runs_of(uri, "g")
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")
    assert after.data.tags["state"] == "completed"
    logged = mlflow.MlflowClient(uri).get_metric_history(after.info.run_id, "val_acc")
    assert sorted(m.step for m in logged) == [1, 2, 3, 4]
    assert json.loads((folder / TOLD).read_text()) == {"0": 5}, "four epochs and an end"


@pytest.mark.slow
def test_another_search_of_the_same_name_has_mlflow_runs_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for name, started in (("one", 1.0e9), ("two", 1.1e9)):
        monkeypatch.setattr("support.made.runs.STARTED", started)
        made = made_run(tmp_path, trials=2, epochs=2, name=name)
        assert MlflowMirror(uri, followed(made, "same")).finish() == ""
    client = mlflow.MlflowClient(uri)
    for run in (found := runs_of(uri, "same")):
        client.delete_tag(run.info.run_id, BEGAN)  # as of an older version
    monkeypatch.setattr("support.made.runs.STARTED", 1.2e9)
    made = made_run(tmp_path, trials=2, epochs=2, name="three")
    assert MlflowMirror(uri, followed(made, "same")).finish() == ""
    assert (len(found), len(runs_of(uri, "same"))) == (4, 6)


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["http://me:secret@127.0.0.1:9", "http://[::1"])
def test_what_a_server_missed_is_sent_when_the_search_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("vgg6.tuning.trackers.mlflow_mirror.FINISH_S", 60.0)
    made = made_run(tmp_path, trials=3, epochs=2)
    mirror = MlflowMirror(uri, followed(made, "g"))
    assert mirror.process is not None
    assert uri not in psutil.Process(mirror.process.pid).cmdline()
    assert mirror.process.wait(60) == 1
    give_up = time.monotonic() + 10
    while not (said := capfd.readouterr().err) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert "MLflow failed (exit 1)" in said and mirror.finish() == "", "it is said once, at once"
    journal = Path(made.file(JOURNAL))
    first, *_, end = journal.read_text().splitlines(keepends=True)
    with journal.open("a") as lines:
        lines.write((first + end).replace("session_1", "session_2"))
    back = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert MlflowMirror(back, followed(made, "g")).finish() == ""
    history, client = read_history(made), mlflow.MlflowClient(back)
    told = {int(run.data.tags["trial"]): run for run in runs_of(back, "g")}
    assert sorted(told) == sorted(history.trials)
    for number, run in told.items():
        logged = client.get_metric_history(run.info.run_id, "val_acc")
        assert sorted(m.step for m in logged) == sorted(history.trials[number].rows)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "never answers"])
def test_a_tracking_server_that_is_not_there_costs_the_search_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], silent: bool
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    if not silent:
        monkeypatch.setattr("vgg6.tuning.trackers.mlflow_mirror.FINISH_S", 60.0)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen(128)
        run, outcome = search(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}")
    assert outcome.outcome == "complete" and len(read_history(run).trials) == 3
    said = capfd.readouterr().err + "".join(outcome.tracker_problems)
    why = "MLflow did not finish within 10 s" if silent else "MLflow failed (exit 1)"
    assert said.count("MLflow ") == 1 and why in said
    assert f"see {run.file('mlflow.log')}" in said


def test_without_mlflow_the_flag_is_answered_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install mlflow"):
        Settings(name="x", mlflow="sqlite:///x.db")
