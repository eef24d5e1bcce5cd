"""What the winner gets wrong on validation images: its confusion matrix and a few mistakes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """An image that the winner takes for another class.

    ``probability``: that it gives to the predicted class; ``image``: a PNG data URI.
    """

    true: str
    predicted: str
    probability: float
    image: str


@dataclass(frozen=True)
class Mistakes:
    """What the winner's kept weights get wrong on the validation images.

    Args:
        what: the run that the weights are of.
        confusion: images by true class (down) and predicted class (across).
        surest: the mistakes of which it is surest, the surest first.
        images: on which it was scored.
    """

    what: str
    classes: list[str]
    confusion: list[list[int]]
    surest: list[Mistake]
    images: int
