"""Titles that say what a figure shows, and what was measured for it."""

from __future__ import annotations

from analysis.figures.learning_curves import MOST_CURVES
from analysis.report.contents import FIGURE_TITLES, ReportContents
from analysis.winner.ranking import data_title
from vgg6.metric import Metric

# Figures of validation scores, or of losses that were measured with them.
SCORED = {"parallel", "progress", "curves", "by_activation", "by_optimizer", "interaction",
          "effect_activation", "effect_optimizer", "pareto", "sizes", "confirmation", "compression",
          "study_baseline", "study_steps"}  # fmt: skip
CURVES = {"curves", "by_activation", "by_optimizer"}  # which have a line a trial
NAMES = {"cifar10": "CIFAR-10", "digits": "digits"}


def figure_titles(contents: ReportContents) -> dict[str, str]:
    """The title of each figure, with the images, seeds and epochs behind it."""
    return {name: _title(contents, name) for name in FIGURE_TITLES}


def named_by(metric: Metric, title: str) -> str:
    """A title of scores, which are accuracies in the list, with the name of the metric."""
    capital = metric.label[0].upper() + metric.label[1:]
    return title.replace("validation accuracy", metric.label).replace(
        "Validation accuracy", capital
    )


def _title(contents: ReportContents, name: str) -> str:
    title, parts = named_by(contents.search.metric, FIGURE_TITLES[name]), []
    confirmation = contents.search.confirmation
    if name == "confirmation" and confirmation:
        seeds, epochs = len(confirmation.seeds), confirmation.epochs
        parts.append(f"{seeds} seed{'s' * (seeds > 1)}")
        if epochs:
            parts.append(f"{epochs} epoch{'s' * (epochs > 1)} each")
    trials = contents.table.trial.nunique() if name in CURVES else 0
    if trials > MOST_CURVES:
        parts.append(f"{MOST_CURVES:,} of {trials:,} trials: the best, and others evenly")
    found = contents.insights.interaction
    if name == "interaction" and found:
        parts.append(f"after epoch {found.epoch}")
    if name in SCORED:
        data = contents.facts.data
        name_of_data = NAMES.get(data.name, data_title(data.name))
        images = "images" if "alidation" in title else "validation images"
        parts.append(f"{data.val_images:,} {images} of {name_of_data}")
    return title + (f" ({', '.join(parts)})" if parts else "")
