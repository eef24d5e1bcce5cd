"""A search in MLflow: one MLflow run a trial, in an experiment named as the search.

python -m vgg6.tuning.trackers.mlflow_mirror JOURNAL --uri sqlite:///mlflow.db
    --dir DIR --name NAME --parent PID
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse

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


class MlflowMirror(MirrorProcess):
    """The process that mirrors one session. ``uri``: MLflow's tracking URI; None starts none."""

    def __init__(self, uri: str | None, search: Followed) -> None:
        words = None if uri is None else ["--uri", uri]
        remote = urlparse(uri or "").scheme in ("http", "https")
        limit = FINISH_S if remote else LOCAL_S
        super().__init__(__name__, "MLflow", search.folder / LOG, search, words, limit)


class _Mlflow(Tracker):
    """MLflow keeps what it is told at once, so that a run knows which epochs it has."""

    def __init__(self, search: Followed, uri: str) -> None:
        import mlflow

        super().__init__(search, TOLD)
        self.entities, self.client = mlflow.entities, mlflow.MlflowClient(uri)
        found = self.client.get_experiment_by_name(self.name)
        self.experiment = found.experiment_id if found else self.client.create_experiment(self.name)
        self.runs: dict[int, str] = {}  # of trials that have not ended
        self.epochs: dict[int, set[int]] = {}  # that MLflow has

    def log(self, record: TrialRecord, epoch: int, row: dict[str, Any]) -> None:
        run = self._run(record)
        if epoch not in self.epochs[record.number]:
            self._log(run, epoch, row["time"], record.metric.named(row, METRICS))
            self.epochs[record.number].add(epoch)

    def end(self, record: TrialRecord) -> None:
        self._run(record)
        self._end(record, "FAILED" if record.state == FAILED else "FINISHED", record.ended)

    def leave(self) -> None:
        for number in list(self.runs):
            self._end(self.history.trials[number], "KILLED", None)
            self.keep(number)

    def _end(self, record: TrialRecord, status: str, at: float | None) -> None:
        run = self.runs.pop(record.number)
        self.client.set_tag(run, "state", record.state)
        self.client.set_tag(run, "reason", record.reason)
        self.client.set_terminated(run, status, None if at is None else _milliseconds(at))

    def _run(self, record: TrialRecord) -> str:
        number = record.number
        if number not in self.runs:
            self.runs[number] = self._again(record) or self._new(record)
        return self.runs[number]

    def _again(self, record: TrialRecord) -> str | None:
        """The run that an earlier session began for this trial, if one has."""
        of_trial = self.client.search_runs([self.experiment], f"tags.{NUMBER} = '{record.number}'")
        mine = (r for r in of_trial if r.data.tags.get(BEGAN, self._began) == self._began)
        earlier = next(mine, None)
        if earlier is None:
            return None
        run = str(earlier.info.run_id)
        self.client.update_run(run, status="RUNNING")
        if record.lengthened:  # a parameter cannot be changed
            self.client.set_tag(run, "lengthened_to_epochs", str(record.config.epochs))
        have = {m.step for m in self.client.get_metric_history(run, "val_acc")}
        for row in record.curve:
            if row.epoch not in have:  # its mirror was killed before it could say so
                self._log(run, row.epoch, row.time, record.metric.named(row.to_dict(), METRICS))
        self.epochs[record.number] = have | set(record.rows)
        return run

    def _new(self, record: TrialRecord) -> str:
        tags = {NUMBER: str(record.number), BEGAN: self._began}
        began = _milliseconds(record.created)
        run = self.client.create_run(self.experiment, began, tags, record.config.label)
        given = {k: v for k, v in record.config.to_dict().items() if v is not None}
        params = [self.entities.Param(k, str(v)) for k, v in given.items()]
        self.client.log_batch(run.info.run_id, params=params)
        self.epochs[record.number] = set()
        return str(run.info.run_id)

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
    parser.add_argument("--uri", required=True)
    args, search = arguments_of(parser)
    follow(search.journal, _Mlflow(search, args.uri), args.parent)


if __name__ == "__main__":
    main()
