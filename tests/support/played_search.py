"""A search on made-up curves with one worker and without Ray: all else is the search's own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.search import Searcher
from support.made.runs import search_facts

from cli.extend import extended
from search_spaces import Space, load_space
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms.early_stopping import replay
from vgg6.tuning.algorithms.promotion import PromotionRule
from vgg6.tuning.algorithms.rule_of_search import rule_of
from vgg6.tuning.reported_keys import WHY_INFEASIBLE
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.search import Search, read_search
from vgg6.tuning.run.search_facts import FORMAT
from vgg6.tuning.session.callbacks import JournalCallback, StopRule
from vgg6.tuning.session.extend import carry_out, changes_of, record_extension
from vgg6.tuning.session.plan import Plan
from vgg6.tuning.session.session import build_searcher, trials_of
from vgg6.tuning.session.trial_end import settle
from vgg6.tuning.settings import Settings

Score = Callable[[TrialConfig, int], float]


class Killed(Exception):
    """The driver is gone."""


def new_search(folder: Path, name: str, space: str | Space = "default", **asked: Any) -> RunFolder:
    """The folder of a search that has not begun."""
    run = RunFolder(str(folder / name))
    run.create()
    settings = Settings(name=name, data="digits", **asked)
    space = load_space(space) if isinstance(space, str) else space
    facts = search_facts(
        name, settings.trials or 0, format=FORMAT, settings=settings.to_dict(),
        space=space.to_dict(),
    )  # fmt: skip
    run.write_json(SEARCH, facts)
    return run


def quality(config: TrialConfig, epoch: int) -> float:
    """A score that rises with the epochs, to a height of the configuration's own."""
    best = 0.9 - 0.1 * abs(math.log10(config.lr / 0.01)) - 0.3 * (config.activation == "sigmoid")
    slow = 1 + int(config.fingerprint, 16) % 5
    return round(max(0.1, best * (1 - math.exp(-epoch / slow))), 6)


def play(
    run: RunFolder,
    score: Score = quality,
    *,
    fails: Callable[[int, int], bool] = lambda number, epoch: False,
    killed_after: int | None = None,
    **added: Any,
) -> Search:
    """One session of a search, to its end.

    Args:
        fails: whether a trial crashes in an epoch.
        killed_after: so many epochs; the journal stays as it is then.
        added: an extension.
    """
    search, extension = read_search(run), None
    if added:
        number = len(search.history.sessions) + 1
        extension = Extension(session=number, created="2026-11-28T12:00:00+0000", **added)
        search = extended(search, extension)
    facts, lengths = search.facts, search.lengths
    plan: Any = Plan(
        facts.settings, search.space, facts.settings.trials or 0, *[None] * 3, "disabled",  # type: ignore[arg-type]
        extensions=tuple(facts.extensions), added=extension, lengths=lengths,
    )  # fmt: skip
    metric = facts.metric
    journal = Journal(run, metric)
    history = journal.history
    if extension:
        record_extension(run, history, extension)
    journal.write("session", session=f"session_{len(history.sessions) + 1}")
    changes = changes_of(facts.settings, plan.extensions, search.space, history, lengths=lengths)
    carry_out(journal, changes, facts.settings.epochs)
    rule: Any = rule_of(
        facts.settings, search.space, history, trials_of(plan, history), lengths=lengths
    )
    promotions = rule if isinstance(rule, PromotionRule) else None
    settle(run, journal, replay(rule, history.arrivals), promotions=promotions)
    searcher = build_searcher(plan, journal, promotions)
    stop = StopRule(history, None, None)
    callback = JournalCallback(run, journal, stop, None, promotions=promotions)  # type: ignore[arg-type]
    left = killed_after
    while isinstance(given := searcher.suggest("worker"), dict) and given != Searcher.FINISHED:
        record = history.trials[given["number"]]
        trial: Any = SimpleNamespace(
            config=given, last_result=None, run_metadata=SimpleNamespace(num_failures=0),
            error_file=None, should_recover=lambda: False,
        )  # fmt: skip
        for epoch in range(record.epoch + 1, record.config.epochs + 1):
            if fails(record.number, epoch):
                callback.on_trial_error(0, [], trial)
                searcher.on_trial_complete("worker", error=True)
                break
            if left is not None and (left := left - 1) < 0:
                journal.close()
                return read_search(run)
            rows = [score(record.config, e) for e in range(1, epoch + 1)]
            best = max(rows, key=metric.gain)
            result = {
                "epoch": epoch, "train_loss": 0.0, "train_acc": 0.0, "val_loss": 0.0,
                "val_acc": 0.5, "best_val_acc": 0.5, "seconds": 1.0, "node": "here",
                "best_epoch": rows.index(best) + 1, "lr": record.config.lr, "pid": 1,
                "val_balanced_acc": 0.5, metric.column: rows[-1], metric.best_key: best,
            }  # fmt: skip
            assert WHY_INFEASIBLE not in result
            callback.on_trial_result(0, [], trial, result)
            stopped = rule.stops(record.number, epoch, metric.merit(best))
            if stopped or epoch == record.config.epochs:
                trial.last_result = result
                searcher.on_trial_complete("worker", result)
                callback.on_trial_complete(0, [], trial)
                break
            searcher.on_trial_result("worker", result)
    callback.on_experiment_end([])
    journal.write("session_end", session=f"session_{len(history.sessions)}", outcome="complete")
    journal.close()
    return read_search(run)


def decisions(run: RunFolder) -> list[tuple[Any, ...]]:
    """What a search began, ran and promoted, in its order."""
    events = [json.loads(line) for line in run.read(JOURNAL).splitlines()]
    found: list[tuple[Any, ...]] = []
    for event in events:
        if event["event"] == "trial":
            found.append(("trial", event["trial"], json.dumps(event["config"])))
        elif event["event"] == "epoch":
            found.append(("epoch", event["trial"], event["epoch"]))
        elif event["event"] == "promotion":
            found.append(("promotion", event["trial"]))
    return found
