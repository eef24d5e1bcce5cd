"""The states of unfinished trials, below the run folder: ``checkpoints/trial_00001/epoch_00002/``.

Not Ray's checkpoints: those belong to a session, are written twice, and only the newest is found
again. A worker writes these once, into the run folder, and any later session finds them all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyarrow import fs as pafs
from torch import Tensor

from vgg6.checkpoint import DamagedCheckpoint, best_weights, load_state, read_facts, save_state
from vgg6.common.say import say
from vgg6.config import TrialConfig
from vgg6.hardware.runtime import Runtime
from vgg6.lengthening import is_start_of
from vgg6.metric import ACCURACY, Metric
from vgg6.task import STUDY, Task
from vgg6.training import TrainState
from vgg6.tuning.run.folder import RunFolder, trial_folder

CHECKPOINTS = "checkpoints"
KEPT = 2  # the newest, and the one before, should the newest turn out to be damaged
PAUSED_BYTES = 100_000_000  # for the states of paused trials, all together


def keep_state(run: RunFolder, number: int, state: TrainState, metrics: dict[str, Any]) -> None:
    """Save a trial's state with the metrics of its last epoch, and forget the oldest."""
    before = newest_first(run, number)
    folder = run.file(f"{_folder(number)}/epoch_{state.epoch:05d}")
    if run.local:
        save_state(state, Path(folder), metrics)
    else:
        with tempfile.TemporaryDirectory() as staged:
            save_state(state, Path(staged), metrics)
            run.fs.create_dir(folder, recursive=True)
            pafs.copy_files(staged, folder, destination_filesystem=run.fs)
    for old in [path for path in before if path != folder][KEPT - 1 :]:
        run.fs.delete_dir(old)


def resume_or_start(
    run: RunFolder,
    assignment: dict[str, Any],
    runtime: Runtime,
    task: Task = STUDY,
    metric: Metric = ACCURACY,
) -> tuple[TrainState, dict[str, Any], list[str]]:
    """The newest whole state of a trial with the metrics of its last epoch; else a fresh start and
    no metrics. Then the damaged ones that were passed over, each in words that name its file.
    """
    config = TrialConfig.from_mapping(assignment["config"])
    damaged = []
    for path in newest_first(run, assignment["number"]):
        try:
            with _opened(run, path) as folder:
                state = load_state(folder, runtime, task, metric)
                metrics = read_facts(folder)["metrics"]
        except DamagedCheckpoint as error:
            damaged.append(f"checkpoint {path} is damaged ({error}): using the one before it")
            continue
        if is_start_of(state.config, state.epoch, config):
            state.config = config
            return state, metrics, damaged
    return TrainState(config, runtime, task=task, metric=metric), {}, damaged


def kept_weights(run: RunFolder, number: int, epoch: int) -> dict[str, Tensor] | None:
    """The weights of ``epoch``, a trial's best, from its newest whole state that has them; None
    where there is none."""
    for path in newest_first(run, number):
        try:
            with _opened(run, path) as folder:
                if read_facts(folder)["best_epoch"] == epoch:
                    return best_weights(folder)
        except DamagedCheckpoint as error:
            say(f"checkpoint {path} is damaged ({error}): its weights are not used")
    return None


def drop_states(run: RunFolder, number: int) -> None:
    """Remove all that was kept of a trial: its training is over."""
    run.delete_folder(_folder(number))


def drop_states_after(run: RunFolder, number: int, epoch: int) -> None:
    """Remove a trial's states of later epochs. A worker is at most one epoch ahead of the journal;
    where the journal lost lines, what they said must be trained again."""
    for path in newest_first(run, number):
        if Path(path).name > f"epoch_{epoch:05d}":
            run.fs.delete_dir(path)


def keep_states(run: RunFolder, numbers: Iterable[int], room: int = PAUSED_BYTES) -> None:
    """Of paused trials keep the newest state each, of the first ones until ``room`` bytes are full.

    A trial whose state went begins anew if it is promoted, and comes to the same results.
    """
    there = set(run.names(CHECKPOINTS))  # of many paused trials, few have a state
    for number in numbers:
        if trial_folder(number) not in there:
            continue
        newest, *older = newest_first(run, number) or [""]
        for path in older:
            run.fs.delete_dir(path)
        if not newest:
            continue
        files = run.fs.get_file_info(pafs.FileSelector(newest, recursive=True))
        room -= sum(file.size or 0 for file in files)
        if room < 0:
            drop_states(run, number)


def newest_first(run: RunFolder, number: int) -> list[str]:
    """Paths of a trial's checkpoints, the last epoch's first."""
    names = sorted(run.names(_folder(number)), reverse=True)
    return [run.file(f"{_folder(number)}/{name}") for name in names]


def _folder(number: int) -> str:
    return f"{CHECKPOINTS}/{trial_folder(number)}"


@contextmanager
def _opened(run: RunFolder, path: str) -> Iterator[Path]:
    """A checkpoint as a local folder."""
    if run.local:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as staged:
        pafs.copy_files(path, staged, source_filesystem=run.fs)
        yield Path(staged)
