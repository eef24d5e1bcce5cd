"""How the images of a data set are read, as a user may ask for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

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

    @classmethod
    def of(cls, asked: Any) -> Reading:
        """As settings or recorded facts ask for it, which have these fields too."""
        return cls(**{one.name: getattr(asked, one.name) for one in fields(cls)})

    def __post_init__(self) -> None:
        check_image_size("image_size", self.image_size)


AS_THE_STUDY = Reading()
