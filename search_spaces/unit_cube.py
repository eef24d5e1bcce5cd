"""A space asked by a point of the unit cube, where an Optuna trial would have drawn its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search_spaces.space import Space


class UnitTrial:
    """Answers a space's questions from one point of the unit cube, one coordinate a parameter.

    Every condition's own range of a parameter reads the same coordinate, as a fraction of that
    range, so that the points stay spread evenly within each.
    """

    def __init__(self, coordinates: Mapping[str, Any]) -> None:
        self._coordinates = coordinates

    def _at(self, key: str) -> Any:
        return self._coordinates[key.partition("[")[0]]

    def suggest_categorical(self, key: str, choices: Sequence[Any]) -> Any:
        return choices[min(int(self._at(key) * len(choices)), len(choices) - 1)]

    def suggest_float(self, key: str, low: float, high: float, *, log: bool = False) -> float:
        u = self._at(key)
        value = low * (high / low) ** u if log else low + (high - low) * u
        return float(min(max(value, low), high))  # rounding may leave the range at its ends

    def suggest_int(
        self, key: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if log:
            return round(self.suggest_float(key, low, high, log=True))
        count = (high - low) // step + 1
        return low + step * min(int(self._at(key) * count), count - 1)


def suggest_at(space: Space, places: Iterable[Any]) -> dict[str, Any]:
    """The configuration of ``space`` at a point: 0 to 1 for each of its ``names``, in order."""
    return space.suggest(UnitTrial(dict(zip(space.names, places, strict=True))))
