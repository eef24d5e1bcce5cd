"""A run folder as TensorBoard's event files, or as a study that optuna-dashboard opens."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from analysis.results.targets import CONVERSIONS, conversion_target
from search_spaces import Space
from vgg6.config import TrialConfig
from vgg6.tuning.algorithms.searcher import TOLD_AS, told_trial
from vgg6.tuning.run import journal as j
from vgg6.tuning.run.folder import RunFolder, trial_folder
from vgg6.tuning.run.records import check_params, read_search

SCALARS = ("train_loss", "train_acc", "val_loss", "val_acc", "best_val_acc", "lr")


def to_tensorboard(run: RunFolder, out: Path) -> None:
    """Write one folder of events a trial: a scalar a metric and epoch, at the time it was reported,
    and the configuration for the HParams tab."""
    for number, trial in sorted(j.read_history(run).trials.items()):
        config = TrialConfig.from_mapping(trial.config)
        folder = out / f"{trial_folder(number)}_{config.label}"
        with SummaryWriter(str(folder), write_to_disk=True) as writer:
            given = {k: v for k, v in config.to_dict().items() if v is not None}
            scores = {} if trial.best_val_acc is None else {"best_val_acc": trial.best_val_acc}
            for part in hparams({**given, "trial": number, "state": trial.state}, scores):
                writer.file_writer.add_summary(part)
            for epoch, row in sorted(trial.rows.items()):
                for name in SCALARS:
                    writer.add_scalar(name, row[name], epoch, walltime=row["time"])


def to_optuna(run: RunFolder, out: Path) -> None:
    """Write a study in Optuna's journal format: every trial with its true end, its curve as
    intermediate values, its times, and as attributes its label, state and reason.

    A trial that was stopped because the search ended is shown as pruned: nothing runs on.
    """
    facts, history = read_search(run), j.read_history(run)
    space = Space.from_dict(facts["space"])
    check_params(run, history, space)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(out))),
        study_name=facts["name"],
        direction="maximize",
    )
    study.set_user_attr("data", facts["data"]["name"])
    study.set_user_attr("command", facts["command"])
    shown_as = TOLD_AS | {j.RUNNING: TrialState.RUNNING, j.STOPPED: TrialState.PRUNED}
    for number, trial in sorted(history.trials.items()):
        frozen = told_trial(trial, space, shown_as[trial.state])
        frozen.datetime_start = datetime.fromtimestamp(trial.created)
        if trial.ended is not None:
            frozen.datetime_complete = datetime.fromtimestamp(trial.ended)
        frozen.user_attrs = {
            "trial": number,
            "label": TrialConfig.from_mapping(trial.config).label,
            "state": trial.state,
            "reason": trial.reason,
            "epochs": trial.epoch,
        }
        study.add_trial(frozen)


WRITERS: dict[str, Callable[[RunFolder, Path], None]] = {
    "tensorboard": to_tensorboard,
    "optuna": to_optuna,
}


def convert(run: RunFolder, form: str, out: str | None) -> tuple[Path, str]:
    """Write ``run`` in another tool's form, in the place of what was written before.

    Returns the folder or file, and the command that shows it.

    Raises:
        InputError: the form is not known, or a remote run folder is given no ``out``.
    """
    target = conversion_target(run, form, out)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as scratch:
        fresh = Path(scratch) / target.name
        WRITERS[form](run, fresh)
        if target.is_dir():
            shutil.rmtree(target)
        if fresh.exists():  # a search without a trial has no events
            fresh.replace(target)
    return target, CONVERSIONS[form][1].format(quoted(target))


def quoted(path: Path) -> str:
    """A path for a shell, relative where that is shorter."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
