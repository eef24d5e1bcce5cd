"""Searchers with short runs, driven through the same calls that Ray makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_spaces import Parameter, Space, load_space
from vgg6.tuning.algorithms.early_stopping import replay
from vgg6.tuning.algorithms.promotion import NONE_SPARED, PromotionRule, Spared, compared_at
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.reported_keys import WHY_INFEASIBLE
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE, METRICS
from vgg6.tuning.session.trial_end import settle

BASE = {"epochs": 4, "seed": 1}
RUNGS = compared_at(4, 1, 4.0)
SMALL = Space(
    name="small",
    parameters=(
        Parameter(name="activation", choices=("relu", "gelu")),
        Parameter(name="batch_size", choices=(64, 128)),
    ),
)


def make(folder: Path, space: Space, *, limit: int, kind: str = "optuna") -> TruthfulSearcher:
    """A searcher of trials that nothing pauses; it goes on from what ``folder`` holds."""
    journal = Journal(RunFolder(str(folder)))
    journal.write("session", session=f"session_{len(journal.history.sessions) + 1}")
    return TruthfulSearcher(
        space, searcher=kind, seed=7, base=BASE, limit=limit, journal=journal, rungs=RUNGS
    )


def row(trial: int, epoch: int, score: float) -> dict[str, Any]:
    """What a trial reports of an epoch."""
    return {
        **dict.fromkeys(METRICS, score), "trial": trial, "epoch": epoch, "best_epoch": epoch,
    }  # fmt: skip


def play(searcher: TruthfulSearcher, ray_id: str, scores: list[float], state: str) -> int:
    """Report ``scores`` and end the trial as Ray does; the last one of a pruned trial reaches the
    searcher only through on_trial_complete."""
    assignment = searcher.suggest(ray_id)
    assert isinstance(assignment, dict)
    number = assignment["number"]
    for epoch, score in enumerate(scores, start=1):
        searcher.journal.write("epoch", **row(number, epoch, score))
        if epoch < len(scores) or state in (INFEASIBLE, FAILED):
            searcher.on_trial_result(ray_id, row(number, epoch, score))
    last: dict[str, Any] | None = row(number, len(scores), scores[-1]) if scores else None
    if state == INFEASIBLE:
        last = {"epoch": len(scores) + 1, "best_val_acc": 0.0, WHY_INFEASIBLE: "loss is nan"}
        searcher.on_trial_result(ray_id, last)
    searcher.on_trial_complete(ray_id, last, error=state == FAILED)
    searcher.journal.write("end", trial=number, state=state, reason="")
    return number


def promoting(
    folder: Path,
    limit: int,
    kind: str = "random",
    trials: int = 0,
    spared: Spared = NONE_SPARED,
) -> TruthfulSearcher:
    """As ``make``, with trials that pause at the first epoch of four; a journal is settled."""
    journal = Journal(RunFolder(str(folder)))
    journal.write("session", session=f"session_{len(journal.history.sessions) + 1}")
    rule = PromotionRule(max_t=4, grace=1, reduction=4.0, trials=trials or limit, spared=spared)
    settle(RunFolder(str(folder)), journal, replay(rule, journal.history.arrivals), promotions=rule)
    return TruthfulSearcher(
        load_space("default"), searcher=kind, seed=7, base=BASE, limit=limit, journal=journal,
        rungs=RUNGS, rule=rule,
    )  # fmt: skip


def step(searcher: TruthfulSearcher, ray_id: str, number: int, epoch: int, score: float) -> None:
    """An epoch of a trial, in the order in which Ray tells it."""
    result = row(number, epoch, score)
    searcher.journal.write("epoch", **result)
    assert searcher.rule is not None
    if searcher.rule.stops(number, epoch, score):
        searcher.on_trial_complete(ray_id, result)
        if epoch == 4:
            searcher.rule.end(number)
            searcher.journal.write("end", trial=number, state=COMPLETED, reason="")
        else:
            searcher.journal.write("pause", trial=number)
    else:
        searcher.on_trial_result(ray_id, result)


def begin(searcher: TruthfulSearcher, ray_id: str) -> int:
    """Let a trial begin or go on. Returns its number."""
    assignment = searcher.suggest(ray_id)
    assert isinstance(assignment, dict), assignment
    return int(assignment["number"])


def early(number: int) -> float:
    """The score after the first epoch: of twelve, the last one and the first two are best."""
    return {0: 0.91, 1: 0.9, 11: 0.95}.get(number, 0.5 - number / 1000)


def with_paused(searcher: TruthfulSearcher) -> None:
    """Eight trials that pass the first epoch and complete, then four that are paused there, of
    which the last one may go on."""
    for number in range(12):
        ray_id = f"ray{number}"
        assert begin(searcher, ray_id) == number
        step(searcher, ray_id, number, 1, early(number))
        for epoch in (2, 3, 4) if number < 8 else ():
            step(searcher, ray_id, number, epoch, 0.6 + number / 1000)
