"""Warm start: a search that begins from what earlier ones found, and is not misled by them.

Two things are taken, and no more:

- **First points.** The earlier winners, a confirmed one before one that is not, and the best of the
  other configurations that differ from them, as far as the new space can hold them. They are
  evaluated first, as Feurer, Springenberg and Hutter do ("Initializing Bayesian hyperparameter
  optimization via meta-learning", AAAI 2015): what they are worth on other data, or at another
  length, is measured here and not believed. A wrong one costs its own few epochs. The space's own
  points come before them: early stopping is kindest to the first that arrive, and earlier winners
  have passed it before.
- **Told trials.** Where a trial was trained on the same images, split alike, for as many epochs,
  and its whole configuration lies in the new space, its score is one of the same objective: the
  sampler is told of it as if it had been the search's own. Scores of other data or lengths are
  never told; nor are those of a search that could not try all that the new one can, for a sampler
  would stay with the part that it has heard of.

Neither the winner nor the scheduler's rungs ever come from an earlier search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces import Space
from search_spaces.coverage import covers
from search_spaces.parameter import Parameter
from vgg6.common.checks import InputError
from vgg6.common.numbers_in_words import counted
from vgg6.common.schema import located
from vgg6.config import TrialConfig
from vgg6.metric import ACCURACY, Metric
from vgg6.tuning.run.folder import open_run
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.search_facts import EarlierSearch, ToldTrial, WarmStartFacts
from vgg6.tuning.run.trials import INFEASIBLE, TELLING, TrialRecord, optunas_order, scored
from vgg6.tuning.settings import Settings

FIELD = "warm_start"
POINTS, POINTS_SHARE = 5, 8  # first points at most, and no more than one trial in so many
TOLD, TOLD_BEST = 200, 50  # trials told at most; the best of them, and an even sample of the others
NEAR = 0.1  # of a range: points that differ by less in every parameter are the same
Point = dict[str, Any]


@dataclass(frozen=True)
class Earlier:
    """An earlier search, checked. ``data``: its name; ``images``: their fingerprint; ``winner``:
    the configuration that was confirmed."""

    where: str
    data: str
    images: str
    space: Space
    history: History
    winner: TrialConfig | None = None

    def configs(self) -> Iterator[TrialConfig]:
        """Its configurations that have a score, the best first."""
        if self.winner is not None:
            yield self.winner
        for trial in self.history.ranking():
            yield trial.config


@dataclass(frozen=True)
class WarmStart:
    """What a search began from. ``sources``: what was taken from where; ``told``: trials that the
    sampler is told of, by their numbers there."""

    sources: list[EarlierSearch] = field(default_factory=list)
    told: list[TrialRecord] = field(default_factory=list)

    @property
    def points(self) -> int:
        """How many points it added to the space's own."""
        return sum(source.points for source in self.sources)

    @property
    def facts(self) -> WarmStartFacts | None:
        """What ``search.json`` has of it: a resumed search needs no earlier run folder."""
        if not self.sources:
            return None
        told = [
            ToldTrial(trial=t.number, config=t.config, state=t.state, scores=_scores(t))
            for t in self.told
        ]
        return WarmStartFacts(sources=self.sources, told=told)

    @classmethod
    def from_facts(
        cls, facts: WarmStartFacts | None, space: Space, metric: Metric = ACCURACY
    ) -> WarmStart:
        """What ``search.json`` has under ``warm_start``, or nothing.

        Raises:
            InputError: a told trial lies outside ``space``, or has not the score of its state.
        """
        if facts is None:
            return cls()
        told = []
        for index, trial in enumerate(facts.told):
            where = f"warm_start.told[{index}]"
            if not is_whole(trial.config, space):
                rule = "is outside the search's space"
                raise InputError(f"{where}.config", trial.config.to_dict(), rule)
            if not trial.scores and trial.state != INFEASIBLE:
                raise InputError(f"{where}.scores", [], f"is empty for a {trial.state} trial")
            told.append(
                _record(trial.trial, trial.config, trial.state, trial.scores, space, metric)
            )
        return cls(facts.sources, told)


def describe_sources(sources: Sequence[EarlierSearch]) -> list[str]:
    """What was taken from where, a line for each earlier search."""
    return [
        f"{s.run} ({s.data}): {counted(s.points, 'point')} first,"
        f" {counted(s.told, 'trial')} told, {s.why}"
        for s in sources
    ]


def read_earlier(runs: Sequence[str], settings: Settings, space: Space) -> list[Earlier]:
    """Read earlier searches, each by its folder, its URI, or its name below ``storage``.

    Raises:
        InputError: there is no such search, a file of it breaks a rule, it has no score yet or goes
            by another metric, or it is named twice; or the new search has a list of points to walk.
    """
    if settings.searcher == "grid" or space.points_only:
        rule = "has nothing to add to: this search is a list of points"
        raise InputError(FIELD, " ".join(runs), rule)
    found: dict[str, Earlier] = {}
    for name in runs:
        with located(f"{FIELD} "):
            run = open_run(name, settings.storage)
            search = read_search(run)
        if run.uri in found:
            raise InputError(FIELD, name, "is named twice")
        if not search.history.ranking(first=1):
            raise InputError(FIELD, name, "has no trial with a score")
        if search.metric != settings.measure:
            rule = (
                f"goes by {search.metric.name}, and this search by {settings.metric}: scores of two"
                " metrics do not compare"
            )
            raise InputError(FIELD, name, rule)
        winner = search.confirmation.chosen.config if search.confirmation else None
        data = search.facts.data
        found[run.uri] = Earlier(
            run.uri, data.name, data.fingerprint, search.space, search.history, winner
        )
    return list(found.values())


