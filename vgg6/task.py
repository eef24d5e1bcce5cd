"""What a network is made for: how many classes it tells apart, and how large its images are.

Nothing heavy is imported here, as in ``vgg6.run_record``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """``classes`` of square RGB images of ``side`` pixels an edge, a multiple of eight."""

    classes: int = 10
    side: int = 32

    @property
    def cells(self) -> int:
        """Pixels of what is left of an image after three poolings."""
        return (self.side // 8) ** 2


STUDY = Task()  # CIFAR-10


def border(side: int) -> int:
    """How far a crop moves, in pixels, for images of this edge: 4 for the study's 32."""
    return side // 8
