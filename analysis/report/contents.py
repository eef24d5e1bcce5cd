"""What a report shows, gathered before any of it is rendered."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.report.compression_front import CompressedNetwork
from analysis.report.mistakes import Mistakes
from analysis.results.timeline import Rung
from analysis.study.questions import Study
from analysis.winner.ranking import shown
from vgg6.tuning.algorithms.warm_start import in_words
from vgg6.tuning.run.journal import History
from vgg6.tuning.run.records import confirmed_winner


@dataclass
class ReportContents:
    """All that a report shows.

    Args:
        table: one row a finished epoch. trials: one row a trial.
        best: what ``summary`` found, None without a score.
        mistakes: the winner's, or why they are not known.
        test_looks: every look at the test images.
        figures: by name; one without data is not there.
        study: the study's questions, where they were asked.
    """

    facts: dict[str, Any]
    history: History
    table: pd.DataFrame
    trials: pd.DataFrame
    best: dict[str, Any] | None
    insights: dict[str, Any]
    mistakes: Mistakes | str
    test_looks: list[dict[str, Any]]
    rungs: list[Rung]
    compressed: list[CompressedNetwork]
    figures: dict[str, go.Figure] = field(default_factory=dict)
    study: Study | None = None

    @property
    def title(self) -> str:
        data = self.facts["data"]
        part = "" if data["limit_train"] is None else f", {data['train_images']:,} of its images"
        return f"{self.facts['name']} on {shown(data['name'])}{part}"

    @property
    def subtitle(self) -> str:
        """When, how many, how it stands."""
        states = sorted(self.trials.state.value_counts().to_dict().items())
        counts = ", ".join(f"{n} {state}" for state, n in states) or "no trial yet"
        written = time.strftime("%d %B %Y %H:%M")
        return f"{self.facts['trials']} trials asked for: {counts}. Written {written}."

    @property
    def confirmed(self) -> dict[str, Any] | None:
        """The candidate that won over fresh seeds."""
        confirmation = (self.best or {}).get("confirmation")
        return confirmed_winner(confirmation) if confirmation else None

    @property
    def confirmed_score(self) -> str:
        """What the mean of ``confirmed`` is of."""
        assert self.confirmed is not None
        count = sum(run["val_acc"] is not None for run in self.confirmed["runs"])
        low, high = self.confirmed["low"], self.confirmed["high"]
        interval = "" if low is None else f", 95 % {low:.4f} to {high:.4f}"
        return f"validation accuracy: mean of {count} fresh seeds{interval}"

    @property
    def earlier_searches(self) -> list[str]:
        """Those that this one began from, a line each."""
        return in_words(self.facts.get("warm_start", {}).get("sources", ()))

    @property
    def commands(self) -> list[tuple[str, str]]:
        """What was run, and what can be: what for, and the command."""
        name, here = shlex.quote(self.facts["name"]), "python tune_vgg6.py"
        best = self.best or {}
        confirmed = (best.get("confirmation") or {}).get("command")
        commands = [
            ("The search", self.facts.get("command", "")),
            ("Go on with it, should it have been interrupted", f"{here} resume {name}"),
            (
                "Confirm the best over fresh seeds",
                confirmed or f"{here} best {name} --top 5 --confirm 3",
            ),
            ("Pack the winner", f"{here} export {name} --out packed/"),
            ("Prove that the package re-runs", f"{here} verify packed/"),
        ]
        if best:
            commands.append(("Train the winner again", best["winner"]["train_command"]))
        return commands


FIGURE_TITLES = {
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
