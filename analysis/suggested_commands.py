"""The commands that a person is told to run: each runs as it stands, from the current folder.

They name this Python, this project's program and a search as they are reached from here. This is
the one place of the library that knows how the command line is spelled.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, Metric
from vgg6.run_record import DataFacts, RuntimeFacts
from vgg6.task import STUDY
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
RECORDED = ("python", "tune_vgg6.py")  # how a command begins that any machine can repeat


def command(*words: str | Path) -> str:
    """A command line of this program, quoted for a shell."""
    return shlex.join([_python(), from_here(PROJECT / "tune_vgg6.py"), *map(str, words)])


def verify_command(package: str | Path, *flags: str) -> str:
    """The command that checks a package."""
    return command("verify", _word(package), *flags)


def train_command(
    config: TrialConfig,
    data: DataFacts,
    runtime: RuntimeFacts,
    stop_after: int | None,
    out: str | Path | None = None,
    metric: Metric = ACCURACY,
) -> str:
    """The command that runs ``config`` again. It spells out every value: a default may change.

    ``metric``: what its best epoch is chosen by.
    """
    flags = {f"--{k.replace('_', '-')}": v for k, v in config.to_dict().items() if v is not None}
    flags |= {"--data": data.argument, "--split-seed": data.split_seed}
    if not metric.is_accuracy:
        flags["--metric"] = metric.name
    if data.image_size != STUDY.side:
        flags["--image-size"] = data.image_size
    if data.label_column is not None:
        flags["--label-column"] = data.label_column
    if data.limit_train is not None:
        flags["--limit-train"] = data.limit_train
    flags |= {f"--{k}": v for k, v in runtime.to_dict().items()}
    if stop_after is not None:
        flags["--stop-after"] = stop_after
    # str() of a float is its shortest form that reads back as the same float.
    words = [word for flag, value in flags.items() for word in (flag, str(value))]
    words += ["--skip-damaged"] if data.skip_damaged else []
    return command("train", *words, *_out(out))


def portable(line: str) -> str:
    """A command of this program as it runs in any checkout of it, on whatever machine."""
    return shlex.join([*RECORDED, *shlex.split(line)[len(RECORDED) :]])


def again(recorded: str, *more: str) -> str:
    """A recorded command, for this machine and folder. A search gets a name of its own.

    Args:
        more: flags that come last, and so before the same ones that were typed.
    """
    try:
        words = shlex.split(recorded)
    except ValueError:  # somebody has edited it: it is shown as it is
        return recorded
    words = words[len(RECORDED) :] if tuple(words[: len(RECORDED)]) == RECORDED else words
    if words[:1] != ["search"]:
        return command(*words, *more)
    named = {i for i, word in enumerate(words) if word == "--name"}
    kept = [
        word
        for i, word in enumerate(words)
        if not (i in named or i - 1 in named or word.startswith("--name="))
    ]
    return command(*kept, *more)


def unused(name: str) -> str:
    """A folder of that name for what a command will write, with a number where it is taken."""
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))
    return f"{next((n for n in names if not Path(n).exists()), name)}/"


def pip_command(what: Path | str) -> str:
    """The command that installs a package, or what a file of requirements lists."""
    words = ["-r", from_here(what)] if isinstance(what, Path) else [what]
    return shlex.join([_python(), "-m", "pip", "install", *words])


class SearchCommands:
    """The commands that go on from a search, which they name as the user did."""

    def __init__(self, run: RunFolder) -> None:
        self.run = [_word(run.given)]
        if run.storage not in (None, Settings.storage):
            self.run += _flag("--storage", str(run.storage))

    def resume(self, *flags: str) -> str:
        return command("resume", *self.run, *flags)

    def best(self, *flags: str) -> str:
        return command("best", *self.run, *flags)

    def export(self, out: str | Path, trial: int | None = None) -> str:
        """Pack the winner, or the trial of that number."""
        chosen = [] if trial is None else ["--trial", str(trial)]
        return command("export", *self.run, *chosen, *_out(out))

    def report(self, *flags: str) -> str:
        return command("report", *self.run, *flags)


def _python() -> str:
    """This Python: ``python`` where a shell finds it under that name, else its path.

    A virtual environment's is a link to another one's, so the file alone does not tell them apart.
    """
    here, found = Path(sys.executable), Path(shutil.which("python") or os.devnull)
    if found.samefile(here) and found.parent.samefile(here.parent):
        return "python"
    return from_here(here)


def from_here(path: Path) -> str:
    """A path as it is shortest to write in the current folder."""
    return min(os.path.relpath(path), str(path), key=len)


def _word(value: str | Path) -> str:
    """A value that cannot be taken for a flag."""
    return f"./{value}" if str(value).startswith("-") else str(value)


def _flag(name: str, value: str) -> list[str]:
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _out(out: str | Path | None) -> list[str]:
    return [] if out is None else _flag("--out", str(out))
