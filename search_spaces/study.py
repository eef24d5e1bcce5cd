"""The study's own 35 runs, in its order and each with its own length, to repeat them.

``study.csv`` holds what was run and, where it was recorded, what came of it.
"""

import csv
from pathlib import Path
from typing import Any

from search_spaces.space import Space
from search_spaces.study_grid import PARAMETERS
from vgg6.config import FIELD_NAMES, TrialConfig

TABLE = Path(__file__).with_name("study.csv")


def _read_runs() -> tuple[dict[str, Any], ...]:
    """The hyperparameters of each row; the results beside them are for comparison only."""
    runs = []
    with TABLE.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            given = {name: text for name, text in row.items() if name in FIELD_NAMES}
            config = TrialConfig.from_strings(given)
            runs.append({name: getattr(config, name) for name in given})
    return tuple(runs)


SPACE = Space(
    name="study",
    description="The study's 35 runs, each with its own number of epochs.",
    parameters=PARAMETERS,
    points=_read_runs(),
    points_only=True,
)