def begin_from(
    earlier: Sequence[Earlier], space: Space, settings: Settings, images: str
) -> tuple[Space, WarmStart]:
    """The space of a new search with its first points, and what its sampler is told.

    Args:
        images: the fingerprint of the new search's data and their split.
    """
    points = _first_points(earlier, space, settings.trials)
    first = [*space.points, *(point for point, _ in points)]
    told: list[TrialRecord] = []
    sources = []
    for search in earlier:
        why = "the same images, space and length"
        taken: list[TrialRecord] = []
        if search.images != images:
            why = "other images"
        elif not covers(search.space, space):
            why = "another space"
        elif not (taken := _tellable(search, space, settings.epochs, first)):
            why = "no other of this length"
        taken = _thinned(taken, TOLD // len(earlier))
        told += taken
        sources.append(
            EarlierSearch(
                run=search.where,
                data=search.data,
                points=sum(source is search for _, source in points),
                told=len(taken),
                why=why,
            )
        )
    return replace(space, points=tuple(first)), WarmStart(sources, told)


def held(config: TrialConfig, space: Space) -> Point | None:
    """What ``space`` varies, as ``config`` has it; None where a value lies outside.

    What the space does not vary takes its value there, whatever it was.
    """
    values = dict(space.fixed)
    for p in space.parameters:
        if p.active(values):
            value = getattr(config, p.name)
            if value is None or not p.contains(value):
                return None
            values[p.name] = value
    return {name: value for name, value in values.items() if name not in space.fixed}


def is_whole(config: TrialConfig, space: Space) -> bool:
    """Whether a trial of ``space`` can be ``config``, but for its length and seed."""
    point = held(config, space)
    if point is None:
        return False
    run = {"epochs": config.epochs, "seed": config.seed}
    return TrialConfig.from_mapping({**space.fixed, **point, **run}) == config


def near(a: Point, b: Point, space: Space) -> bool:
    """Whether two points of ``space`` are too much alike to evaluate both first."""
    return a.keys() == b.keys() and all(
        _distance(p, a[p.name], b[p.name]) < NEAR
        for p in space.parameters
        if p.name in a and p.active(a)
    )


def _distance(p: Parameter, a: Any, b: Any) -> float:
    """Between two values, as a part of the range; of names 0 or 1."""
    if p.choices is not None:
        return float(a != b)
    return abs(p.place(a) - p.place(b))


def _first_points(
    earlier: Sequence[Earlier], space: Space, trials: int | None
) -> list[tuple[Point, Earlier]]:
    """Points that differ from each other and from the space's own, and whose they are: the best of
    each earlier search, then each second, ..."""
    most = POINTS if trials is None else max(1, min(POINTS, trials // POINTS_SHARE))
    chosen: list[tuple[Point, Earlier]] = []

    def next_of(configs: Iterator[TrialConfig]) -> Point | None:
        for config in configs:
            point, known = held(config, space), [*space.points, *(p for p, _ in chosen)]
            if point is not None and not any(near(point, p, space) for p in known):
                return point
        return None

    queues = [(search, search.configs()) for search in earlier]
    while queues and len(chosen) < most:
        search, configs = queues.pop(0)
        if (point := next_of(configs)) is not None:
            chosen.append((point, search))
            queues.append((search, configs))
    return chosen


def _tellable(
    search: Earlier, space: Space, epochs: int, first: Sequence[Point]
) -> list[TrialRecord]:
    """Ended trials of the same objective, the best first, but for those that are run again. Of the
    infeasible ones only those whose loss diverged: memory is a matter of the machine."""
    told = [
        _record(t.number, t.config, t.state, _scores(t), space, t.metric)
        for t in search.history.trials.values()
        if t.state in TELLING and (t.rows or t.state == INFEASIBLE)
        and (t.state != INFEASIBLE or "diverged" in t.reason)
        and t.config.epochs == epochs
        and is_whole(t.config, space) and held(t.config, space) not in first
    ]  # fmt: skip
    return sorted(told, key=optunas_order)


def _thinned(told: list[TrialRecord], most: int) -> list[TrialRecord]:
    """The best, and of the others as many, evenly, as make ``most`` with them."""
    if len(told) <= most:
        return told
    best = min(TOLD_BEST, most)
    others = told[best:]
    return told[:best] + [others[i * len(others) // (most - best)] for i in range(most - best)]


def _scores(trial: TrialRecord) -> list[float]:
    return [trial.metric.best_of(row) for row in trial.curve]


def _record(
    number: int,
    config: TrialConfig,
    state: str,
    scores: Sequence[float],
    space: Space,
    metric: Metric,
) -> TrialRecord:
    rows = {e: scored(e, x, x, metric) for e, x in enumerate(scores, start=1)}
    params = space.params_of(space.fixed | (held(config, space) or {}))
    return TrialRecord(number, config, params, 0.0, rows=rows, state=state, metric=metric)
