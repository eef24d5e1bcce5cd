"""What every section of a report is made of: figures, tables and notes as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from analysis.report.contents import ReportContents

TITLES = {
    "parallel": "All hyperparameters of every trial, coloured by validation accuracy",
    "progress": "Validation accuracy against the time of creation, with the best so far",
    "curves": "Losses and accuracies by epoch",
    "by_activation": "Validation accuracy by epoch, for each activation",
    "by_optimizer": "Validation accuracy by epoch, for each optimizer",
    "importance": "Importance of the hyperparameters",
    "interaction": "Mean validation accuracy by optimizer and learning rate",
    "effect_activation": "Effect of the activation, from matched pairs",
    "effect_optimizer": "Effect of the optimizer, from matched pairs",
    "rungs": "Trials that arrived at each rung, and that went on",
    "cluster": "Which worker ran which trial when, and how many ran at once",
    "pareto": "Accuracy against training time",
    "confirmation": "The candidates over fresh seeds",
    "confusion": "Confusion matrix on the validation images",
    "study_baseline": "The baseline's losses and accuracies by epoch",
    "study_activation": "Effect of the activation on accuracy",
    "study_optimizer": "Effect of the optimizer on accuracy",
    "study_speed": "Effect of the optimizer on convergence",
    "study_stability": "Effect of the optimizer on stability: less is steadier",
    "study_batch_size": "Effect of the batch size on accuracy",
    "study_lr": "Effect of the learning rate on accuracy",
    "study_together": "Learning rate and batch size, changed together",
    "study_epochs": "What more epochs bring",
    "study_steps": "Validation accuracy against optimizer step",
    "compression": "Accuracy of compressed networks against their size and their speed",
}
# Panels side by side on a phone.
STACKED = {"curves": 1, "by_activation": 2, "by_optimizer": 2, "study_baseline": 1}
FILTERED = ("curves", "by_activation", "by_optimizer", "study_steps")


def figure_of(found: ReportContents, name: str) -> str:
    """Where the page draws a figure, with its title; empty if the report has none of that name."""
    figure = found.figures.get(name)
    if figure is None:
        return ""
    filtered = ' data-filtered="yes"' if name in FILTERED else ""
    if name in STACKED:
        filtered += f' data-stacked="{STACKED[name]}"'
    wide = "wide" if name in ("parallel", "interaction", "confusion", "cluster") else ""
    return (
        f'<h3>{TITLES[name]}</h3><div class="{wide}"><div class="figure" id="fig-{name}"'
        f' role="img" aria-label="{TITLES[name]}"{filtered}'
        f' style="height:{figure.layout.height:.0f}px"></div></div>'
    )


def table_of(head: Sequence[str], rows: Sequence[Sequence[Any]], numeric: str) -> str:
    """A table that scrolls on its own. ``numeric``: the columns that are aligned as numbers."""
    right = {int(n) for n in numeric.split()}
    kind = [' class="n"' if i in right else "" for i in range(len(head))]
    top = "".join(f"<th{kind[i]}>{escape(h)}</th>" for i, h in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{kind[i]}>{escape(str(v))}</td>" for i, v in enumerate(row)) + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def none_because(why: str) -> str:
    """The note that stands where there is nothing to show."""
    return f'<p class="note">{escape(why)}</p>'
