"""What ``resume`` may add to a search: trials, epochs, time, and another try for failed trials."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

from cli.confirm import CONFIRMING_SHARE
from cli.flags import heading_of, read_whole
from cli.session import typed_command
from vgg6.common.checks import check_number
from vgg6.common.numbers_in_words import counted, duration
from vgg6.common.quantities import read_duration
from vgg6.tuning.algorithms.warm_start import WarmStart
from vgg6.tuning.run.extension import Extension
from vgg6.tuning.run.search import Search, search_of
from vgg6.tuning.settings import POSITIVE_SECONDS, TRIALS

GROUP = "extend the search, finished or not"
FIELDS = ("trials", "epochs", "time_budget")


def add_extension_flags(parser: Any) -> None:
    """The flags of an extension, and ``--dry-run``."""
    group = heading_of(parser, GROUP)
    group.add_argument("--trials", metavar="N", help="so many trials in all")
    group.add_argument(
        "--epochs", metavar="N",
        help="a greater full length: completed trials go on to it. Those whose learning rate"
        " depends on the length begin again",
    )  # fmt: skip
    group.add_argument(
        "--time-budget", metavar="TIME", help="a new limit for each session, such as 30m or 2h"
    )
    group.add_argument(
        "--retry-failed",
        action="store_true",
        help="run failed trials again, with their cause mended",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print what would be run, and start nothing"
    )


def read_extension(args: argparse.Namespace, search: Search, confirming: bool) -> Extension | None:
    """What is to be added to a search; None where nothing is.

    Args:
        confirming: a part of a time budget is kept for a confirmation.

    Raises:
        InputError: a text is no value of its flag.
    """
    given: dict[str, Any] = {
        name: read_whole(name, getattr(args, name), TRIALS)
        for name in ("trials", "epochs")
        if getattr(args, name) is not None
    }
    if args.time_budget is not None:
        seconds = read_duration("time_budget", args.time_budget)
        check_number("time_budget", seconds, POSITIVE_SECONDS)
        given["time_budget"] = seconds * (1 - CONFIRMING_SHARE) if confirming else seconds
    if not given and not args.retry_failed:
        return None
    return Extension(
        session=len(search.history.sessions) + 1, created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=typed_command(args), retry_failed=args.retry_failed, **given,
    )  # fmt: skip


def words_of(args: argparse.Namespace) -> list[str]:
    """The flags of an extension as they were typed."""
    typed = {name: getattr(args, name) for name in FIELDS}
    words = [w for k, v in typed.items() if v is not None for w in (f"--{k.replace('_', '-')}", v)]
    return [*words, *(["--retry-failed"] if args.retry_failed else [])]


def extended(search: Search, added: Extension) -> Search:
    """The search with one more extension, checked.

    Raises:
        InputError: it cannot be added, or leaves nothing to run.
    """
    from vgg6.tuning.session.extend import check_extension, check_useful

    check_extension(search, added)
    began = search.began or search.facts
    facts = began.model_copy(update={"extensions": [*began.extensions, added]})
    confirmed = search.confirmation or search.outdated
    found = search_of(search.folder, facts, search.history, confirmed)
    check_useful(found, added, _changes(found))
    return found


def plan_in_words(search: Search) -> list[str]:
    """What an extended search, or one that goes on, has to do to its earlier trials."""
    from vgg6.tuning.session.extend import describe

    return describe(_changes(search), search.history, search.facts)


def dry_run(search: Search) -> str:
    """What would be run, as text."""
    facts, history = search.facts, search.history
    again = len(_changes(search).again)
    total, begun = facts.trials + again, len(history.trials) + again
    budget = facts.settings.time_budget
    lines = [
        f"search       {search.name}",
        *(f"             {line}" for line in search.extensions),
        f"trials       {total:,} of up to {counted(facts.settings.epochs, 'epoch')}:"
        f" {begun:,} begun, {max(0, total - begun):,} to begin"
        + (f"; {duration(budget)} a session at most" if budget else ""),
        *(f"             {line}" for line in plan_in_words(search)),
    ]
    return "\n".join(lines)


def _changes(search: Search) -> Any:
    from vgg6.tuning.session.extend import changes_of

    facts = search.facts
    warm = WarmStart.from_facts(facts.warm_start, search.space, facts.metric)
    settings = facts.settings if facts.extensions else replace(facts.settings, trials=facts.trials)
    return changes_of(
        settings, facts.extensions, search.space, search.history, added=warm.points,
        lengths=search.lengths,
    )  # fmt: skip
