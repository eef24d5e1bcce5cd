"""The study's 35 runs, and its seven 'sigmoide' runs as the ReLU that they were, in pieces.

    python -m benchmarks.study --minutes 60                         # goes on where it was left
    python -m benchmarks.study --limit-train 10000                  # all of it on a part
    python -m benchmarks.study --limit-train 10000 --full 8         # then the best 8 on all images
    python -m benchmarks.study --minutes 0                          # the table only

970 epochs of CIFAR-10's 45,000 training images: about 27 hours at the 470 images a second that two
CPU threads train. After ``--minutes`` the search is interrupted; the next call goes on from the
last epoch of each run. ``--limit-train`` is a fixed stratified part, the same in every call.
The newest table in ``results/study`` grows with every run that ends, whole or diverged. It has one
row a run: the images that it was trained on, and the study's own figure where there is one.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from analysis.results.search_tables import trials_table
from benchmarks.machine import SCRIPT, describe, growing_result, write_file
from search_spaces import load_space
from search_spaces.study import RUNS
from search_spaces.study_sigmoide import MEANT, SIGMOIDE_RUNS
from vgg6.common.files import write_atomic
from vgg6.config import FIELD_NAMES, TrialConfig
from vgg6.tuning.run.folder import SEARCH, RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import FAILED, RUNNING, STOPPED
from vgg6.tuning.session.session_outcome import COMPLETE

LOOK_EVERY_S = 10.0
CONFIG = ("activation", "optimizer", "lr", "batch_size", "epochs", "seed")
COLUMNS = (
    "search", "space", "label", *CONFIG, "data", "train_images", "val_images", "state",
    "best_val_acc", "best_epoch", "final_val_acc", "final_val_loss", "final_train_acc",
    "final_train_loss", "train_seconds", "study_best_val_acc", "study_val_acc", "study_val_loss",
    "study_train_acc", "study_train_loss",
)  # fmt: skip
KEY = ("search", *CONFIG, "train_images")
# What the study recorded, by what it trained: the table's 'sigmoid' was never trained there, so
# its figures stand beside the ReLU that was.
FIGURES = {
    run.config.fingerprint: run.figures
    for run in (*SIGMOIDE_RUNS, *(r for r in RUNS if r.config.activation != MEANT))
}


@dataclass(frozen=True)
class Piece:
    """One search of the study. ``flags``: what it is started with, its name and folder aside."""

    run: RunFolder
    flags: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """How its last session ended; empty where none has."""
        sessions = read_history(self.run).sessions
        return sessions[-1].outcome if sessions else ""


def pieces(arguments: argparse.Namespace) -> Iterator[Piece]:
    """The searches in their order; lazily, for the best are known when those before are done."""
    given = ("--data", arguments.data, "--epochs", str(arguments.epochs))
    grid = ("--searcher", "grid", "--scheduler", "none", *given)
    limit = arguments.limit_train
    part = () if limit is None else ("--limit-train", str(limit))
    parts = []
    for space in ("study", "study_sigmoide"):
        run = _run(arguments, space if limit is None else f"{space}-{limit}")
        parts.append(Piece(run, ("--space", space, *grid, *part)))
        yield parts[-1]
    if arguments.full and all(piece.outcome == COMPLETE for piece in parts):
        run = _run(arguments, f"study_best{arguments.full}")
        file = Path(f"{run.path}.yaml")
        if not file.exists():  # what was chosen once stays chosen
            write_best(file, [piece.run for piece in parts], arguments.full)
        points = ("--space", str(file), "--searcher", "random", "--scheduler", "none")
        yield Piece(run, (*points, "--trials", str(arguments.full), *given))


def _run(arguments: argparse.Namespace, name: str) -> RunFolder:
    return RunFolder(str(Path(arguments.storage) / name))


def write_best(file: Path, runs: Sequence[RunFolder], count: int) -> None:
    """A space whose points are the ``count`` best configurations of ``runs`` on validation."""
    ranked = sorted(
        (trial for run in runs for trial in read_history(run).ranking()),
        key=lambda trial: -(trial.best_val_acc or 0.0),
    )
    chosen = {trial.config.fingerprint: trial.config for trial in ranked}
    points = [
        {name: getattr(config, name) for name in CONFIG} for config in list(chosen.values())[:count]
    ]
    names = {p.name: list(p.choices or ()) for p in load_space("study").parameters}
    space = {
        "description": f"The study's best {count} of those on a part of the images.",
        "parameters": {name: {"choices": choices} for name, choices in names.items()},
        "points": points,
    }
    write_atomic(file, yaml.safe_dump(space, sort_keys=False).encode())


def advance(piece: Piece, until: float, table: Path) -> None:
    """Start or resume a search, and interrupt it at ``until`` (by the monotonic clock).

    Meanwhile the file ``table`` is kept up to date.
    """
    storage, name = str(Path(piece.run.path).parent), piece.run.name
    command = ["search", *piece.flags, "--name", name]
    if piece.run.exists(SEARCH):
        command = ["resume", name]
    command += ["--storage", storage, "--address", "local", "--wandb", "disabled"]
    driver = subprocess.Popen([sys.executable, SCRIPT, *command])
    try:
        while driver.poll() is None and time.monotonic() < until:
            time.sleep(max(0.1, min(LOOK_EVERY_S, until - time.monotonic())))
            write_table(storage, table)
    finally:  # an interrupt of this script is the search's too
        driver.send_signal(signal.SIGINT)
        driver.wait()
    if driver.returncode not in (0, 130):
        sys.exit(f"{name} ended with exit status {driver.returncode}")


def write_table(storage: str, file: Path) -> None:
    """Bring the table up to date with all runs of the study below ``storage`` that have ended. Rows
    of runs that are not there any more stay."""
    rows = [row for found in sorted(Path(storage).glob(f"study*/{SEARCH}"))
            for row in _rows(RunFolder(str(found.parent)))]  # fmt: skip
    if not rows:
        return
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    if file.exists():
        table = pd.concat([pd.read_csv(file), table]).drop_duplicates([*KEY], keep="last")
    write_file(file, table.to_csv(index=False).encode())


def _rows(run: RunFolder) -> Iterator[dict[str, Any]]:
    search = read_search(run)
    data, trials = search.facts.data, trials_table(search)
    about: dict[str, Any] = {"search": search.name, "space": search.space.name}
    about |= {"train_images": data.train_images, "val_images": data.val_images}
    ended = trials[~trials.state.isin((RUNNING, STOPPED, FAILED))]
    for row in [{str(k): v for k, v in r.items()} for r in ended.to_dict("records")]:
        config = TrialConfig.from_mapping({k: _plain(row[k]) for k in FIELD_NAMES})
        figures = FIGURES.get(config.fingerprint, {})
        yield about | row | {f"study_{name}": value for name, value in figures.items()}


def _plain(value: Any) -> Any:
    return None if value is None or value != value else value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="then it is interrupted (60)")
    parser.add_argument("--limit-train", type=int, help="train on so many images only")
    parser.add_argument("--full", type=int, default=0, help="then the best so many on all images")
    parser.add_argument("--epochs", type=int, default=30, help="no run is longer (30: all whole)")
    parser.add_argument("--data", default="cifar10", help="as of search")
    parser.add_argument("--storage", default="runs", help="folder that keeps the searches (runs)")
    arguments = parser.parse_args()
    if arguments.full < 0 or (arguments.full and arguments.limit_train is None):
        parser.error("--full: how many; it follows on a part, see --limit-train")
    gpu = {"device": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    facts = describe(minutes=arguments.minutes, limit_train=arguments.limit_train, **gpu)
    table = growing_result("study", facts, ending="csv")
    until = time.monotonic() + 60 * arguments.minutes
    seen = []
    for piece in pieces(arguments):
        seen.append(piece)
        if piece.outcome != COMPLETE and time.monotonic() < until:
            advance(piece, until, table)
    write_table(arguments.storage, table)
    done = all(piece.outcome == COMPLETE for piece in seen)
    state = "done" if done else "not done yet, the same command goes on"
    print(f"{_counts([piece.run for piece in seen])}: {state}", flush=True)


def _counts(runs: Sequence[RunFolder]) -> str:
    histories = [(run.name, read_history(run)) for run in runs]
    return ", ".join(
        f"{name} {sum(t.ended is not None for t in history.trials.values())} runs,"
        f" {len(history.arrivals)} epochs, {_seconds(history):.0f} s"
        for name, history in histories
    )


def _seconds(history: History) -> float:
    """From the creation of the first trial to the end of the last one, pauses included."""
    trials = history.trials.values()
    began = min((t.created for t in trials), default=0.0)
    return max((t.ended for t in trials if t.ended is not None), default=began) - began


if __name__ == "__main__":
    main()
