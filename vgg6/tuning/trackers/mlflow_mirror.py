"""A search in MLflow: one MLflow run a trial, in an experiment named as the search.

MLFLOW_TRACKING_URI=sqlite:///mlflow.db python -m vgg6.tuning.trackers.mlflow_mirror JOURNAL
    --dir DIR --name NAME --parent PID
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vgg6.tuning.run.trials import FAILED, METRICS, TrialRecord
from vgg6.tuning.trackers.journal_mirror import (
    FINISH_S,
    LOCAL_S,
    Followed,
    MirrorProcess,
    Tracker,
    arguments_of,
    follow,
)

# The tags by which a resumed search finds a trial's run again. The second one tells it from a trial
# of another search with the same name.
NUMBER, BEGAN = "trial", "search_began"
TOLD = "mlflow.told.json"
LOG = "mlflow.log"
QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}  # a line for each trial


class MlflowMirror(MirrorProcess):
    """The process that mirrors one session. ``uri``: MLflow's tracking URI; None starts none."""

    def __init__(self, uri: str | None, search: Followed) -> None:
        words: list[str] | None = None if uri is None else []
        limit = LOCAL_S if is_here(uri or "") else FINISH_S
        variables = {"MLFLOW_TRACKING_URI": uri or "", **QUIET}
        super().__init__(__name__, "MLflow", search.folder / LOG, search, words, limit, variables)


def is_here(uri: str) -> bool:
    """Whether MLflow writes to a file of this machine."""
    kind = uri.partition(":")[0]
    return kind in ("sqlite", "file") or (kind == uri and uri != "databricks")


class _Mlflow(Tracker):
    """MLflow keeps what it is told at once, so that a run knows which epochs it has.

    So what is not noted is told again, and nothing is twice.
    """

    keeps_once = True

    def __init__(self, search: Followed) -> None:
        import mlflow

        super().__init__(search, TOLD)
        self.entities, self.client = mlflow.entities, mlflow.MlflowClient()
        found = self.client.get_experiment_by_name(self.name)
        self.experiment = found.experiment_id if found else self.client.create_experiment(self.name)
        self.runs: dict[int, str] = {}  # of trials that have not ended
        self.epochs: dict[int, set[int]] = {}  # that MLflow has

    def log(self, record: TrialRecord, epoch: int, row: dict[str, Any]) -> None:
        self._run(record)

    def end(self, record: TrialRecord) -> None:
        self._run(record)
        self._end(record, "FAILED" if record.state == FAILED else "FINISHED", record.ended)

    def leave(self, complete: bool) -> None:
        for number in list(self.runs):
            self._end(self.history.trials[number], "FINISHED" if complete else "KILLED", None)
            self.keep(number)

    def _end(self, record: TrialRecord, status: str, at: float | None) -> None:
        run = self.runs.pop(record.number)
        self.client.set_tag(run, "state", record.state)
        self.client.set_tag(run, "reason", record.reason)
        self.client.set_terminated(run, status, None if at is None else _milliseconds(at))

    def _run(self, record: TrialRecord) -> str:
        """The run of a trial, with all epochs that were seen."""
        number = record.number
        if number not in self.runs:
            earlier = self._earlier(record)
            self.runs[number] = run = earlier or self._new(record)
            steps = self.client.get_metric_history(run, "val_acc") if earlier else []
            self.epochs[number] = {m.step for m in steps}
        run, have = self.runs[number], self.epochs[number]
        for row in record.curve:
            if row.epoch not in have:
                self._log(run, row.epoch, row.time, record.metric.named(row.to_dict(), METRICS))
                have.add(row.epoch)
        return run

    def _earlier(self, record: TrialRecord) -> str | None:
        """The run that an earlier session began for this trial, if one has."""
        of_trial = self.client.search_runs([self.experiment], f"tags.{NUMBER} = '{record.number}'")
        earlier = next((run for run in of_trial if self._is_mine(run)), None)
        if earlier is None:
            return None
        run = str(earlier.info.run_id)
        self.client.update_run(run, status="RUNNING")
        self.client.set_tag(run, BEGAN, self._began)
        if not earlier.data.params:  # its mirror was killed as it began
            self._log_config(run, record)
        if record.lengthened:  # a parameter cannot be changed
            self.client.set_tag(run, "lengthened_to_epochs", str(record.config.epochs))
        return run

    def _is_mine(self, run: Any) -> bool:
        """Of this search. Runs of older versions have no tag that says so, only a time."""
        tag = run.data.tags.get(BEGAN)
        began = _milliseconds(self.history.trials[0].created)
        return bool(tag == self._began if tag else run.info.start_time >= began)

    def _new(self, record: TrialRecord) -> str:
        tags = {NUMBER: str(record.number), BEGAN: self._began}
        began = _milliseconds(record.created)
        made = self.client.create_run(self.experiment, began, tags, record.config.label)
        run = str(made.info.run_id)
        self._log_config(run, record)
        return run

    def _log_config(self, run: str, record: TrialRecord) -> None:
        given = {k: v for k, v in record.config.to_dict().items() if v is not None}
        self.client.log_batch(
            run, params=[self.entities.Param(k, str(v)) for k, v in given.items()]
        )

    @property
    def _began(self) -> str:
        return repr(self.history.trials[0].created)

    def _log(self, run: str, epoch: int, time: float, metrics: Mapping[str, Any]) -> None:
        at = _milliseconds(time)
        known = [
            self.entities.Metric(k, v, at, epoch)
            for k, v in metrics.items()
            if isinstance(v, int | float)
        ]
        self.client.log_batch(run, known)


def _milliseconds(time: float) -> int:
    return int(time * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description="mirror a search's journal into MLflow")
    args, search = arguments_of(parser)
    follow(search.journal, _Mlflow(search), args.parent)


if __name__ == "__main__":
    main()
