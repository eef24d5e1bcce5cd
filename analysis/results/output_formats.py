"""Where tables and conversions are written, and which there are.

Nothing heavy is imported here: a name that cannot be written is refused at once.
"""

from __future__ import annotations

from pathlib import Path

from vgg6.common.checks import InputError, check_choice
from vgg6.common.files import check_target
from vgg6.tuning.run.folder import RunFolder

TABLE_FORMATS = (".csv", ".parquet")
# name: (its file or folder below the run folder, the command that shows it)
CONVERSIONS = {
    "tensorboard": ("tensorboard", "tensorboard --logdir {}"),
    "optuna": ("optuna/journal.log", "optuna-dashboard {}"),
}


def check_table_file(out: Path) -> None:
    """Raise InputError unless a table can be written as ``out``."""
    if out.suffix not in TABLE_FORMATS:
        raise InputError("out", str(out), f"does not end with {' or '.join(TABLE_FORMATS)}")
    check_target("out", out)


def conversion_target(run: RunFolder, form: str, out: str | None) -> Path:
    """The file or folder that a conversion of ``run`` writes, below ``out`` if given.

    Raises:
        InputError: the form is not known, or the target cannot be written.
    """
    check_choice("to", form, CONVERSIONS)
    name, _ = CONVERSIONS[form]
    if out is None and not run.local:
        raise InputError("out", "", f"is needed: {run.uri} is no folder of this machine")
    target = Path(out) / Path(name).name if out else Path(run.path) / name
    check_target("out", target)
    return target
