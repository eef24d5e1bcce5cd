"""What ``search``, ``resume`` and ``best --confirm`` share: each starts a session on Ray."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cli.console import DONE, FAILED, INTERRUPTED
from cli.flags import SESSION_FIELDS, read_fields
from vgg6.common.say import say
from vgg6.tuning.run.folder import SEARCH, RunFolder
from vgg6.tuning.run.records import SearchFacts
from vgg6.tuning.settings import Settings


def recorded_settings(facts: SearchFacts, args: argparse.Namespace) -> Settings:
    """What the search was asked for, but for where this session runs and what it shows."""
    given = read_fields(args, Settings, SESSION_FIELDS)
    return replace(facts.settings, trials=facts.trials, data=facts.data.argument, **given)


def typed_command(args: argparse.Namespace) -> str:
    """The command that was typed, as it is recorded: any machine can repeat it."""
    return "python tune_vgg6.py " + shlex.join(args.typed)


def program_command() -> str:
    """How to call this program again from where it was called."""
    return f"{_python_command()} tune_vgg6.py"


def _python_command() -> str:
    """How to call this Python from here: ``python`` where that is it, else its path."""
    found = shutil.which("python")
    if found and os.path.samefile(found, sys.executable):
        return "python"
    path = os.path.relpath(sys.executable)
    return shlex.quote(sys.executable if path.startswith("..") else path)


def search_argument(run: RunFolder, settings: Settings) -> str:
    """A search as RUN of the next command: its name where that is enough."""
    return str(run.name if settings.storage == Settings.storage else shlex.quote(run.uri))


def resume_command(run: RunFolder, settings: Settings) -> str:
    return f"{program_command()} resume {search_argument(run, settings)}"


@contextmanager
def saying_how_to_resume(run: RunFolder, settings: Settings) -> Iterator[None]:
    """Say how to go on when the search is interrupted while it starts, or while it is packed."""
    try:
        yield
    except KeyboardInterrupt:
        if run.exists(SEARCH):
            say(f"incomplete: interrupted. To go on: {resume_command(run, settings)}")
        raise


def exit_status(outcome: Any) -> int:
    """The exit status of a session that ended so."""
    from vgg6.tuning.session import session

    return {session.COMPLETE: DONE, session.INTERRUPTED: INTERRUPTED}.get(outcome.outcome, FAILED)


def log_whole_search(run: RunFolder, settings: Settings, waited: float) -> None:
    """Log one more W&B run: the whole search's. ``waited``: seconds already spent on W&B."""
    from analysis.report.wandb_summary import start_summary
    from vgg6.tuning.trackers.wandb_mirror import default_mode, local_folder

    problem = start_summary(
        run, settings.wandb or default_mode(), folder=local_folder(run),
        project=settings.wandb_project, group=settings.name, waited=waited,
    )  # fmt: skip
    if problem:
        say(problem)
