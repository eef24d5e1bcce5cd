"""The words of a report: its subtitle, its commands, and ``summary.md``."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import Any

from analysis.report.contents import ReportContents
from analysis.report.html import TITLES
from analysis.report.render_document import answers_as_markdown
from analysis.winner.pareto import KINDS
from analysis.winner.test_looks import looks_in_words
from vgg6.common.markdown import fenced, plain
from vgg6.tuning.algorithms.warm_start import in_words
from vgg6.tuning.run.records import confirmed_winner


def subtitle(found: ReportContents) -> str:
    """When, how many, how it stands."""
    states = found.trials.state.value_counts().to_dict()
    counts = ", ".join(f"{n} {state}" for state, n in sorted(states.items())) or "no trial yet"
    made = time.strftime("%d %B %Y %H:%M")
    return f"{found.facts['trials']} trials asked for: {counts}. Written {made}."


def over_seeds(row: dict[str, Any]) -> str:
    """What the mean behind a confirmed score is of."""
    n = sum(run["val_acc"] is not None for run in row["runs"])
    interval = "" if row["low"] is None else f", 95 % {row['low']:.4f} to {row['high']:.4f}"
    return f"validation accuracy: mean of {n} fresh seeds{interval}"


def begun_from(found: ReportContents) -> list[str]:
    """The earlier searches that this one began from, a line each."""
    return in_words(found.facts.get("warm_start", {}).get("sources", ()))


def commands(found: ReportContents) -> list[tuple[str, str]]:
    """What was run, and what can be: words and command."""
    name, here = shlex.quote(found.facts["name"]), "python tune_vgg6.py"
    confirmed = ((found.best or {}).get("confirmation") or {}).get("command")
    lines = [
        ("The search", found.facts.get("command", "")),
        ("Go on with it, should it have been interrupted", f"{here} resume {name}"),
        (
            "Confirm the best over fresh seeds",
            confirmed or f"{here} best {name} --top 5 --confirm 3",
        ),
        ("Pack the winner", f"{here} export {name} --out packed/"),
        ("Prove that the package re-runs", f"{here} verify packed/"),
    ]
    if found.best:
        lines.append(("Train the winner again", found.best["winner"]["train_command"]))
    return lines


def markdown(found: ReportContents, pictures: Sequence[str]) -> str:
    """The report's main figures and numbers for a repository."""
    lines = [f"# {plain(found.title)}", "", plain(subtitle(found)), ""]
    for line in begun_from(found):
        lines += [f"Begun from {plain(line)}.", ""]
    if best := found.best:
        confirmed = best["confirmation"]
        lines += [
            f"**Winner: trial {best['winner']['trial']}, {plain(best['winner']['label'])}**",
            "",
        ]
        if confirmed:
            row = confirmed_winner(confirmed)
            lines += [
                f"{over_seeds(row)}: **{row['mean']:.4f}**; in the search it scored"
                f" {row['search_score']:.4f} ({row['optimism']:+.4f}). {plain(confirmed['why'])}.",
                "",
            ]
        else:
            score = best["winner"]["best_val_acc"]
            lines += [f"Best single validation score {score:.4f}, and so optimistic.", ""]
        if test := best["test"]:
            words = looks_in_words(test["looks"])
            lines += [
                f"Test accuracy {test['accuracy']:.4f} ({test['images']:,} images; {words}).",
                "",
            ]
        for kind in KINDS:
            lines += [f"| {kind} | val_acc | trial | configuration |", "|---|---|---|---|"]
            lines += [
                f"| {r[kind]} | {r['best_val_acc']:.4f} | {r['trial']} | {plain(r['label'])} |"
                for r in best[f"best_by_{kind}"]
            ] + [""]
    shown_there: set[str] = set()
    if found.study is not None:
        said, shown_there = answers_as_markdown(found.study.answers, pictures, TITLES)
        lines += said
    for name in (n for n in pictures if n not in shown_there):
        lines += [f"## {TITLES[name]}", "", f"![{TITLES[name]}]({name}.png)", ""]
    lines += ["## Commands", "", *fenced([command for _, command in commands(found)])]
    return "\n".join([*lines, ""])
