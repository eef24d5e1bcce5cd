"""Comparisons of a factor's values in matched pairs, and the sentences that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from analysis.insights.matched_pairs import MIN_PAIRS, REFERENCE, Effect, matched
from analysis.results.table_files import SearchTables
from analysis.study.measures import Measure
from vgg6.common.intervals import student

WORDS = {"lr": "learning rate", "batch_size": "batch size"}
SHORT = {"lr": "lr", "batch_size": "batch"}


@dataclass(frozen=True)
class Comparison(Effect):
    """One value of a factor against another; the difference is there from one pair on."""

    @property
    def sign(self) -> int:
        """1 or -1 where the interval is all on one side of no difference, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)

    @property
    def verdict(self) -> str:
        if self.low is None:
            return f"too few pairs (of {MIN_PAIRS})"
        return {1: "more", -1: "less", 0: "not told apart"}[self.sign]

    @property
    def evidence(self) -> str:
        return f"95 % {self.low:+.4f} to {self.high:+.4f}; {self.pairs} pairs"


def compare(
    tables: SearchTables, factors: tuple[str, ...], measure: Measure
) -> tuple[list[Comparison], str]:
    """Every two values of a factor that came, in pairs that differ in that factor only.

    Args:
        factors: one; or several, to compare values in which all of them differ.

    Returns:
        The comparisons, those with most pairs first, and how close the two of a pair are; or none
        and why the question cannot be asked of this search.
    """
    words = " and ".join(WORDS.get(name, name) for name in factors)
    if absent := [name for name in factors if name not in tables.parameters]:
        return [], f"the {WORDS.get(absent[0], absent[0])} did not vary in this search"
    matching = matched(tables, factors, measure.values.index)
    drawn = [v[n] for v in matching.given.values() for n in factors if n in v]
    if not all(value.is_choice for value in drawn):
        return [], f"the {words} is drawn from a range, and hardly two trials have the same one"
    reference = tuple(REFERENCE.get(name) for name in factors)
    levels = sorted(matching.levels, key=lambda level: (level != reference, level))
    if len(levels) < 2:
        return [], f"no two values of the {words} have a score"
    found = []
    for against, level in combinations(levels, 2):
        if any(a == b for a, b in zip(against, level, strict=True)):
            continue  # one of the factors alone: its own comparison
        pairs = matching.pairs(level, against)
        gaps = [measure.values[a] - measure.values[b] for a, b in pairs]
        known = student(gaps, least=MIN_PAIRS)
        found.append(
            Comparison(
                value=_named(factors, level),
                against=_named(factors, against),
                difference=known.mean if known.n else None,
                low=known.low,
                high=known.high,
                pairs=known.n,
            )
        )
    found.sort(key=lambda c: -c.pairs)
    return found, matching.close


def headline(found: Sequence[Comparison], measure: Measure) -> str:
    """Which values stand above others, from the comparisons that are told apart."""
    told = [c for c in found if c.sign]
    if not any(c.low is not None for c in found):
        return f"cannot be told: no two values have {MIN_PAIRS} matched pairs"
    if not told:
        return "no difference is shown between any two values with enough pairs"
    above: dict[str, list[str]] = {}
    for c in told:
        winner, loser = (c.value, c.against) if c.sign == measure.best else (c.against, c.value)
        above.setdefault(winner, []).append(loser)
    losers = {name for beaten in above.values() for name in beaten}
    unbeaten = {name: beaten for name, beaten in above.items() if name not in losers}
    if not unbeaten:
        return "the comparisons go round in a circle: no value stands above the others"
    parts = [f"{name} {measure.better} than {listed(beaten)}" for name, beaten in unbeaten.items()]
    return f"{'; '.join(parts)}; nothing is shown to beat {listed([*unbeaten], 'or')}"


def sentences(found: Sequence[Comparison], measure: Measure) -> list[str]:
    """What the comparisons say, in words: those told apart, those not, and how many lack pairs."""
    said = []
    for c in found:
        if c.sign and c.difference is not None:
            form = measure.more if c.sign > 0 else measure.less
            words = form.format(gap=f"{abs(c.difference):.4f}")
            said.append(f"{c.value} {words} {c.against} ({c.evidence}).")
    open_ = [f"{c.value} and {c.against} ({c.evidence})" for c in found
             if c.low is not None and not c.sign]  # fmt: skip
    if open_:
        said.append(f"Not told apart: {', '.join(open_)}.")
    few = [f"{c.value} and {c.against} ({c.pairs})" for c in found if c.low is None and c.pairs]
    if few:
        said.append(f"Fewer than {MIN_PAIRS} matched pairs, so no interval: {', '.join(few)}.")
    if none := sum(c.pairs == 0 for c in found):
        said.append(f"No matched pair at all for {none} of the {len(found)} comparisons.")
    tested = sum(c.low is not None for c in found)
    if tested > 1:
        said.append(
            f"{tested} comparisons stand alone here, each at 95 % chance by itself tells one in"
            " twenty apart."
        )
    return said


def rows_of(found: Sequence[Comparison]) -> list[tuple[Any, ...]]:
    """The comparisons that have a pair, as rows of a table."""
    return [
        (c.value, c.against, c.pairs, f"{c.difference:+.4f}",
         "" if c.low is None else f"{c.low:+.4f} to {c.high:+.4f}", c.verdict)
        for c in found if c.difference is not None
    ]  # fmt: skip


HEAD = ("value", "against", "pairs", "difference", "95 % interval", "verdict")


def drawable(found: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons that have an interval, as ``figures.effects.effect`` draws them."""
    return [comparison for comparison in found if comparison.low is not None]


def _named(factors: tuple[str, ...], level: tuple[Any, ...]) -> str:
    return ", ".join(
        f"{SHORT[name]} {value:g}" if name in SHORT else str(value)
        for name, value in zip(factors, level, strict=True)
    )


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
