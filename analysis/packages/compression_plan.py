"""What ``compress`` is asked to do, checked when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vgg6.common.checks import InputError, Range, check_choice, check_integer, check_number
from vgg6.config import SPARSITY

PRUNE, INT8 = METHODS = ("prune", "int8")
DEFAULT_SPARSITY = 0.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a network is made smaller: pruned, then quantised, or one of the two.

    ``sparsity``: the share of the FLOPs that pruning takes (None: a half); ``epochs``: of the
    training after it; ``rounds``: how often batches of 256 are timed, and single images ten times
    as often.

    Raises:
        InputError: a value is of the wrong type, out of range, or has no meaning here.
    """

    methods: Sequence[str]
    sparsity: float | None = None
    epochs: int = 5
    rounds: int = 15

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError("method", list(self.methods), f"must be one of {', '.join(METHODS)}")
        for method in self.methods:
            check_choice("method", method, METHODS)
        if self.sparsity is None and self.prunes:
            object.__setattr__(self, "sparsity", DEFAULT_SPARSITY)
        elif self.sparsity is not None and not self.prunes:
            raise InputError(
                "sparsity", self.sparsity, f"has no meaning unless `method` holds {PRUNE}"
            )
        if self.sparsity is not None:
            check_number("sparsity", self.sparsity, SPARSITY)
        check_integer("epochs", self.epochs, Range(0, 1000))
        check_integer("rounds", self.rounds, Range(1, 10_000))

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
