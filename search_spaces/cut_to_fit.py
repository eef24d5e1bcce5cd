"""The part of a space whose networks fit: nothing outside it can be suggested, by any searcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

from search_spaces.parameter import Parameter
from search_spaces.space import Space
from vgg6.config import TrialConfig

SHAPING = ("activation", "norm")  # what a network takes depends on these, and on its width
WIDTH = "width"
# Widths that are tried as the end of a range: at each of them a block of hidden units is added.
STEPS = 64
Fits = Callable[[TrialConfig], bool]
Cell = tuple[Any, ...]  # a value of each of the shaping parameters that vary


class NothingFits(ValueError):
    """No configuration of a space fits."""


def cut(space: Space, fits: Fits) -> Space:
    """A space of exactly those configurations of ``space`` whose network fits.

    Where the widths that fit depend on the activation or the normalisation, each has a range of its
    own. A choice that fits at no width is left out. A first point that is too wide gets the widest
    network that fits; where none does, it is left out.

    Args:
        fits: asked about the activation, the normalisation and the width alone. A network that
            fits must fit when it is made narrower.

    Raises:
        NothingFits: there is no such configuration.
    """
    if space.points_only:
        points = tuple(p for p in space.points if fits(_shape({**space.fixed, **p})))
        if not points:
            raise NothingFits
        return replace(space, points=points)
    names = [n for n in SHAPING if any(p.name == n and not p.when for p in space.parameters)]
    choices = [_choices(space, name) for name in names]
    widths = {cell: _widths(space, dict(zip(names, cell, strict=True)), fits)
              for cell in product(*choices)}  # fmt: skip
    kept = _box(choices, {cell for cell, found in widths.items() if found is not None})
    if not all(kept):
        raise NothingFits
    left = dict(zip(names, kept, strict=True))
    parameters = _with_choices(space.parameters, left)
    if any(p.name == WIDTH for p in parameters):
        inside = {cell: widths[cell] for cell in product(*kept)}
        parameters = _with_widths(parameters, names, inside)
    bare = replace(space, parameters=tuple(parameters), points=())
    moved = [_moved(bare, point) for point in space.points]
    return replace(bare, points=tuple(_distinct(p for p in moved if p is not None)))


def smallest(space: Space) -> list[TrialConfig]:
    """The narrowest network of a space with each activation and normalisation."""
    if space.points_only:
        return [_shape({**space.fixed, **point}) for point in space.points]
    names = [n for n in SHAPING if n in space.names]
    least = [v for p in space.parameters if p.name == WIDTH for v in (p.choices or (p.low,))]
    width = {WIDTH: min(v for v in least if v is not None)} if least else {}
    return [
        _shape({**space.fixed, **dict(zip(names, values, strict=True)), **width})
        for values in product(*(dict.fromkeys(_choices(space, name)) for name in names))
    ]


def _widths(space: Space, values: dict[str, Any], fits: Fits) -> list[Parameter] | None:
    """The width parameters of a cell, cut to what fits; None where something of it would not."""
    options = [{**space.fixed, **values, **other} for other in _others(space, values)]

    def fit(width: float | None) -> bool:
        extra = {} if width is None else {WIDTH: width}
        return all(fits(_shape({**option, **extra})) for option in options)

    entries = [p for p in space.parameters if p.name == WIDTH]
    # Where none is suggested, it is the fixed one, or the default.
    if not _always_suggested(entries, space) and not fit(None):
        return None
    narrowed = [_narrowed(p, fit) for p in entries]
    found = [p for p in narrowed if p is not None]
    return found if len(found) == len(entries) else None


def _always_suggested(entries: Sequence[Parameter], space: Space) -> bool:
    """Whether one of these entries is active whatever the others are."""
    parents = sorted({name for p in entries for name in p.when})
    if any(p.when for p in space.parameters if p.name in parents):
        return False
    cases = product(*(_choices(space, name) for name in parents))
    return all(
        any(p.active(dict(zip(parents, case, strict=True))) for p in entries) for case in cases
    )


def _others(space: Space, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whatever else a shaping parameter that has a condition may be: its default, or any choice."""
    names = [n for n in SHAPING if n not in values and any(p.name == n for p in space.parameters)]
    default = TrialConfig()
    options = [dict.fromkeys([getattr(default, name), *_choices(space, name)]) for name in names]
    return [dict(zip(names, one, strict=True)) for one in product(*options)]


def _choices(space: Space, name: str) -> list[Any]:
    return [c for p in space.parameters if p.name == name for c in p.choices or ()]


def _shape(values: Mapping[str, Any]) -> TrialConfig:
    return TrialConfig(**{n: values[n] for n in (*SHAPING, WIDTH) if n in values})


def _narrowed(p: Parameter, fit: Callable[[float], bool]) -> Parameter | None:
    """A width parameter without the values that are too wide; None where all are."""
    if p.choices is not None:
        kept = tuple(c for c in p.choices if fit(c))
        return replace(p, choices=kept) if kept else None
    assert p.low is not None and p.high is not None
    if not fit(p.low):  # asked first: to refuse a space at once, however long each answer takes
        return None
    if fit(p.high):
        return p
    ends = [p.low, *(k / STEPS for k in range(1, 2 * STEPS + 1) if p.low < k / STEPS < p.high)]
    fitting, beyond = 0, len(ends)
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        fitting, beyond = (middle, beyond) if fit(ends[middle]) else (fitting, middle)
    if fitting == 0:
        return replace(p, choices=(p.low,), low=None, high=None, log=False)
    return replace(p, high=ends[fitting])


