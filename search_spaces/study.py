"""The study's own 35 runs, in its order and each with its own length, to repeat them.

``study.csv`` holds what was run and, where it was recorded, what came of it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.space import Space
from search_spaces.study_grid import PARAMETERS
from vgg6.config import FIELD_NAMES, TrialConfig

TABLE = Path(__file__).with_name("study.csv")


@dataclass(frozen=True)
class StudyRun:
    """One row of the study's table. ``varied``: the fields it names; ``figures``: what the study
    recorded of it, by metric (accuracies in 0 to 1, losses in nats); for most runs nothing."""

    config: TrialConfig
    varied: dict[str, Any]
    figures: dict[str, float]


def _read_runs() -> tuple[StudyRun, ...]:
    runs = []
    with TABLE.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            given = {name: text for name, text in row.items() if name in FIELD_NAMES}
            config = TrialConfig.from_strings(given)
            others = {name: text for name, text in row.items() if name not in given and text}
            figures = {name: float(text) for name, text in others.items()}
            runs.append(StudyRun(config, {name: getattr(config, name) for name in given}, figures))
    return tuple(runs)


RUNS = _read_runs()
BASELINE = RUNS[0].config  # the plain network, which the study's other runs are variations of

SPACE = Space(
    name="study",
    description="The study's 35 runs, each with its own number of epochs.",
    parameters=PARAMETERS,
    points=tuple(run.varied for run in RUNS),
    points_only=True,
)
