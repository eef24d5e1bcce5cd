"""What ``compress`` is asked to do, checked when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vgg6.common.checks import InputError, Range, check_choice
from vgg6.common.fields import check_fields, described, metadata
from vgg6.config import SPARSITY

PRUNE, INT8 = METHODS = ("prune", "int8")
DEFAULT_SPARSITY = 0.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network is made smaller: pruned, then quantised, or one of the two.

    ``sparsity=None`` becomes a half where the network is pruned. Batches of 256 images are timed
    ``rounds`` times, and single images ten times as often.

    Raises:
        InputError: a value is of the wrong type, out of range, or has no meaning here.
    """

    methods: Sequence[str] = field(metadata=metadata("how it is made smaller"))
    sparsity: float | None = described(
        None, "share of the FLOPs that pruning takes", SPARSITY, unset=str(DEFAULT_SPARSITY)
    )
    epochs: int = described(5, "epochs of training after pruning", Range(0, 1000))
    rounds: int = described(15, "how often each network is timed", Range(1, 10_000))

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError("method", list(self.methods), f"must be one of {', '.join(METHODS)}")
        for method in self.methods:
            check_choice("method", method, METHODS)
        if self.sparsity is None and self.prunes:
            object.__setattr__(self, "sparsity", DEFAULT_SPARSITY)
        elif self.sparsity is not None and not self.prunes:
            raise InputError("sparsity", self.sparsity, f"has no meaning without `method` {PRUNE}")
        check_fields(self)

    @property
    def prunes(self) -> bool:
        return PRUNE in self.methods

    @property
    def quantizes(self) -> bool:
        return INT8 in self.methods

    @property
    def name(self) -> str:
        """``prune-0.5-int8``: what a folder's name gets."""
        pruned = [f"{PRUNE}-{self.sparsity:g}"] if self.prunes else []
        return "-".join(pruned + [INT8] * self.quantizes)
