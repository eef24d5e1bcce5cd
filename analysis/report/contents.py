"""What a report shows, gathered before any of it is rendered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.study.questions import Study
from analysis.winner.ranking import shown
from vgg6.tuning.run.journal import History


@dataclass
class ReportContents:
    """All that a report shows. ``figures`` are by name; a figure without data is not there."""

    facts: dict[str, Any]
    history: History
    table: pd.DataFrame
    trials: pd.DataFrame
    best: dict[str, Any] | None
    insights: dict[str, Any]
    mistakes: dict[str, Any]
    test_looks: list[dict[str, Any]]
    rungs: list[dict[str, Any]]
    compressed: list[dict[str, Any]]
    figures: dict[str, go.Figure] = field(default_factory=dict)
    study: Study | None = None

    @property
    def title(self) -> str:
        data = self.facts["data"]
        part = "" if data["limit_train"] is None else f", {data['train_images']:,} of its images"
        return f"{self.facts['name']} on {shown(data['name'])}{part}"
