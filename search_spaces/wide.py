"""The wide space: the default one, plus the network's own choices and regularisation."""

from dataclasses import replace

from search_spaces.default import HAND_TUNED, OPTIMIZATION, STUDY_BEST, WEIGHT_DECAY
from search_spaces.parameter import Parameter
from search_spaces.space import Space
from vgg6.config import ACTIVATIONS, FLIPS, INITS, NORMS

COUPLED = ("sgd", "nesterov", "adam", "nadam", "adagrad", "rmsprop")
# What both of the default space's points hold in the fields that only this space varies.
STUDY_NETWORK = {"norm": "none", "label_smoothing": 0.0, "dropout": 0.5, "init": "torch",
                 "cutout": 0, "flip": "random", "sam": 0.0}  # fmt: skip
# The best without normalisation so far: 0.882 of the test images, confirmed over three fresh seeds
# (benchmarks/LOG.md, "Live").
FOUND = {
    "activation": "silu",
    "optimizer": "adamw",
    "lr": 8e-4,
    "batch_size": 64,
    "weight_decay": 0.36,
    "schedule": "cosine",
    "norm": "none",
    "label_smoothing": 0.12,
    "dropout": 0.4,
    "init": "kaiming",
    "cutout": 0,
    "flip": "alternating",
    "sam": 0.05,
}

SPACE = Space(
    name="wide",
    description="The default space plus normalisation, regularisation, initialisation and all"
    " eight activations.",
    parameters=(
        Parameter(name="activation", choices=ACTIVATIONS),
        *(p for p in OPTIMIZATION if p is not WEIGHT_DECAY),
        replace(WEIGHT_DECAY, when={"optimizer": COUPLED}),
        # Decoupled (Loshchilov and Hutter, 2019), it acts through the learning rate: the
        # best that was measured has a hundred times as much (benchmarks/LOG.md, "Live").
        replace(WEIGHT_DECAY, when={"optimizer": ("adamw",)}, high=0.5),
        Parameter(name="norm", choices=NORMS),
        Parameter(name="label_smoothing", low=0.0, high=0.2),
        Parameter(name="dropout", low=0.0, high=0.6),
        Parameter(name="init", choices=INITS),
        Parameter(name="cutout", low=0, high=16, step=4),
        Parameter(name="flip", choices=FLIPS),
        Parameter(name="sam", choices=(0.0, 0.05, 0.1)),
    ),
    points=(STUDY_BEST | STUDY_NETWORK, HAND_TUNED | STUDY_NETWORK, FOUND),
)
