"""How the images of a data set are read, as a user may ask for it."""

from __future__ import annotations

from dataclasses import dataclass

from vgg6.run_record import check_image_size
from vgg6.task import STUDY


@dataclass(frozen=True, kw_only=True)
class Reading:
    """``image_size``: pixels of an edge that all images are resized to; ``label_column``: of
    parquet files; ``skip_damaged``: leave out what cannot be decoded.

    Raises:
        InputError: no network can be made for images of that size.
    """

    image_size: int = STUDY.side
    label_column: str | None = None
    skip_damaged: bool = False

    def __post_init__(self) -> None:
        check_image_size("image_size", self.image_size)


AS_THE_STUDY = Reading()