def _box(choices: Sequence[list[Any]], fitting: set[Cell]) -> list[list[Any]]:
    """Choices of which every combination fits: one that fits only with some of the others is left
    out, unless that would leave nothing."""
    kept = [[c for c in own if any(cell[i] == c for cell in fitting)]
            for i, own in enumerate(choices)]  # fmt: skip
    best: list[list[Any]] = [[] for _ in choices]
    for i in range(len(choices)):
        narrowed = list(kept)
        narrowed[i] = [
            c for c in kept[i]
            if all(cell in fitting for cell in product(*kept[:i], [c], *kept[i + 1 :]))
        ]  # fmt: skip
        if _size(narrowed) > _size(best):
            best = narrowed
    if choices and not _size(best) and fitting:
        return [[value] for value in min(fitting, key=str)]
    return best if choices else ([] if fitting else [[]])


def _size(choices: Sequence[Sequence[Any]]) -> int:
    total = 1
    for own in choices:
        total *= len(own)
    return total


def _with_choices(
    parameters: Sequence[Parameter], left: Mapping[str, Sequence[Any]]
) -> list[Parameter]:
    """The parameters with only these choices; an entry whose condition none of them meets goes."""
    found = []
    for p in parameters:
        when = {n: tuple(v for v in allowed if v in left.get(n, allowed))
                for n, allowed in p.when.items()}  # fmt: skip
        if not all(when.values()):
            continue
        if p.name in left and not p.when:
            found.append(replace(p, choices=tuple(left[p.name])))
        else:
            found.append(replace(p, when=when))
    return found


def _with_widths(
    parameters: Sequence[Parameter], names: Sequence[str], widths: Mapping[Cell, Any]
) -> list[Parameter]:
    """The parameters with the widths that fit, by cell: under a condition where they differ."""
    by = next(
        chosen
        for count in range(len(names) + 1)
        for chosen in combinations(names, count)
        if _depends_on(chosen, names, widths)
    )
    entries = [p for p in parameters if p.name == WIDTH]
    own: list[Parameter] = []
    for place, entry in enumerate(entries):
        groups: dict[Any, list[Cell]] = {}
        for cell, found in widths.items():
            seen = tuple(cell[names.index(n)] for n in by)
            p = found[place]
            cells = groups.setdefault((p.choices, p.low, p.high), [])
            if seen not in cells:
                cells.append(seen)
        own += _conditioned(entry, by, groups)
    if not by:
        turn = iter(own)
        return [next(turn) if p.name == WIDTH else p for p in parameters]
    # A condition names what stands before it: the widths go behind, and what depends on them.
    later = {WIDTH}
    before, after = [], []
    for p in parameters:
        if p.name == WIDTH:
            continue
        if later & p.when.keys():
            later.add(p.name)
            after.append(p)
        else:
            before.append(p)
    return [*before, *own, *after]


def _conditioned(
    entry: Parameter, by: Sequence[str], groups: Mapping[Any, list[Cell]]
) -> list[Parameter]:
    """An entry for each group of cells with the same widths: under what ``by`` is in them."""
    found = []
    for (choices, low, high), cells in groups.items():
        bare = replace(entry, choices=choices, low=low, high=high, log=entry.log and not choices)
        # Cells of one name are one condition; those of two need not be all its combinations.
        blocks = [cells] if len(by) == 1 else [[cell] for cell in cells]
        for block in blocks:
            when = dict(bare.when)
            for place, name in enumerate(by):
                values = tuple(cell[place] for cell in block)
                when[name] = tuple(v for v in values if v in when.get(name, values))
            if all(when.values()):
                found.append(replace(bare, when=when))
    return found


def _depends_on(chosen: Sequence[str], names: Sequence[str], widths: Mapping[Cell, Any]) -> bool:
    """Whether the widths of a cell are known from these of its values."""
    known: dict[Cell, Any] = {}
    places = [names.index(n) for n in chosen]
    return all(
        known.setdefault(tuple(cell[i] for i in places), found) == found
        for cell, found in widths.items()
    )


def _moved(space: Space, point: dict[str, Any]) -> dict[str, Any] | None:
    """A first point of the space as it was before it was cut, in what is left of it."""
    values = {**space.fixed, **point}
    for p in space.parameters:
        known = p.name in SHAPING and p.name in point and p.active(values)
        if known and not p.contains(point[p.name]):
            return None
    if WIDTH not in point:
        return point
    active = next((p for p in space.parameters if p.name == WIDTH and p.active(values)), None)
    if active is None:  # the point leaves open what its width depends on
        return {name: value for name, value in point.items() if name != WIDTH}
    if active.contains(point[WIDTH]):
        return point
    ends = active.choices or (active.high,)
    return {**point, WIDTH: max(v for v in ends if v is not None and v <= point[WIDTH])}


def _distinct(points: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for point in points:
        if point not in found:
            found.append(point)
    return found
