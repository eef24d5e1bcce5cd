"""How a search stands: its sessions, its trials and their epochs, taken from events one by one."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.trials import PAUSED, RUNNING, Epoch, TrialRecord


@dataclass
class Session:
    """One driver's run of a search. ``began``: when; ``time``: when it began, or ended;
    ``outcome``: how it ended, empty before it has; ``arrived``: epochs that were there before."""

    name: str
    began: float
    time: float
    outcome: str = ""
    arrived: int = 0


@dataclass
class Learnt:
    """What a searcher's model has learnt: its constants, from so many ``scores`` at ``rungs``."""

    scores: int
    rungs: list[int]
    constants: list[float]


@dataclass
class History:
    """All trials by number, the epochs in the order they came, and how the search stands.

    ``arrivals``: trial, epoch, and the ``Metric.merit`` of its best score by then; ``metric``: what
    trials are ranked by; ``begun_again``: trials that are earlier ones, begun again with a greater
    length; ``by_model``: how many a model chose; ``incumbent``: the trial with the best score, the
    first of equals, of those that ``ranked`` ranks; ``ends``: how many ended. What is asked at each
    event is kept ready: a search may have 10,000 trials.
    """

    trials: dict[int, TrialRecord] = field(default_factory=dict)
    arrivals: list[tuple[int, int, float]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    repeated_rows: int = 0
    torn_lines: int = 0
    enlarged: int = 0  # trials that ran out of device memory and got a larger share
    learnt: Learnt | None = None
    metric: Metric = ACCURACY
    begun_again: list[TrialRecord] = field(default_factory=list, init=False)
    by_model: int = field(default=0, init=False)
    incumbent: TrialRecord | None = field(default=None, init=False)
    ends: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for trial in self.trials.values():
            self._count(trial)
            self._compare(trial)

    @property
    def states(self) -> dict[str, int]:
        """How many trials stand how."""
        return dict(Counter(trial.state for trial in self.trials.values()))

    def ranking(self, first: int | None = None) -> list[TrialRecord]:
        """All trials as ``ranked`` does it. ``first``: only so many of them."""
        return ranked(self.trials.values(), first)

    def _count(self, trial: TrialRecord) -> None:
        self.by_model += trial.by_model
        if trial.again_of is not None:
            self.begun_again.append(trial)

    def _compare(self, trial: TrialRecord) -> None:
        best = self.incumbent
        if trial.has_weights and (
            best is None or (trial.gain, -trial.number) > (best.gain, -best.number)
        ):
            self.incumbent = trial

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event, as it is written or as it is read back."""
        kind = event["event"]
        if kind == "session":
            began, arrived = event["time"], len(self.arrivals)
            self.sessions.append(Session(event["session"], began, began, arrived=arrived))
            return
        if kind == "session_end":
            session = self.sessions[-1]
            session.time, session.outcome = event["time"], event["outcome"]
            return
        if kind == "learnt":
            self.learnt = Learnt(event["scores"], event["rungs"], event["constants"])
            return
        number = event["trial"]
        if kind == "trial":
            config = event["config"]
            if not isinstance(config, TrialConfig):
                config = TrialConfig.from_mapping(config)
            trial = self.trials[number] = TrialRecord(
                number, config, event["params"], event["time"],
                by_model=event.get("by_model", False), again_of=event.get("again_of"),
                metric=self.metric,
            )  # fmt: skip
            self._count(trial)
        elif kind == "epoch":
            trial, epoch = self.trials[number], event["epoch"]
            if epoch in trial.rows:  # a worker died between its report and its checkpoint
                self.repeated_rows += 1
                return
            row = _epoch(event)
            trial.add_row(row)
            self._compare(trial)
            self.arrivals.append((number, epoch, self.metric.merit(self.metric.best_of(row))))
        elif kind == "enlarged":
            self.trials[number].gpus = event["gpus"]
            self.enlarged += 1
        elif kind == "pause":
            trial = self.trials[number]  # an earlier session may have stopped it
            trial.state, trial.reason, trial.ended = PAUSED, "", None
        elif kind == "promotion":
            trial = self.trials[number]
            trial.state, trial.promoted_at = RUNNING, trial.epoch
        elif kind == "reopen":
            trial = self.trials[number]
            trial.state, trial.reason, trial.ended = RUNNING, "", None
            self._compare(trial)
        elif kind == "lengthen":
            trial = self.trials[number]
            trial.config, trial.lengthened = replace(trial.config, epochs=event["epochs"]), True
        elif kind == "end":
            trial = self.trials[number]
            trial.state, trial.reason = event["state"], event["reason"]
            trial.ended, trial.ended_in = event["time"], len(self.sessions)
            self.ends += 1
            trial.ended_as = self.ends
            if trial is self.incumbent and not trial.has_weights:
                self.incumbent = None
                for other in self.trials.values():
                    self._compare(other)
            else:
                self._compare(trial)
        else:
            raise KeyError(kind)


def ranked(trials: Collection[TrialRecord], first: int | None = None) -> list[TrialRecord]:
    """Trials by their best score; of equals the cheaper, then the earlier.

    Diverged and crashed trials are left out: they have no weights to give. ``first``: only so
    many of them.
    """
    able = (t for t in trials if t.has_weights)
    count = len(trials) if first is None else first
    return heapq.nsmallest(count, able, key=lambda t: (-t.gain, t.epoch, t.number))


def _epoch(event: dict[str, Any]) -> Epoch:
    return Epoch(
        epoch=event["epoch"], train_loss=event["train_loss"], train_acc=event["train_acc"],
        val_loss=event["val_loss"], val_acc=event["val_acc"], best_val_acc=event["best_val_acc"],
        best_epoch=event["best_epoch"], lr=event["lr"], seconds=event["seconds"],
        time=event["time"], node=event.get("node"), pid=event.get("pid"),
        val_balanced_acc=event.get("val_balanced_acc"), best_score=event.get("best_score"),
    )  # fmt: skip
