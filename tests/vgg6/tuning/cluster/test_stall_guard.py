"""A worker that stands still is noticed, ended, and its trial goes on."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from search_spaces import Parameter, Space
from vgg6.data import data_facts, load_digits, split
from vgg6.tuning.cluster import stall_guard as guard
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import COMPLETED
from vgg6.tuning.session import plan as planning
from vgg6.tuning.session.session import create_run, run_session
from vgg6.tuning.settings import Settings


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stops the first worker that reports its second epoch, as SIGSTOP does: its pid, once it has
    happened. A worker waits until the driver has heard its report."""
    pids: list[int] = []

    def freeze(self: guard.StallGuard, *, result: dict[str, Any], **info: Any) -> None:
        if result["epoch"] == 2 and not pids:
            pids.append(result["pid"])
            psutil.Process(pids[0]).send_signal(signal.SIGSTOP)

    monkeypatch.setattr(guard.StallGuard, "on_trial_result", freeze)
    return pids


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_a_frozen_worker_is_ended_and_its_trial_finishes_with_every_epoch_once(
    tmp_path: Path,
    frozen: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(guard, "STALL_S", 12.0)
    lr = Parameter(name="lr", low=1e-4, high=1.0, log=True)
    row: dict[str, Any] = {"lr": 1e-3}
    rows = (row, {"lr": 2e-3})
    small = {"width": 0.125}
    space = Space(name="points", parameters=(lr,), points=rows, points_only=True, fixed=small)
    settings = Settings(
        name="run", storage=str(tmp_path), trials=2, epochs=8, searcher="grid", scheduler="none",
        data="digits", wandb="disabled",
    )  # fmt: skip
    data = split(load_digits(), limit_train=100)
    run = RunFolder(str(tmp_path / "run"))
    plan = planning.make_plan(settings, space, data, "this machine")
    facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=100)
    create_run(run, plan, data_facts=facts, command="test")
    outcome = run_session(run, plan)
    assert frozen, "no worker was frozen: no test"
    assert outcome.outcome == "complete"
    history = read_history(run)
    assert all(sorted(t.rows) == list(range(1, 9)) for t in history.trials.values())
    assert all(t.state == COMPLETED for t in history.trials.values())
    assert not psutil.pid_exists(frozen[0]), "the frozen process still holds its memory"
    assert f"its process {frozen[0]} is ended" in capfd.readouterr().err
