"""A search space: its parameters together, what is tried first, and the grid of it all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import Field

from search_spaces.parameter import Parameter, check_name, check_value
from vgg6.common.checks import InputError, check_key
from vgg6.common.schema import ClosedRecord, Flag, located, read_record
from vgg6.config import FIELD_NAMES, MOMENTUM_OPTIMIZERS, TrialConfig

# Far beyond what any search can run; a larger number is a slip in the choices.
GRID_LIMIT = 100_000


class _ParameterForm(ClosedRecord):
    """A parameter as ``to_dict`` writes it. ``Parameter`` checks the values."""

    name: Any
    choices: Any = None
    low: Any = None
    high: Any = None
    log: Any = False
    step: Any = None
    when: dict[str, Any] = Field(default_factory=dict)
    key: Any = ""


class _SpaceForm(ClosedRecord):
    """A space as ``to_dict`` writes it. ``Space`` checks the values."""

    name: Any
    description: Any = ""
    parameters: list[_ParameterForm]
    fixed: dict[str, Any] = Field(default_factory=dict)
    points: list[dict[str, Any]] = Field(default_factory=list)
    points_only: Flag = False


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search may try. Checked when made: whatever it yields is a valid TrialConfig.

    Args:
        name: what reports call it.
        parameters: what varies; a condition may refer to earlier ones only.
        fixed: fields that hold one value in every trial; all others take TrialConfig's default.
        points: configurations to evaluate first; these may set ``epochs`` and ``seed``.
        description: one sentence for the reader.
        points_only: the grid of this space is its points, not every combination.

    Raises:
        InputError: a rule is broken; the key is like ``space 'mine': parameters.lr.when``.
    """

    name: str
    parameters: tuple[Parameter, ...]
    fixed: dict[str, Any] = field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()
    description: str = ""
    points_only: bool = False

    def __post_init__(self) -> None:
        with located(f"space {self.name!r}: "):
            for key in ("name", "description"):
                if not isinstance(getattr(self, key), str):
                    raise InputError(key, getattr(self, key), "is not text")
            if not self.name.strip():
                raise InputError("name", self.name, "is empty")
            if not self.parameters:
                raise InputError("parameters", {}, "holds nothing to search")
            # The checks build on one another: conditions before overlaps, all before the points.
            object.__setattr__(self, "parameters", self._keyed())
            object.__setattr__(self, "fixed", self._checked_fixed())
            self._check_conditions()
            self._check_overlaps()
            self._check_momentum()
            points = tuple(self._checked_point(i, point) for i, point in enumerate(self.points))
            object.__setattr__(self, "points", points)
            if self.points_only and not points:
                raise InputError("points", [], "is empty, and this space is its points only")

    def _keyed(self) -> tuple[Parameter, ...]:
        """Name each entry for Optuna, which wants one distribution a name."""
        counts = Counter(p.name for p in self.parameters)
        return tuple(
            replace(p, key=p.name if counts[p.name] == 1 else f"{p.name}[{_short(p.when)}]")
            for p in self.parameters
        )

    def _labelled(self) -> list[tuple[str, Parameter]]:
        """Each entry with its place as a file spells it: ``parameters.lr[1]``."""
        counts = Counter(p.name for p in self.parameters)
        seen: Counter[str] = Counter()
        labelled = []
        for p in self.parameters:
            index = f"[{seen[p.name]}]" if counts[p.name] > 1 else ""
            labelled.append((f"parameters.{p.name}{index}", p))
            seen[p.name] += 1
        return labelled

    def _checked_fixed(self) -> dict[str, Any]:
        checked = {}
        for name, value in self.fixed.items():
            check_name("fixed", name)
            checked[name] = check_value(f"fixed.{name}", name, value)
            if any(p.name == name for p in self.parameters):
                raise InputError(f"fixed.{name}", value, "is fixed, yet parameters varies it")
        return checked

    def _check_conditions(self) -> None:
        reach: dict[str, dict[Any, None]] = {}
        for label, p in self._labelled():
            for parent, allowed in p.when.items():
                # A later parent has no value yet when Optuna asks, so nothing could hold.
                if parent not in reach:
                    rule = f"is not varied before {p.name} (before it: {', '.join(reach) or '-'})"
                    raise InputError(f"{label}.when", parent, rule)
                for value in allowed:
                    if value not in reach[parent]:
                        known = ", ".join(map(str, reach[parent])) or "none, it is a range"
                        rule = f"is no value that {parent} takes here ({known})"
                        raise InputError(f"{label}.when.{parent}", value, rule)
            reach.setdefault(p.name, {}).update(dict.fromkeys(p.choices or ()))

    def _check_overlaps(self) -> None:
        labelled = self._labelled()
        for i, (label, p) in enumerate(labelled):
            for other_label, other in labelled[:i]:
                # Two conditions exclude each other only through a parent that both name.
                shared = p.when.keys() & other.when.keys()
                apart = any(set(p.when[n]).isdisjoint(other.when[n]) for n in shared)
                if p.name == other.name and not apart:
                    rule = f"can hold together with that of {other_label}: make them exclusive"
                    raise InputError(f"{label}.when", dict(p.when), rule)

    def _check_momentum(self) -> None:
        """The one rule of TrialConfig that ties two fields, so the only one left to check."""
        default = self.fixed.get("optimizer", TrialConfig().optimizer)
        varied = [c for p in self.parameters if p.name == "optimizer" for c in p.choices or ()]
        optimizers = varied or [default]
        sources = [(label, p.when) for label, p in self._labelled() if p.name == "momentum"]
        if "momentum" in self.fixed:
            sources.append(("fixed.momentum", {}))
        for label, when in sources:
            for optimizer in when.get("optimizer", optimizers):
                if optimizer not in MOMENTUM_OPTIMIZERS:
                    known = ", ".join(MOMENTUM_OPTIMIZERS)
                    rule = f"has no momentum: restrict it to {known} by `when: {{optimizer: ...}}`"
                    raise InputError(label, optimizer, rule)

    def _checked_point(self, index: int, point: Mapping[str, Any]) -> dict[str, Any]:
        where = f"points[{index}]"
        for name in point:
            check_key(where, name, FIELD_NAMES)
        with located(f"{where}."):
            # Through TrialConfig first: it words the errors of a single field best.
            config = TrialConfig.from_mapping({**self.fixed, **point})
        checked = {name: getattr(config, name) for name in point}
        for name, value in checked.items():
            self._check_in_space(f"{where}.{name}", name, value, checked)
        return checked

    def _check_in_space(self, where: str, name: str, value: Any, point: dict[str, Any]) -> None:
        if name in ("epochs", "seed") or (name in self.fixed and self.fixed[name] == value):
            return
        if name in self.fixed:
            raise InputError(where, value, f"differs from fixed.{name} = {self.fixed[name]!r}")
        entries = [p for p in self.parameters if p.name == name]
        if not entries:
            raise InputError(where, value, f"is not varied by this space: it has no {name}")
        active = next((p for p in entries if p.active(point)), None)
        if active is None:
            conditions = ", or ".join(p.when_text for p in entries)
            raise InputError(where, value, f"has no meaning here: {name} varies {conditions}")
        if not active.contains(value):
            raise InputError(where, value, f"is outside this space ({active.values_text})")

    def with_fixed(self, name: str, value: Any) -> Space:
        """The same space with one field that holds ``value`` in every trial.

        Raises:
            InputError: nothing else varies, or another parameter depends on this one.
        """
        return replace(
            self,
            parameters=tuple(p for p in self.parameters if p.name != name),
            fixed={**self.fixed, name: value},
            points=tuple({k: v for k, v in p.items() if k != name} for p in self.points),
        )

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Sample one configuration, fixed fields included.

        Args:
            trial: an Optuna trial, or anything with its ``suggest_*`` methods.
        """
        values = dict(self.fixed)
        for p in self.parameters:
            if p.active(values):
                values[p.name] = p.suggest(trial)
        return values

    def params_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What Optuna would have to suggest for ``values``: for ``study.enqueue_trial``.

        Fields that ``values`` leaves out stay out, and Optuna samples them.
        """
        return {
            p.key: values[p.name] for p in self.parameters if p.name in values and p.active(values)
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What varies, in the order of first mention; each once, whatever it depends on."""
        return tuple(dict.fromkeys(p.name for p in self.parameters))

    @property
    def is_finite(self) -> bool:
        """Whether it has no range, or only its points count."""
        return self.points_only or all(p.choices is not None for p in self.parameters)

    @cached_property
    def size(self) -> float:
        """How many configurations ``grid`` lists; infinity where it cannot."""
        try:
            return len(self.grid()) if self.is_finite else math.inf
        except InputError:  # more than GRID_LIMIT
            return math.inf

    def grid(self) -> list[dict[str, Any]]:
        """Every combination, the first parameter changing slowest; or the points, in order.

        Raises:
            InputError: a parameter is a range, or there are more than GRID_LIMIT combinations.
        """
        if self.points_only:
            return [{**self.fixed, **point} for point in self.points]
        grid = [dict(self.fixed)]
        for label, p in self._labelled():
            where = f"space {self.name!r}: {label}"
            if p.choices is None:
                rule = "is a range: a grid needs `choices` here"
                raise InputError(where, p.values_text, rule)
            # Counted before it is built: a few long lists would not fit in memory.
            size = sum(len(p.choices) if p.active(values) else 1 for values in grid)
            if size > GRID_LIMIT:
                raise InputError(where, size, f"combinations are more than a grid's {GRID_LIMIT}")
            grid = [
                {**values, **extra}
                for values in grid
                for extra in ([{p.name: c} for c in p.choices] if p.active(values) else [{}])
            ]
        return grid

    def to_dict(self) -> dict[str, Any]:
        """The whole space as plain JSON values; ``from_dict`` makes an equal one of it.

        Parameters are a list and not a mapping: their order matters, and JSON may sort keys.
        """
        return {
            "name": self.name,
            "description": self.description,
            "parameters": [p.to_dict() for p in self.parameters],
            "fixed": dict(self.fixed),
            "points": [dict(point) for point in self.points],
            "points_only": self.points_only,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Space:
        """Make the space that ``to_dict`` wrote, checked anew."""
        form = read_record(_SpaceForm, values)
        where = f"space {form.name!r}: "
        with located(where, drop=where):
            parameters = tuple(
                Parameter(**entry.model_dump(exclude_unset=True)) for entry in form.parameters
            )
            return cls(
                name=form.name,
                parameters=parameters,
                fixed=form.fixed,
                points=tuple(form.points),
                description=form.description,
                points_only=form.points_only,
            )

    def describe(self) -> str:
        """A table for people: one line a parameter, then what is fixed and how many points."""
        rows = [(p.name, p.values_text, p.when_text) for p in self.parameters]
        rows += [(name, str(value), "always") for name, value in self.fixed.items()]
        if self.points:
            order = "only these, in order" if self.points_only else "evaluated first"
            rows.append(("points", str(len(self.points)), order))
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows]
        return "\n".join(lines)


def _short(when: Mapping[str, tuple[Any, ...]]) -> str:
    """A condition as part of a key; the parents' names only where there is more than one."""
    texts = {parent: ",".join(map(str, allowed)) for parent, allowed in when.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return ";".join(f"{parent}={text}" for parent, text in texts.items())
