"""The study's grid in full: all 180 combinations of which the study ran a part.

A trial's length is the search's own (``epochs``), the same for all.
"""

from search_spaces.parameter import Parameter
from search_spaces.space import Space

PARAMETERS = (
    Parameter(name="activation", choices=("relu", "sigmoid", "tanh", "silu", "gelu")),
    Parameter(name="optimizer", choices=("sgd", "nesterov", "adam", "adagrad", "rmsprop", "nadam")),
    Parameter(name="batch_size", choices=(64, 128)),
    Parameter(name="lr", choices=(0.1, 0.01, 0.001)),
)

SPACE = Space(
    name="study_grid",
    description="All 180 combinations of the study's values.",
    parameters=PARAMETERS,
)
