"""One session of a search: build the Tuner, run it, say honestly how it ended."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

from ray import tune
from ray.tune.search import ConcurrencyLimiter
from threadpoolctl import threadpool_limits

from vgg6.common.interrupts import answered_by, ends, leave_lost_terminal
from vgg6.common.numbers_in_words import counted
from vgg6.common.say import say
from vgg6.data import DataFacts
from vgg6.run_record import RuntimeFacts
from vgg6.tuning.algorithms.early_stopping import replay
from vgg6.tuning.algorithms.promotion import PromotionRule, compared_at
from vgg6.tuning.algorithms.rule_of_search import rule_of
from vgg6.tuning.algorithms.scheduler import RuleScheduler
from vgg6.tuning.algorithms.searcher import TruthfulSearcher
from vgg6.tuning.cluster.connect import ClusterLost
from vgg6.tuning.cluster.nodes import NodeWatch
from vgg6.tuning.cluster.ray_internals import (
    callbacks_are_not_counted,
    metrics_are_not_averaged,
    out_of_host_memory_is_a_dead_actor,
    trainable_is_read_once,
    trials_in_waiting_workers,
)
from vgg6.tuning.cluster.retries import enlarge
from vgg6.tuning.cluster.shared_storage import mark
from vgg6.tuning.cluster.stall_guard import StallGuard
from vgg6.tuning.run.driver_lock import only_driver
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder, trial_folder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, StorageLost
from vgg6.tuning.run.progress import Progress
from vgg6.tuning.run.search_facts import FORMAT, RETIRED_SEARCHERS, SUCCESSOR, SearchFacts
from vgg6.tuning.run.trials import PAUSED, RUNNING
from vgg6.tuning.session.callbacks import JournalCallback, SearchInterrupted, StopRule
from vgg6.tuning.session.extend import carry_out, changes_of, record_extension
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session_outcome import INCOMPLETE, INTERRUPTED, Outcome, outcome_of
from vgg6.tuning.session.trainable import train_trial
from vgg6.tuning.session.trial_checkpoints import CHECKPOINTS
from vgg6.tuning.session.trial_end import settle
from vgg6.tuning.session.trial_speed import check_measured_threads
from vgg6.tuning.trackers.journal_mirror import Followed, local_folder
from vgg6.tuning.trackers.mlflow_mirror import MlflowMirror
from vgg6.tuning.trackers.wandb_mirror import WandbMirror

out_of_host_memory_is_a_dead_actor()
callbacks_are_not_counted()
MAX_FAILURES = 2  # attempts after the first that a crashing trial gets
PACKAGES = ("ray", "torch", "torchvision", "optuna", "wandb", "numpy")


def create_run(
    run: RunFolder,
    plan: Plan,
    *,
    data_facts: DataFacts,
    command: str,
    gpus: Sequence[str] = (),
) -> None:
    """Write ``search.json``: what was asked, of which data, on what.

    Args:
        gpus: the kinds that trials compute on, as Ray names them.
    """
    run.create()
    settings = plan.settings
    facts = SearchFacts(
        format=FORMAT,
        name=settings.name,
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=command,
        trials=plan.trials,
        settings=settings,
        space=plan.space,
        data=data_facts,
        runtime=RuntimeFacts(**plan.runtime.to_dict()),
        versions={"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        gpus=list(gpus),
        warm_start=plan.warm.facts,
    )
    run.write_json(SEARCH, facts.to_dict())


def build_searcher(
    plan: Plan, journal: Journal, promotions: PromotionRule | None
) -> TruthfulSearcher:
    """The plan's searcher, which knows all that the journal does.

    Args:
        promotions: says which paused trial goes on, where any pauses.
    """
    settings = plan.settings
    if settings.searcher in RETIRED_SEARCHERS:
        say(f"its searcher, {settings.searcher}, is no more: {SUCCESSOR} proposes what is left")
    return TruthfulSearcher(
        plan.space,
        searcher=SUCCESSOR if settings.searcher in RETIRED_SEARCHERS else settings.searcher,
        seed=settings.seed,
        base={"epochs": settings.epochs, "seed": settings.seed},
        limit=trials_of(plan, journal.history),
        journal=journal,
        rungs=compared_at(settings.epochs, settings.grace, settings.reduction),
        rule=promotions,
        earlier=plan.warm.told,
        lengths=plan.lengths,
    )


def trials_of(plan: Plan, history: History) -> int:
    """How many trials a search has, those that were begun again included."""
    return plan.trials + len(history.begun_again)


def run_session(
    run: RunFolder,
    plan: Plan,
    make_searcher: Callable[[Plan, Journal], Any] | None = None,
) -> Outcome:
    """Run the search, or what is left of it, on the Ray that this process is connected to.

    Args:
        make_searcher: of another searcher than the plan's. Its ``exhausted`` says that it has no
            trial left to ask for, whatever the plan's number.

    Raises:
        InputError: another driver runs this search, or has since it was planned.
    """
    with only_driver(run):
        journal = Journal(run, plan.settings.measure)
        session = f"session_{len(journal.history.sessions) + 1}"
        run.delete_scraps()
        mark(run)
        if torn := journal.history.torn_lines:
            say(f"{run.file(JOURNAL)}: {counted(torn, 'line')} torn by a crash, left out")
        if plan.added:
            record_extension(run, journal.history, plan.added)
        journal.write("session", session=session, pid=os.getpid(), host=platform.node())
        settings = plan.settings
        search = Followed(journal.staged, local_folder(run), settings.name, settings.measure)
        in_wandb = WandbMirror(plan.wandb_mode, search, settings.wandb_project)
        in_mlflow = MlflowMirror(settings.mlflow, search)
        outcome = "failed"
        try:
            outcome, detail = _fit(run, plan, journal, session, make_searcher)
            check_measured_threads(plan, journal.history)
        except StorageLost as lost:
            standing = journal.history.trials.values()
            ended = sum(t.state not in (RUNNING, PAUSED) for t in standing)
            outcome, detail = (
                INCOMPLETE,
                f"{lost}; {ended} of {counted(trials_of(plan, journal.history), 'trial')} ended",
            )
        except KeyboardInterrupt:
            outcome = INTERRUPTED
            raise
        finally:
            has_no_end = True
            with suppress(StorageLost, OSError):  # it has been said already
                journal.write("session_end", session=session, outcome=outcome)
                has_no_end = False
                journal.close()
            began = time.monotonic()
            problems = [in_wandb.finish(at_once=has_no_end)]
            waited = time.monotonic() - began
            problems.append(in_mlflow.finish(at_once=has_no_end))
        with suppress(OSError):  # a storage that was lost: that is in the detail
            for entry in journal.history.sessions:
                run.delete_folder(entry.name)  # what Ray kept there is never read
            if not run.names(CHECKPOINTS):
                run.delete_folder(CHECKPOINTS)
        return Outcome(outcome, detail, [*filter(None, problems)], waited)


def _fit(
    run: RunFolder,
    plan: Plan,
    journal: Journal,
    session: str,
    make_searcher: Callable[[Plan, Journal], Any] | None,
) -> tuple[str, str]:
    settings, history = plan.settings, journal.history
    known: Any = {"added": plan.warm.points, "lengths": plan.lengths}
    asked = replace(settings, trials=plan.trials)
    changes = changes_of(asked, plan.extensions, plan.space, history, **known)
    carry_out(journal, changes, settings.epochs)
    trials = trials_of(plan, history)
    rule = rule_of(settings, plan.space, history, trials, **known)
    promotions = rule if isinstance(rule, PromotionRule) else None
    keep = replace(plan.keep, pruned=promotions is not None)
    settle(run, journal, replay(rule, history.arrivals), keep, promotions)
    searcher: Any = (
        make_searcher(plan, journal) if make_searcher else build_searcher(plan, journal, promotions)
    )
    scheduler = RuleScheduler(
        rule, partial(enlarge, plan.allotment), searcher.begin_again, history.metric
    )
    since = max((one.session for one in plan.extensions), default=0)
    stop = StopRule(history, settings.time_budget, settings.patience, since, plan.began)
    title = f"{settings.name}: {plan.data.name}, {plan.allotment.why}"
    limiter = ConcurrencyLimiter(searcher, max_concurrent=plan.allotment.concurrent)
    watch, guard = NodeWatch(limiter, plan.allotment, history, plan.to_go_on), StallGuard()
    with watch, guard, Progress(title, trials, history, settings.time_budget) as progress:
        callback = JournalCallback(run, journal, stop, progress, keep, promotions)
        trainable = tune.with_parameters(
            train_trial,
            data=plan.data,
            runtime=plan.runtime,
            gpu_fraction=plan.allotment.gpus,
            run_uri=run.uri,
            metric=history.metric,
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, plan.allotment.request),
            tune_config=tune.TuneConfig(
                metric=history.metric.best_key,
                mode=history.metric.mode,
                search_alg=limiter,
                scheduler=scheduler,
                num_samples=-1,  # the searcher knows when it has asked for all trials
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial_folder(trial.config["number"]),
            ),
            run_config=tune.RunConfig(
                name=session,
                storage_path=run.path,
                storage_filesystem=run.fs,
                stop=stop,
                callbacks=[callback, watch, guard],
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                verbose=1 if settings.verbose else 0,
            ),
        )
        try:
            # The model's matrices are small: more threads of BLAS wait, and take CPUs from trials.
            with (
                _signals_to(callback), threadpool_limits(1, "blas"),
                trials_in_waiting_workers(), trainable_is_read_once(), metrics_are_not_averaged(),
            ):  # fmt: skip
                tuner.fit()
        except SearchInterrupted:
            name = signal.Signals(callback.signal or signal.SIGINT).name
            return INTERRUPTED, f"{name} received"
        except ClusterLost as lost:
            return INCOMPLETE, str(lost)
    if stop.reason:
        callback.end_running()
    return outcome_of(history, trials, stop.reason, searcher.exhausted)


@contextmanager
def _signals_to(callback: JournalCallback) -> Iterator[None]:
    """Hand the signals that end a process to the callback, which ends the search between two steps.

    A second signal does not wait for a step: Ray may be the thing that hangs.
    """

    def on_signal(number: int, frame: object) -> None:
        if callback.signal == number == signal.SIGHUP:
            return  # the kernel and a shell may both have sent it, and nobody asks for haste
        if callback.signal is not None:
            raise SearchInterrupted
        callback.signal = number
        if number == signal.SIGHUP:
            leave_lost_terminal()
        print("\nending the search; once more to end it at once", file=sys.stderr, flush=True)

    with answered_by(on_signal, *ends()):
        yield
