"""What the study's seven runs of 'sigmoide' were: its program did not know that name, and trained
ReLU without a word. ``study`` trains them as the table says, this space as they were.
"""

from dataclasses import replace

from search_spaces.space import Space
from search_spaces.study import RUNS, StudyRun
from search_spaces.study_grid import PARAMETERS

MEANT, TRAINED = "sigmoid", "relu"


def _as_trained(run: StudyRun) -> StudyRun:
    config = replace(run.config, activation=TRAINED)
    return StudyRun(config, {**run.varied, "activation": TRAINED}, run.figures)


SIGMOIDE_RUNS = tuple(_as_trained(run) for run in RUNS if run.config.activation == MEANT)

SPACE = Space(
    name="study_sigmoide",
    description="The study's seven 'sigmoide' runs as what they were, ReLU.",
    parameters=PARAMETERS,
    points=tuple(run.varied for run in SIGMOIDE_RUNS),
    points_only=True,
)
