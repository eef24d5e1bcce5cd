"""A trial as its journal knows it: its configuration, its finished epochs, and how it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, Metric
from vgg6.run_record import EpochMetrics

# How a trial can stand. "pruned": the scheduler stopped it early; "infeasible": its loss diverged
# or it does not fit into device memory; "failed": it crashed more often than allowed; "stopped":
# the search ended before it did; "paused": it waits at a rung, and may be promoted.
RUNNING, COMPLETED, PRUNED, INFEASIBLE, FAILED, STOPPED, PAUSED = STATES = (
    "running", "completed", "pruned", "infeasible", "failed", "stopped", "paused",
)  # fmt: skip
OPEN = (RUNNING, STOPPED, PAUSED)  # a trial that may go on
WITHOUT_WEIGHTS = (INFEASIBLE, FAILED)
TELLING = (COMPLETED, PRUNED, INFEASIBLE)  # say how good a configuration is
METRICS = tuple(f.name for f in fields(EpochMetrics) if f.name != "epoch")


@dataclass(kw_only=True, slots=True)
class Epoch(EpochMetrics):
    """A finished epoch of a trial, and when, on which node and in which process it was made."""

    time: float
    node: str | None = None
    pid: int | None = None

    @property
    def metrics(self) -> EpochMetrics:
        """The epoch without when and where, which are no part of a result."""
        return EpochMetrics(**{f.name: getattr(self, f.name) for f in fields(EpochMetrics)})


def scored(epoch: int, score: float, best_score: float, metric: Metric = ACCURACY) -> Epoch:
    """An epoch of which only the score by a metric is known."""
    known: Any = {"val_acc": math.nan, "val_loss": math.nan, metric.column: score}
    known |= {"best_val_acc": math.nan, metric.best_key: best_score}
    return Epoch(
        epoch=epoch, train_loss=math.nan, train_acc=math.nan, best_epoch=epoch, lr=math.nan,
        seconds=0.0, time=0.0, **known,
    )  # fmt: skip


@dataclass
class TrialRecord:
    """What the journal knows of one trial. ``params``: what Optuna suggested, by its names;
    ``rows``: the finished epochs, by number; ``score``: its best one by ``metric``, and
    ``best_val_acc``: its accuracy in that epoch; None before its first."""

    number: int
    config: TrialConfig
    params: dict[str, Any]
    created: float
    rows: dict[int, Epoch] = field(default_factory=dict)
    state: str = RUNNING
    reason: str = ""
    ended: float | None = None
    epoch: int = 0  # the last finished one
    best_val_acc: float | None = None
    gpus: float | None = None  # its share since it ran out of device memory with the usual one
    promoted_at: int = 0  # the epoch after which it was last promoted
    by_model: bool = False  # a model chose it, and not a point or an even spread
    again_of: int | None = None  # it is that trial, begun again with a greater length
    lengthened: bool = False  # it went on, or will, past the length that it began with
    ended_in: int = 0  # the number of the session in which it last ended
    ended_as: int = 0  # how many ends there were by then, whatever a clock said
    metric: Metric = ACCURACY
    score: float | None = None

    def __post_init__(self) -> None:
        given, self.rows = self.rows, {}
        for row in given.values():
            self.add_row(row)

    def add_row(self, row: Epoch) -> None:
        """Take in a finished epoch. What is asked of every trial at every event is kept ready."""
        self.rows[row.epoch] = row
        self.epoch = max(self.epoch, row.epoch)
        score = self.metric.of(row)
        if self.score is None or self.metric.is_better(score, than=self.score):
            self.score, self.best_val_acc = score, row.val_acc

    @property
    def title(self) -> str:
        """``trial 3``; of a confirmation's run, the candidate in the search: ``trial 3 seed 7``."""
        if "candidate" in self.params:
            return f"trial {self.params['candidate']} seed {self.params['seed']}"
        return f"trial {self.number}"

    @property
    def curve(self) -> list[Epoch]:
        """Its rows in the order of their epochs."""
        return [row for _, row in sorted(self.rows.items())]

    @property
    def results(self) -> list[EpochMetrics]:
        """``curve`` without where and when each row was made."""
        return [row.metrics for row in self.curve]

    @property
    def gain(self) -> float:
        """Its score, where more is always better: less where there is none than any score is."""
        return -math.inf if self.score is None else self.metric.gain(self.score)

    @property
    def has_weights(self) -> bool:
        """Whether it can be the best: one that diverged or crashed has no weights to give."""
        return self.score is not None and self.state not in WITHOUT_WEIGHTS

    @property
    def last(self) -> Epoch | None:
        """Its last finished epoch."""
        return self.rows.get(self.epoch)

    @property
    def best_epoch(self) -> int:
        """The epoch of its best score; 0 before its first."""
        return self.last.best_epoch if self.last else 0

    @property
    def seconds(self) -> float:
        """How long its epochs took, together."""
        return float(sum(row.seconds for row in self.rows.values()))

    @property
    def stop_after(self) -> int | None:
        """How many epochs a re-run must stop after, if it was not run to its full length."""
        return self.epoch if self.epoch < self.config.epochs else None

    @property
    def assignment(self) -> dict[str, Any]:
        """What the shared trainable is given: ``number``, ``config`` and, if it has one of its own,
        the share of a GPU as ``gpus``."""
        own = {} if self.gpus is None else {"gpus": self.gpus}
        return {"number": self.number, "config": self.config.to_dict(), **own}


def optunas_order(record: TrialRecord) -> tuple[float, ...]:
    """A sort key, from good to bad: completed trials by score, then pruned ones by how far they
    came, then diverged ones."""
    steps = 0 if record.state == COMPLETED else -record.epoch
    return TELLING.index(record.state), steps, -record.gain, record.number
