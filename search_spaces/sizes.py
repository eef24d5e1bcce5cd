"""The default space with networks of every width: for the best one that fits, and for the front of
accuracy against size.
"""

from search_spaces.default import HAND_TUNED, STUDY_BEST
from search_spaces.default import SPACE as DEFAULT
from search_spaces.parameter import Parameter
from search_spaces.space import Space
from vgg6.config import WIDTH

SPACE = Space(
    name="sizes",
    description="The default space plus the width of the network.",
    parameters=(
        # Size grows with its square: even in the logarithm, each size is as likely as its double.
        Parameter(name="width", low=WIDTH.low, high=WIDTH.high, log=True),
        *DEFAULT.parameters,
    ),
    points=(STUDY_BEST | {"width": 1.0}, HAND_TUNED | {"width": 1.0}),
)
