"""A trial that is asked for by its number, not for its score: its run, and the run made again.

A search keeps the weights of its best few trials only. Those of another, such as a baseline that is
to be scored on the test images, are made again by ``train``, into a folder of the run that is
looked for here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.packages.package import read_package
from analysis.packages.package_files import PACKAGE, WEIGHTS, check_sums
from analysis.packages.package_schema import Package
from analysis.packages.train_command import train_command
from analysis.winner.ranking import stop_after
from vgg6.common.checks import InputError
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.run_record import DataFacts, RuntimeFacts
from vgg6.tuning.run.folder import RunFolder, trial_folder
from vgg6.tuning.run.journal import History, TrialRecord

AGAIN = "again"  # of a run folder: packages of trials that were trained again


def scored_trial(run: RunFolder, history: History, number: int) -> TrialRecord:
    """The trial of that number.

    Raises:
        InputError: there is none, it has no finished epoch, or it diverged or crashed.
    """
    if number not in history.trials:
        last = max(history.trials, default=-1)
        rule = f"is no trial of {run.name}, which has 0 to {last}" if last >= 0 else "has not begun"
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


def again_command(run: RunFolder, trial: TrialRecord, facts: dict[str, Any]) -> str:
    """The command that trains a trial again to where it can be found.

    Args:
        facts: the search's ``search.json``.
    """
    config = TrialConfig.from_mapping(trial.config)
    out = f"{run.path}/{again_folder(trial.number)}"
    return train_command(
        config,
        read_record(DataFacts, facts["data"]),
        read_record(RuntimeFacts, facts["runtime"]),
        stop_after(trial),
        out=out,
    )


def read_again(run: RunFolder, trial: TrialRecord, facts: dict[str, Any]) -> Package | None:
    """The package of a trial that was trained again, or None where there is none.

    Raises:
        InputError: it is altered or damaged, or of another configuration, length or data.
    """
    folder = Path(run.file(again_folder(trial.number)))
    if not (run.local and folder.is_dir()):
        return None
    check_sums(folder, PACKAGE)
    package = read_package(folder)
    asked = {
        "configuration": (package.config, TrialConfig.from_mapping(trial.config)),
        "length": (package.stop_after, stop_after(trial)),
        "data": (package.data.fingerprint, facts["data"]["fingerprint"]),
    }
    for what, (found, expected) in asked.items():
        if found != expected:
            raise InputError("run", str(folder), f"is not trial {trial.number} again: other {what}")
    return package
