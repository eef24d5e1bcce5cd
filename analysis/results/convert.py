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

from analysis.results.output_formats import CONVERSIONS, conversion_target
from vgg6.tuning.algorithms.told_study import TOLD_AS, told_trial
from vgg6.tuning.run.folder import trial_folder
from vgg6.tuning.run.search import Search, check_params
from vgg6.tuning.run.trials import PAUSED, RUNNING, STOPPED

SCALARS = ("train_loss", "train_acc", "val_loss", "val_acc", "best_val_acc", "lr",
           "val_balanced_acc")  # fmt: skip


def to_tensorboard(search: Search, out: Path) -> None:
    """Write one folder of events a trial: a scalar a metric and epoch, at the time it was reported,
    and the configuration for the HParams tab."""
    for number, trial in sorted(search.history.trials.items()):
        config = trial.config
        folder = out / f"{trial_folder(number)}_{config.label}"
        with SummaryWriter(str(folder), write_to_disk=True) as writer:
            given = {k: v for k, v in config.to_dict().items() if v is not None}
            scores = {} if trial.score is None else {trial.metric.best_column: trial.score}
            for part in hparams({**given, "trial": number, "state": trial.state}, scores):
                writer.file_writer.add_summary(part)
            for row in trial.curve:
                metric, known = trial.metric, row.metrics.to_dict()
                known |= {metric.best_column: metric.best_of(row)}
                for name in dict.fromkeys((*SCALARS, metric.best_column)):
                    if name in known:
                        writer.add_scalar(name, known[name], row.epoch, walltime=row.time)


def to_optuna(search: Search, out: Path) -> None:
    """Write a study in Optuna's journal format: every trial with its true end, its curve as
    intermediate values, its times, and as attributes its label, state and reason.

    A trial that was stopped because the search ended is shown as pruned: nothing runs on.
    """
    check_params(search)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(out))),
        study_name=search.name,
        direction="minimize" if search.metric.lower_is_better else "maximize",
    )
    study.set_user_attr("metric", search.metric.name)
    study.set_user_attr("data", search.facts.data.name)
    study.set_user_attr("command", search.facts.command)
    shown_as = TOLD_AS | {
        RUNNING: TrialState.RUNNING, PAUSED: TrialState.RUNNING, STOPPED: TrialState.PRUNED
    }  # fmt: skip
    for number, trial in sorted(search.history.trials.items()):
        frozen = told_trial(trial, search.space, shown_as[trial.state], plain=True)
        frozen.datetime_start = datetime.fromtimestamp(trial.created)
        if trial.ended is not None:
            frozen.datetime_complete = datetime.fromtimestamp(trial.ended)
        frozen.user_attrs = {
            "trial": number,
            "label": trial.config.label,
            "state": trial.state,
            "reason": trial.reason,
            "epochs": trial.epoch,
        }
        study.add_trial(frozen)


WRITERS: dict[str, Callable[[Search, Path], None]] = {
    "tensorboard": to_tensorboard,
    "optuna": to_optuna,
}


def convert(search: Search, form: str, out: str | None) -> tuple[Path, str]:
    """Write a search in another tool's form, in the place of what was written before.

    Returns the folder or file, and the command that shows it.

    Raises:
        InputError: the form is not known, or a remote run folder is given no ``out``.
    """
    target = conversion_target(search.folder, form, out)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as scratch:
        fresh = Path(scratch) / target.name
        WRITERS[form](search, fresh)
        if target.is_dir():
            shutil.rmtree(target)
        if fresh.exists():  # a search without a trial has no events
            fresh.replace(target)
    return target, CONVERSIONS[form][1].format(quoted(target))


def quoted(path: Path) -> str:
    """A path for a shell, relative where that is shorter."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
