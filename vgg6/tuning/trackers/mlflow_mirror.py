"""A search in MLflow, through Ray's own callback: one MLflow run a trial, in an experiment named as
the search."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import mlflow
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.experiment import Trial

from vgg6.config import TrialConfig
from vgg6.tuning.reported_keys import WHY_INFEASIBLE
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import METRICS, PAUSED, TrialRecord

NUMBER = "trial"  # the tag by which a resumed search finds a trial's run again


class MlflowMirror(MLflowLoggerCallback):
    """Ray's callback with what it lacks for this tool: the configuration unfolded, the epoch as
    the step and each once, a resumed trial in the run that it began in, its state as a tag.

    A server that fails costs the search nothing: it is said once, and no more is sent.

    Args:
        uri: MLflow's tracking URI, such as ``sqlite:///mlflow.db``.
        name: of the experiment. history: of the search.
    """

    def __init__(self, uri: str, name: str, history: History) -> None:
        super().__init__(tracking_uri=uri, experiment_name=name)
        self.name, self.history, self.broken = name, history, ""
        self._last: dict[str, int] = {}  # the last epoch that an MLflow run has
        self._paused: dict[int, str] = {}  # the MLflow runs of paused trials

    def setup(self, *args: Any, **kwargs: Any) -> None:
        self._quietly(super().setup, *args, **kwargs)

    def log_trial_start(self, trial: Trial) -> None:
        self._quietly(self._start, trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        self._quietly(self._result, trial, result)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        self._quietly(self._end, trial, failed)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Say how the trials ended that waited until the search did."""
        for number, run_id in self._paused.items():
            self._quietly(self._tag, run_id, self.history.trials[number])

    def _start(self, trial: Trial) -> None:
        if trial in self._trial_runs:
            return
        number, config = trial.config["number"], TrialConfig.from_mapping(trial.config["config"])
        earlier = mlflow.search_runs(
            experiment_names=[self.name], output_format="list",
            filter_string=f"tags.{NUMBER} = '{number}'",
        )  # fmt: skip
        if earlier:
            run_id = earlier[0].info.run_id
            client = mlflow.MlflowClient()
            client.update_run(run_id, status="RUNNING")
            if self.history.trials[number].lengthened:  # a parameter cannot be changed
                client.set_tag(run_id, "lengthened_to_epochs", str(config.epochs))
            steps = {m.step for m in client.get_metric_history(run_id, "val_acc")}
            for row in self.history.trials[number].curve:
                if row.epoch not in steps:  # its driver was killed before it could say so here
                    self._log(run_id, row.epoch, row.metrics.to_dict())
                    steps.add(row.epoch)
            self._last[run_id] = max(steps, default=0)
        else:
            run = self.mlflow_util.start_run(tags={NUMBER: str(number)}, run_name=config.label)
            run_id = run.info.run_id
            given = {k: v for k, v in config.to_dict().items() if v is not None}
            self.mlflow_util.log_params(run_id=run_id, params_to_log=given)
        self._trial_runs[trial] = run_id

    def _result(self, trial: Trial, result: dict[str, Any]) -> None:
        run_id = self._trial_runs[trial]
        if WHY_INFEASIBLE in result or result["epoch"] <= self._last.get(run_id, 0):
            return
        self._last[run_id] = result["epoch"]
        self._log(run_id, result["epoch"], result)

    def _log(self, run_id: str, epoch: int, row: Mapping[str, Any]) -> None:
        metrics = self.history.metric.named(row, METRICS)
        self.mlflow_util.log_metrics(run_id=run_id, metrics_to_log=metrics, step=epoch)

    def _end(self, trial: Trial, failed: bool) -> None:
        run_id, record = self._trial_runs[trial], self.history.trials[trial.config["number"]]
        self._tag(run_id, record)
        self._paused.pop(record.number, None)
        if record.state == PAUSED:
            self._paused[record.number] = run_id
        self.mlflow_util.end_run(run_id=run_id, status="FAILED" if failed else "FINISHED")

    def _tag(self, run_id: str, record: TrialRecord) -> None:
        client = mlflow.MlflowClient()
        client.set_tag(run_id, "state", record.state)
        if record.reason or record.lengthened or run_id in self._last:  # it may have an older one
            client.set_tag(run_id, "reason", record.reason)

    def _quietly(self, step: Any, *args: Any, **kwargs: Any) -> None:
        if self.broken:
            return
        try:
            step(*args, **kwargs)
        except Exception as error:  # whatever a tracking server can do to its client
            self.broken = repr(error)
            print(f"MLflow gets no more of this search: {self.broken}", file=sys.stderr, flush=True)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks for a restore of its own, which this tool never uses."""
        return {}
