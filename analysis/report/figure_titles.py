"""Titles that say what a figure shows, and what was measured for it."""

from __future__ import annotations

from analysis.figures.learning_curves import MOST_CURVES
from analysis.report.contents import ReportContents
from analysis.winner.ranking import data_title
from vgg6.common.numbers_in_words import counted
from vgg6.metric import Metric

FIGURE_TITLES = {
    "parallel": "Hyperparameters of every trial, coloured by its best validation accuracy",
    "progress": "Best validation accuracy of each trial, and the best so far",
    "curves": "Training and validation losses and accuracies by epoch",
    "by_activation": "Validation accuracy by epoch, for each activation",
    "by_optimizer": "Validation accuracy by epoch, for each optimizer",
    "importance": "Share of the differences between trials that each hyperparameter explains",
    "interaction": "Mean validation accuracy by optimizer and learning rate",
    "effect_activation": "Difference in validation accuracy by activation, from matched pairs",
    "effect_optimizer": "Difference in validation accuracy by optimizer, from matched pairs",
    "rungs": "Trials that arrived at each rung, and that went on",
    "cluster": "Which worker ran which trial when, and how many trials ran at once",
    "pareto": "Validation accuracy against training time",
    "sizes": "Validation accuracy against the size of the network",
    "confirmation": "Validation accuracy of the candidates over fresh seeds",
    "confusion": "Validation images by true and predicted class",
    "study_baseline": "The baseline's losses and accuracies by epoch",
    "study_activation": "Effect of the activation on validation accuracy",
    "study_optimizer": "Effect of the optimizer on validation accuracy",
    "study_speed": "Effect of the optimizer on convergence",
    "study_stability": "Effect of the optimizer on stability: less is steadier",
    "study_batch_size": "Effect of the batch size on validation accuracy",
    "study_lr": "Effect of the learning rate on validation accuracy",
    "study_together": "Learning rate and batch size, changed together",
    "study_epochs": "Change in validation accuracy that more epochs bring",
    "study_steps": "Validation accuracy against optimizer step",
    "compression": "Validation accuracy of compressed networks against size and speed",
}
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
        parts.append(counted(seeds, "seed"))
        if epochs:
            parts.append(f"{counted(epochs, 'epoch')} each")
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
