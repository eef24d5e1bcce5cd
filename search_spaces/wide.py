"""The wide space: the default one, plus the network's own choices and regularisation."""

from search_spaces.default import HAND_TUNED, OPTIMIZATION, STUDY_BEST
from search_spaces.parameter import Parameter
from search_spaces.space import Space
from vgg6.config import ACTIVATIONS, INITS, NORMS

# What both of the default space's points hold in the fields that only this space varies.
STUDY_NETWORK = {"norm": "none", "label_smoothing": 0.0, "dropout": 0.5, "init": "torch"}

SPACE = Space(
    name="wide",
    description="The default space plus normalisation, regularisation, initialisation and all"
    " eight activations.",
    parameters=(
        Parameter(name="activation", choices=ACTIVATIONS),
        *OPTIMIZATION,
        Parameter(name="norm", choices=NORMS),
        Parameter(name="label_smoothing", low=0.0, high=0.2),
        Parameter(name="dropout", low=0.0, high=0.6),
        Parameter(name="init", choices=INITS),
    ),
    points=(STUDY_BEST | STUDY_NETWORK, HAND_TUNED | STUDY_NETWORK),
)
