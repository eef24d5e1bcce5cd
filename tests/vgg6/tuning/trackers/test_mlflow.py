"""A search in MLflow: through a real Ray into a real tracking store, and read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Parameter, Space
from vgg6.common.checks import InputError
from vgg6.data import data_facts, load_digits, split
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.session import plan as planning
from vgg6.tuning.session.outcome import Outcome
from vgg6.tuning.session.session import create_run, run_session
from vgg6.tuning.settings import Settings
from vgg6.tuning.trackers.mlflow_mirror import MlflowMirror

mlflow = pytest.importorskip("mlflow", reason="needs MLflow: pip install mlflow")
RATES = (1e-3, 2e-3, 3e-3)
LR = Parameter(name="lr", low=1e-4, high=10.0, log=True)
SPACE = Space(
    name="points", parameters=(LR,), fixed={"width": 0.125},
    points=tuple({"lr": r} for r in RATES), points_only=True,
)  # fmt: skip


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
def test_mlflow_has_every_trial_epoch_once_and_a_resumed_one_in_its_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    log = MlflowMirror._log

    def killed_at_the_second(self: Any, run_id: str, epoch: int, row: Any) -> None:
        if epoch != 2:  # it stands in the journal, and the driver died before it stood here
            log(self, run_id, epoch, row)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowMirror, "_log", killed_at_the_second)
        run, outcome = search(tmp_path, uri)
    assert outcome.outcome == "complete"
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
    assert outcome.outcome == "complete"
    history = read_history(run)
    mlflow.set_tracking_uri(uri)
    found = mlflow.search_runs(experiment_names=["mirrored"], output_format="list")
    assert sorted(int(r.data.tags["trial"]) for r in found) == [0, 1, 2], "none began a second run"
    client = mlflow.MlflowClient(uri)
    for one in found:
        record = history.trials[int(one.data.tags["trial"])]
        assert one.info.status == "FINISHED" and one.data.tags["state"] == record.state
        assert float(one.data.params["lr"]) == record.config.lr
        assert one.data.params["activation"] == record.config.activation
        logged = client.get_metric_history(one.info.run_id, "val_acc")
        steps = [e for e in sorted(record.rows) if e != 2 or record.number == again]
        assert sorted(m.step for m in logged) == steps, "only the one that went on was told"
        assert all(m.value == record.rows[m.step].val_acc for m in logged)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_a_tracking_server_that_is_not_there_costs_the_search_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run, outcome = search(tmp_path, "http://127.0.0.1:9")
    assert outcome.outcome == "complete" and len(read_history(run).trials) == 3
    assert capfd.readouterr().err.count("MLflow gets no more of this search") == 1


def test_without_mlflow_the_flag_is_answered_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install mlflow"):
        Settings(name="x", mlflow="sqlite:///x.db")
