"""The shared trainable: fit() as a Ray Tune trial, reporting and checkpointing every epoch."""

from __future__ import annotations

import os
from typing import Any

from ray import tune
from ray.util import get_node_ip_address

from vgg6.data import TrialData
from vgg6.hardware.device_memory import prepare_gpu, ran_out
from vgg6.hardware.runtime import Runtime
from vgg6.metric import ACCURACY, Metric
from vgg6.training import NonFiniteLoss, fit
from vgg6.tuning.cluster.retries import OutOfDeviceMemory, larger_share
from vgg6.tuning.cluster.shared_storage import check_here
from vgg6.tuning.cluster.stall_guard import beating
from vgg6.tuning.reported_keys import DAMAGED, WHY_INFEASIBLE
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.session.trial_checkpoints import keep_state, resume_or_start


def train_trial(
    assignment: dict[str, Any],
    *,
    data: TrialData,
    runtime: Runtime,
    gpu_fraction: float,
    run_uri: str,
    metric: Metric = ACCURACY,
) -> None:
    """Train one assignment of the searcher: a trial's ``number``, its ``config`` and, where it has
    a larger share of a GPU than ``gpu_fraction``, that one as ``gpus``.

    ``data`` arrives through Ray's object store: one copy a node, mapped by all of its trials.
    A diverged run ends with a report that says so, not with an exception: Ray would retry it. So
    does one that ran out of device memory and cannot be given more.

    Raises:
        OutOfDeviceMemory: it can be given more.
    """
    gpus = assignment.get("gpus", gpu_fraction)
    with beating(assignment["number"]):
        try:
            _train(assignment, data, runtime, gpus, RunFolder(run_uri), metric)
        except RuntimeError as error:
            if not ran_out(error):
                raise
            reason = f"out of device memory with {gpus:g} GPU: {str(error).splitlines()[0]}"
            if "gpus" not in assignment and larger_share(gpus):
                raise OutOfDeviceMemory(reason) from error
            tune.report({"epoch": 0, metric.best_key: metric.worst, WHY_INFEASIBLE: reason})


def _train(
    assignment: dict[str, Any],
    data: TrialData,
    runtime: Runtime,
    gpu_fraction: float,
    run: RunFolder,
    metric: Metric,
) -> None:
    if runtime.device == "cuda":
        prepare_gpu(gpu_fraction)
    worker: dict[str, Any] = {"node": get_node_ip_address(), "pid": os.getpid()}
    check_here(run, worker["node"])
    state, missed, damaged = resume_or_start(run, assignment, runtime, data.task, metric)
    # Said with the first report: what a worker prints is seen by nobody.
    notes: dict[str, Any] = {DAMAGED: damaged} if damaged else {}
    if missed:
        # The process that saved this epoch may have died before its report was journaled. One that
        # was journaled is not written again.
        tune.report({**missed, **worker, **notes})
        notes = {}
    try:
        for metrics in fit(state, data):
            keep_state(run, assignment["number"], state, metrics.to_dict())
            tune.report({**metrics.to_dict(), **worker, **notes})
            notes = {}
    except NonFiniteLoss as error:
        best = state.best.score if state.best.weights else metric.worst
        tune.report(
            {"epoch": error.epoch, metric.best_key: best, WHY_INFEASIBLE: str(error), **notes}
        )
