"""A space as one without conditions: what peers share that have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces import Space
from search_spaces.unit_cube import UnitTrial


class FlatTrial(UnitTrial):
    """Answers a space's questions: a choice by its value, a range by a fraction of itself."""

    def suggest_categorical(self, key: str, choices: Sequence[Any]) -> Any:
        return self._at(key)


class FlatSpace:
    """A space as one without conditions, for tools that have none: every parameter always there.

    A range is the unit interval. It is read as a fraction of the active range of that name, on that
    range's own scale. So a learning rate is a place within its optimizer's range, and a model need
    not learn that each optimizer has another. A value that is not active is passed over. A name has
    the same choices wherever it has any.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.choices = {p.name: p.choices for p in space.parameters}

    def values_of(self, point: dict[str, Any]) -> dict[str, Any]:
        """A point of a finite space as it would have been suggested."""
        return {name: point[name] for name in self.choices}

    def suggest(self, values: dict[str, Any]) -> dict[str, Any]:
        return self.space.suggest(FlatTrial(values))
