"""Whether one search space holds all that another does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from search_spaces.parameter import Parameter
from search_spaces.space import Space
from vgg6.config import TrialConfig


def covers(old: Space, new: Space) -> bool:
    """Whether whatever ``new`` varies was varied by ``old``, at least as far."""
    return all(
        _covered(p, [q for q in old.parameters if q.name == p.name], new) for p in new.parameters
    )


def _covered(p: Parameter, olds: Sequence[Parameter], new: Space) -> bool:
    """Whether ``olds``, of one name and each under its condition, take all that ``p`` takes."""
    parents = sorted({name for q in olds for name in q.when})
    cases = product(*(p.when.get(name) or _values(name, new) for name in parents))
    return bool(olds) and all(
        any(
            all(value in q.when.get(n, (value,)) for n, value in zip(parents, case, strict=True))
            and _within(p, q)
            for q in olds
        )
        for case in cases
    )


def _values(name: str, space: Space) -> Sequence[Any]:
    """What a choice can be in ``space``: all of them where it varies, else the one that it has."""
    varied = [c for p in space.parameters if p.name == name for c in p.choices or ()]
    return varied or [space.fixed.get(name, getattr(TrialConfig(), name))]


def _within(p: Parameter, q: Parameter) -> bool:
    """Whether ``q`` takes all values that ``p`` takes."""
    if p.choices is not None:
        return all(q.contains(choice) for choice in p.choices)
    if q.choices is not None:
        return False
    assert p.low is not None and p.high is not None
    return q.contains(p.low) and q.contains(p.high) and q.step in (None, 1, p.step)
