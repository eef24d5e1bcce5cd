"""What ``search``, ``resume`` and ``best --confirm`` share: each starts a session on Ray."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.report.wandb_summary import WandbSummary
from analysis.suggested_commands import RECORDED
from cli.exit_codes import DONE, FAILED, INTERRUPTED
from cli.flags import SESSION_FIELDS, read_fields
from search_spaces import SPACE_NAMES
from vgg6.common.say import say
from vgg6.common.user_folders import expanded
from vgg6.data import NAMES
from vgg6.tuning.run.folder import SEARCH, RunFolder, open_run
from vgg6.tuning.run.search_facts import SearchFacts, read_facts
from vgg6.tuning.settings import Settings
from vgg6.tuning.trackers.journal_mirror import local_folder
from vgg6.tuning.trackers.wandb_mirror import default_mode

NAMED = ("space", "data")  # flags that take a shipped name too
PATHS = (*NAMED, "storage", "warm-start")  # flags that may name a file or a folder
SHIPPED = ("auto", *NAMES, *SPACE_NAMES)  # names of images and spaces, not paths


def recorded_settings(facts: SearchFacts, args: argparse.Namespace) -> Settings:
    """What the search was asked for, but for where this session runs and what it shows."""
    given = read_fields(args, Settings, SESSION_FIELDS)
    # A search that was extended has been told its number; else ``auto`` may have been asked for.
    trials = facts.settings.trials if facts.extensions else facts.trials
    return replace(facts.settings, trials=trials, data=facts.data.argument, **given)


def typed_command(args: argparse.Namespace) -> str:
    """The command that was typed, as it is recorded: it can be repeated from any folder.

    A space, images, a storage and earlier searches of the user's own are named by absolute paths.
    """
    words, flag = [], ""
    for word in args.typed:
        value = word
        if word.startswith("--"):
            flag, _, value = word.partition("=")
        before = word[: len(word) - len(value)]
        words.append(before + _from_anywhere(flag.lstrip("-").replace("_", "-"), value, args))
    return shlex.join([*RECORDED, *words])


def _from_anywhere(flag: str, value: str, args: argparse.Namespace) -> str:
    """A flag's value, which names the same from every folder if it is a path."""
    path = Path(expanded(value))
    if not value or "://" in value or flag not in PATHS or (flag in NAMED and value in SHIPPED):
        return value
    if flag == "warm-start":
        return open_run(expanded(value), args.storage or Settings.storage).uri
    return os.path.realpath(path) if flag == "storage" or path.exists() else value


@contextmanager
def saying_how_to_resume(
    run: RunFolder, to_go_on: str, to_extend: str = "", known: int = 0
) -> Iterator[None]:
    """Say how to go on when the search is interrupted while it starts, or while it is packed.

    Args:
        to_extend: the command for as long as it has no more than the ``known`` extensions.
    """
    try:
        yield
    except KeyboardInterrupt:
        if run.exists(SEARCH):
            recorded = not to_extend or len(read_facts(run).extensions) > known
            say(f"incomplete: interrupted. To go on: {to_go_on if recorded else to_extend}")
        raise


def exit_status(outcome: Any) -> int:
    """The exit status of a session that ended so."""
    from vgg6.tuning.session import session_outcome as ways

    return {ways.COMPLETE: DONE, ways.INTERRUPTED: INTERRUPTED}.get(outcome.outcome, FAILED)


def start_wandb_summary(run: RunFolder, settings: Settings) -> WandbSummary:
    """Begin one more W&B run: the whole search's."""
    return WandbSummary(
        run, settings.wandb or default_mode(), folder=local_folder(run),
        project=settings.wandb_project, group=settings.name,
    )  # fmt: skip
