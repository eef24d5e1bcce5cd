"""The default space: the study's activations and optimizers, each in its useful range.

The study tried every optimizer at 0.1, 0.01 and 0.001. Here each kind of optimizer has a range of
learning rates of its own: a step that suits SGD is far too long for RMSprop.
"""

from search_spaces.parameter import Parameter
from search_spaces.space import Space

WEIGHT_DECAY = Parameter(name="weight_decay", low=1e-6, high=3e-3, log=True)
# The wide space varies these as well.
OPTIMIZATION = (
    Parameter(
        name="optimizer",
        choices=("sgd", "nesterov", "adam", "adamw", "nadam", "adagrad", "rmsprop"),
    ),
    Parameter(name="lr", low=3e-3, high=0.2, log=True, when={"optimizer": ("sgd", "nesterov")}),
    Parameter(
        name="lr", low=1e-4, high=3e-3, log=True, when={"optimizer": ("adam", "adamw", "nadam")}
    ),
    Parameter(name="lr", low=3e-3, high=5e-2, log=True, when={"optimizer": ("adagrad",)}),
    Parameter(name="lr", low=3e-5, high=1e-3, log=True, when={"optimizer": ("rmsprop",)}),
    # rmsprop has a momentum too, but its effective step is lr / (1 - momentum): 0.9 is kept.
    Parameter(name="momentum", low=0.8, high=0.98, when={"optimizer": ("sgd", "nesterov")}),
    Parameter(name="batch_size", choices=(64, 128, 256)),
    WEIGHT_DECAY,
    Parameter(name="schedule", choices=("constant", "cosine", "onecycle")),
)

# The study had no weight decay; the least of this range is the nearest to it.
STUDY_BEST = {
    "activation": "gelu",
    "optimizer": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "batch_size": 128,
    "weight_decay": 1e-6,
    "schedule": "constant",
}
HAND_TUNED = {
    "activation": "silu",
    "optimizer": "nesterov",
    "lr": 0.06,
    "momentum": 0.9,
    "batch_size": 128,
    "weight_decay": 5e-4,
    "schedule": "onecycle",
}

SPACE = Space(
    name="default",
    description="The study's five activations; a range of learning rates for each optimizer.",
    parameters=(
        Parameter(name="activation", choices=("relu", "sigmoid", "tanh", "silu", "gelu")),
        *OPTIMIZATION,
    ),
    points=(STUDY_BEST, HAND_TUNED),
)
