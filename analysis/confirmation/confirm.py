"""Confirm: the best of a search trained again over fresh seeds, and an honest winner among them.

The highest of many noisy scores is too good to be true. The confirmation is a small search of its
own in ``RUN/confirmed/``: its trials are (candidate, seed), its journal makes it resumable, and a
larger one goes on from a smaller one.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.confirmation.candidate_record import run_key
from analysis.confirmation.contest import Contest, conclude
from analysis.confirmation.rounds import Rounds
from analysis.confirmation.winner_rule import MARGIN
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.folder import (
    CONFIRMATION,
    JOURNAL,
    RunFolder,
    confirmed_file,
    weights_file,
)
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import STOPPED, TrialRecord
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session import run_session
from vgg6.tuning.session.session_outcome import ALL_FAILED, COMPLETE, INCOMPLETE, Outcome


def confirm(
    search: Search,
    plan: Plan,
    candidates: list[TrialRecord],
    seeds: list[int],
    command: str,
    *,
    margin: float = MARGIN,
    until_settled: bool = False,
) -> tuple[Outcome, Confirmation | None]:
    """Run what is left of a confirmation on the Ray that this process is connected to.

    Args:
        plan: of the confirmation, in the search's arithmetic.
        candidates: the best trials of the search, in its order.
        seeds: fresh ones.
        margin: of the score; a cheaper candidate that is shown to be within it wins.
        until_settled: end after the round in which the winner is better than each rival, or shown
            to be within the margin of it; or, where the plan's time is used up, after the last
            whole round.

    Returns:
        How the session ended and, if it did all it was asked, what ``confirmation.json`` now says.

    Raises:
        InputError: another driver runs this confirmation.
    """
    run = search.folder
    inner = run.confirmed
    inner.create()
    configs = {trial.number: trial.config for trial in candidates}
    images = search.metric.images_behind(len(plan.data.val), search.facts.data.val_by_class)
    contest = Contest(configs, seeds, images, margin, until_settled)

    def rounds(plan: Plan, journal: Journal) -> Rounds:
        return Rounds(contest, journal)

    outcome = run_session(inner, keeping_all(plan, inner), rounds)
    runs = contest.own_runs(read_history(inner, search.metric))
    asked = [run for run in runs.trials.values() if run_key(run) in contest.asked]
    stopped = next((run.reason for run in asked if run.state == STOPPED), "")
    now = contest.standing(runs)
    ended = outcome.outcome == COMPLETE  # maybe since its time was used up
    if stopped and outcome.outcome in (COMPLETE, ALL_FAILED):
        outcome = replace(outcome, outcome=INCOMPLETE, detail=stopped)
    elif ended and not contest.is_done(runs, now):
        outcome = replace(outcome, outcome=INCOMPLETE)  # before the next run began
    if ended and until_settled and now.rounds:
        outcome = replace(outcome, outcome=COMPLETE)
    if outcome.outcome != COMPLETE:
        return outcome, None
    trained_on = len(plan.data.train), plan.data.task
    found = conclude(
        runs, candidates, seeds, images, command, margin, *trained_on,
        extensions=len(search.facts.extensions),
    )  # fmt: skip
    key = (found.winner, found.representative_seed)
    number = next(r.number for r in runs.trials.values() if run_key(r) == key)
    run.write(confirmed_file(*key), inner.read(weights_file(number)))
    run.write_json(CONFIRMATION, found.to_dict())
    return outcome, found


def choose(history: History, top: int, count: int) -> tuple[list[TrialRecord], list[int]]:
    """The ``top`` of the ranking, configurations that differ only by their seed once, and
    ``count`` seeds that no trial of the search had."""
    chosen: dict[str, TrialRecord] = {}
    for trial in history.ranking():
        plain = replace(trial.config, seed=0).fingerprint
        if len(chosen) < top:
            chosen.setdefault(plain, trial)
    return list(chosen.values()), fresh_seeds(history, count)


def fresh_seeds(history: History, count: int) -> list[int]:
    """``count`` seeds that no trial of a search had, always the same ones."""
    above = max((t.config.seed for t in history.trials.values()), default=0)
    return [above + i for i in range(1, count + 1)]


def keeping_all(plan: Plan, inner: RunFolder) -> Plan:
    """The plan of a confirmation, which forgets no weights of the runs before: a front may need
    those of a small network."""
    known = len(read_history(inner).trials) if inner.exists(JOURNAL) else 0
    if not known:
        return plan
    return replace(plan, keep=replace(plan.keep, weights=plan.keep.weights + known))
