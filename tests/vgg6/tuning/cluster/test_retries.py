"""Which ends of a worker count against its trial: Ray's own trials and errors, and no worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial

from vgg6.config import TrialConfig
from vgg6.tuning.cluster.retries import LOSSES
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.progress import Progress
from vgg6.tuning.run.trials import METRICS
from vgg6.tuning.session.callbacks import JournalCallback, StopRule
from vgg6.tuning.session.session import MAX_FAILURES

ACTOR = b"0" * 16
EPOCH = {key: 0.5 for key in METRICS} | {"epoch": 1, "best_epoch": 1, "node": "n", "pid": 1}


@pytest.fixture
def parts(tmp_path: Path, ray_here: None) -> tuple[JournalCallback, Trial]:
    """A search's callback, and a trial of it that is running."""
    run = RunFolder(str(tmp_path / "run"))
    run.create()
    journal = Journal(run)
    config = TrialConfig(epochs=3).to_dict()
    journal.write("trial", trial=0, config=config, params={})
    stop = StopRule(journal.history, None, None)
    progress = Progress("", 1, journal.history)
    storage = StorageContext(storage_path=str(tmp_path), experiment_dir_name="session_1")
    trial = Trial(
        "stand-in", stub=True, config={"number": 0}, max_failures=MAX_FAILURES, storage=storage
    )
    trial.init_local_path()
    return JournalCallback(run, journal, stop, progress), trial


def attempts(parts: tuple[JournalCallback, Trial], error: RayActorError, most: int) -> int:
    """How often a trial is tried again while each attempt ends with ``error``."""
    callback, trial = parts
    for tried in range(most):
        trial.handle_error(error)
        if not trial.should_recover():
            return tried
        callback.on_trial_recover(0, [trial], trial)
    return most


def test_a_worker_that_dies_counts_against_its_trial(
    parts: tuple[JournalCallback, Trial],
) -> None:
    died = RayActorError(error_msg="The actor is dead because its worker process has died.")
    assert attempts(parts, died, 20) == MAX_FAILURES


def test_a_lost_node_does_not_until_the_trial_may_be_what_ends_them(
    parts: tuple[JournalCallback, Trial],
) -> None:
    lost = ActorUnavailableError("RpcError: RPC error: Socket closed rpc_code: 14.", ACTOR)
    assert attempts(parts, lost, LOSSES) == LOSSES
    callback, trial = parts
    callback.on_trial_result(0, [trial], trial, EPOCH)  # an epoch gained: counted anew
    assert attempts(parts, lost, 50) == LOSSES + MAX_FAILURES
