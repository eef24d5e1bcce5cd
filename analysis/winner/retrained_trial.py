"""A trial that is asked for by its number, not for its score: its run, and the run made again.

A search keeps the weights of its best few trials only. Those of another, such as a baseline that is
to be scored on the test images, are made again by ``train``, into a folder of the run that is
looked for here.
"""

from __future__ import annotations

from pathlib import Path

from analysis.packages.package import read_package
from analysis.packages.package_files import PACKAGE, WEIGHTS, check_sums
from analysis.packages.package_schema import Package
from analysis.suggested_commands import train_command
from vgg6.common.checks import InputError
from vgg6.tuning.run.folder import trial_folder
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import TrialRecord

AGAIN = "again"  # of a run folder: packages of trials that were trained again


def scored_trial(search: Search, number: int) -> TrialRecord:
    """The trial of that number.

    Raises:
        InputError: there is none, it has no finished epoch, or it diverged or crashed.
    """
    history = search.history
    if number not in history.trials:
        last = max(history.trials, default=-1)
        rule = (
            f"is no trial of {search.folder.name}, which has 0 to {last}"
            if last >= 0
            else "has not begun"
        )
        raise InputError("trial", number, rule)
    if history.trials[number] not in history.ranking():
        trial = history.trials[number]
        why = f" ({trial.reason})" if trial.reason else ""
        raise InputError("trial", number, f"has no weights to give: it is {trial.state}{why}")
    return history.trials[number]


def again_folder(number: int) -> str:
    """Where a trial that is trained again is kept, below the run folder."""
    return f"{AGAIN}/{trial_folder(number)}"


def again_weights(number: int) -> str:
    """Its weights."""
    return f"{again_folder(number)}/{WEIGHTS}"


def again_name(number: int) -> str:
    """What a look at the test images calls it."""
    return f"trial {number}, trained again"


def again_command(search: Search, trial: TrialRecord) -> str:
    """The command that trains a trial again to where it can be found."""
    facts, out = search.facts, f"{search.folder.path}/{again_folder(trial.number)}"
    return train_command(
        trial.config, facts.data, facts.runtime, trial.stop_after, out=out, metric=search.metric
    )


def read_again(search: Search, trial: TrialRecord) -> Package | None:
    """The package of a trial that was trained again, or None where there is none.

    Raises:
        InputError: it is altered or damaged, or of another configuration, length or data.
    """
    folder = Path(search.folder.file(again_folder(trial.number)))
    if not (search.folder.local and folder.is_dir()):
        return None
    check_sums(folder, PACKAGE)
    package = read_package(folder)
    asked = {
        "configuration": (package.config, trial.config),
        "length": (package.stop_after, trial.stop_after),
        "data": (package.data.fingerprint, search.facts.data.fingerprint),
        "metric": (package.metric, search.metric),
    }
    for what, (found, expected) in asked.items():
        if found != expected:
            raise InputError("run", str(folder), f"is not trial {trial.number} again: other {what}")
    return package
