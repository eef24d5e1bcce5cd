"""What a confirmation records of each candidate, and its winner in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from analysis.confirmation.confirmed_result import how_it_was_lost
from analysis.confirmation.intervals import pooled_means
from analysis.confirmation.paired_scores import MOST_SEEDS, Difference, PairedScores
from analysis.confirmation.winner_rule import SETTLED, Decision, Standing
from vgg6.architecture import count_parameters
from vgg6.common.intervals import MeanInterval
from vgg6.common.numbers_in_words import counted
from vgg6.metric import ACCURACY, Metric
from vgg6.task import STUDY, Task
from vgg6.tuning.run.confirmation import DIVERGED, OPEN, WITHIN, WORSE, Candidate, ConfirmationRun
from vgg6.tuning.run.history import History
from vgg6.tuning.run.trials import COMPLETED, RUNNING, STOPPED, TrialRecord


def run_key(run: TrialRecord) -> tuple[int, int]:
    """Which candidate and which seed a run of the confirmation is."""
    return run.params["candidate"], run.params["seed"]


def scores_of(
    history: History, candidates: list[int], seeds: list[int]
) -> dict[int, list[float | None]]:
    """Each candidate's scores by seed, up to the first that has not ended; None: it diverged or
    crashed."""
    runs = {run_key(run): run for run in history.trials.values()}
    found: dict[int, list[float | None]] = {}
    for candidate in candidates:
        found[candidate] = []
        for seed in seeds:
            run = runs.get((candidate, seed))
            if run is None or run.state in (RUNNING, STOPPED):
                break
            found[candidate].append(run.score if run.state == COMPLETED else None)
    return found


def candidate_records(
    candidates: list[TrialRecord],
    history: History,
    seeds: list[int],
    now: Standing,
    images: float,
    decision: Decision | None,
    costs: Mapping[int, float],
    task: Task = STUDY,
) -> list[Candidate]:
    """A record of each candidate: those that are still in first, by their mean.

    Args:
        history: of the confirmation.
        seeds: of its whole rounds.
        images: validation images behind a score.
        decision: None where none wins; the candidates are then in their order.
        task: what their networks are made for.
    """
    runs = {  # of the rounds that it was in: one that began early decides nothing
        t.number: _runs_of(t.number, history, seeds[: now.eliminated.get(t.number)])
        for t in candidates
    }
    metric = history.metric
    means = pooled_means({number: _scores(own) for number, own in runs.items()}, images, metric)
    rows = []
    for trial in candidates:
        number = trial.number
        stands, other, behind, alpha = "", None, None, SETTLED
        if number in now.behind:
            stands, alpha = WORSE, now.alpha
            other, behind = now.behind[number]
        elif number in now.eliminated:
            stands = DIVERGED
        elif decision and number != decision.winner:
            other = decision.winner
            stands, behind = decision.rivals[number]
        rows.append(
            _record(trial, runs[number], means.get(number), stands, other, behind, alpha, now,
                    costs[number], task)
        )  # fmt: skip
    if decision is None:
        return rows
    return sorted(
        rows,
        key=lambda row: (
            row.eliminated_after is not None,
            math.inf if row.mean is None else -metric.gain(row.mean),
        ),
    )


def _runs_of(candidate: int, history: History, seeds: list[int]) -> list[TrialRecord]:
    runs = [r for r in history.trials.values() if run_key(r)[0] == candidate]
    return sorted((r for r in runs if run_key(r)[1] in seeds), key=run_key)


def _scores(runs: list[TrialRecord]) -> list[float]:
    return [r.score for r in runs if r.state == COMPLETED and r.score is not None]


def _record(
    trial: TrialRecord,
    runs: list[TrialRecord],
    known: MeanInterval | None,
    stands: str,
    other: int | None,
    behind: Difference | None,
    alpha: float,
    now: Standing,
    cost: float,
    task: Task,
) -> Candidate:
    mean = known.mean if known else None
    seconds = [row.seconds for run in runs for row in run.rows.values()]
    metric = trial.metric
    score = metric.worst if trial.score is None else trial.score
    as_long = trial.state == COMPLETED and trial.epoch >= trial.config.epochs
    half = behind.half(alpha) if behind else 0.0
    return Candidate(
        trial=trial.number,
        label=trial.config.label,
        config=trial.config,
        fingerprint=trial.config.fingerprint,
        search_score=score,
        mean=mean,
        sd=known.sd if known else None,
        low=known.low if known else None,
        high=known.high if known else None,
        optimism=metric.gain(score) - metric.gain(mean) if mean is not None and as_long else None,
        eliminated_after=now.eliminated.get(trial.number),
        tied=stands in ("", WITHIN, OPEN),
        parameters=count_parameters(trial.config, task=task),
        epoch_seconds=fmean(seconds) if seconds else None,
        cost=cost,
        compared_with=other,
        behind=behind.gap if behind else None,
        behind_low=behind.gap - half if behind else None,
        behind_high=behind.gap + half if behind else None,
        stands=stands,
        runs=[
            ConfirmationRun(
                seed=run_key(run)[1],
                val_acc=run.best_val_acc,
                score=None if metric.is_accuracy else run.score,
                best_epoch=run.best_epoch if run.rows else None,
                epochs_run=run.epoch,
                seconds=run.seconds,
                state=run.state,
                reason=run.reason,
                history=run.results,
            )
            for run in runs
        ],
    )


def in_words(
    decision: Decision, paired: PairedScores, rows: Sequence[Candidate], margin: float
) -> str:
    """Why the winner won, what is shown of its rivals and what is not. ``rows``: all candidates."""
    seeds, winner, best = paired.seeds, decision.winner, paired.order[0]
    over = counted(seeds, "fresh seed")
    if len(rows) == 1:
        return f"trial {winner} was the only candidate, over {over}"
    lost = [row for row in rows if row.stands == DIVERGED]
    why = "".join(f"trial {row.trial} {how_it_was_lost(row)}; " for row in lost)
    equal = [c for c in paired.order if math.isclose(paired.means[c], paired.means[best])]
    if len(lost) == len(rows) - 1:
        return why + f"trial {winner} is the only one left, over {over}"
    if len(equal) > 1:
        why += (
            f"{_trials(equal)} have the same {_best_mean(paired.metric)} over {over}, and trial"
            f" {best} was first in the search"
        )
    else:
        rest = " of the others" * bool(lost)
        why += f"trial {best} has the {_best_mean(paired.metric)}{rest} over {over}"
    if winner != best:
        why += f"; trial {winner} is cheaper to train and shown to be at most {margin:g} worse"
    elif all(stands == WORSE for stands, _ in decision.rivals.values()):
        return why + ", by more than noise"
    near, unknown = (
        [c for c, (stands, _) in decision.rivals.items() if stands == kind and c != best]
        for kind in (WITHIN, OPEN)
    )
    if near:
        why += f"; {_named(near)} shown to be at most {margin:g} better than trial {winner}"
    if unknown or decision.more_seeds:
        more = decision.more_seeds
        unsure = seeds == 1 or more >= MOST_SEEDS  # one seed has no spread
        count = "at least" if unsure else "about"
        within = f", or at most {margin:g} worse" if margin else ""
        why += (
            f"; trial {winner} is not shown to be better than {_trials(unknown)}{within}:"
            f" {count} {counted(more, 'more seed')} would tell"
        )
    return why


def _best_mean(metric: Metric) -> str:
    """``highest mean``, which names any other metric than accuracy."""
    best = "lowest mean" if metric.lower_is_better else "highest mean"
    return best if metric.is_accuracy else f"{best} {metric.label}"


def _trials(numbers: list[int]) -> str:
    return f"trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _named(numbers: list[int]) -> str:
    return f"{_trials(numbers)} {'is' if len(numbers) == 1 else 'are'}"


def median_seed(winner: Candidate, metric: Metric = ACCURACY) -> int:
    """The seed of the run in the middle: its weights are what a re-run is likely to give."""
    done = sorted(winner.finished, key=lambda run: metric.gain(run.result or 0.0))
    return done[(len(done) - 1) // 2].seed
