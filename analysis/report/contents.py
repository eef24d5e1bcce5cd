"""What a report shows, gathered before any of it is rendered."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pandas as pd
import plotly.graph_objects as go

from analysis.confirmation.confirmed_result import ConfirmedResult, confirmed_result
from analysis.insights.insights import Insights
from analysis.packages.compressed_networks import CompressedNetwork
from analysis.report.mistakes import Mistakes
from analysis.results.table_files import SearchTables
from analysis.results.timeline import Rung
from analysis.study.questions import Study
from analysis.suggested_commands import SearchCommands, again, unused, verify_command
from analysis.winner.looks_at_test_set import Look
from analysis.winner.ranking import Summary, data_title
from vgg6.common.numbers_in_words import counted
from vgg6.footprint.limits import all_in_words
from vgg6.tuning.algorithms.early_stopping import trained_whole
from vgg6.tuning.algorithms.warm_start import WarmStart, describe_sources
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.search_facts import SearchFacts


@dataclass
class ReportContents:
    """All that a report shows.

    Args:
        best: what ``summary`` found, None without a score.
        mistakes: the winner's, or a sentence that says why they are not known.
        test_looks: every look at the test images.
        figures: by name; one without data is not there.
        study: the study's questions, where they were asked.
    """

    search: Search
    tables: SearchTables
    best: Summary | None
    insights: Insights
    mistakes: Mistakes | str
    test_looks: list[Look]
    rungs: list[Rung]
    compressed: list[CompressedNetwork]
    figures: dict[str, go.Figure] = field(default_factory=dict)
    study: Study | None = None

    @property
    def facts(self) -> SearchFacts:
        return self.search.facts

    @property
    def history(self) -> History:
        return self.search.history

    @property
    def table(self) -> pd.DataFrame:
        """One row a finished epoch."""
        return self.tables.epochs

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial."""
        return self.tables.trials

    @property
    def title(self) -> str:
        data = self.facts.data
        part = "" if data.limit_train is None else f", {data.train_images:,} of its images"
        return f"{self.search.name} on {data_title(data.name)}{part}"

    @property
    def subtitle(self) -> str:
        """When, how many, how it stands."""
        states = sorted(self.trials.state.value_counts().to_dict().items())
        counts = ", ".join(f"{n} {state}" for state, n in states) or "no trial yet"
        written = time.strftime("%d %B %Y %H:%M")
        asked = f"{counted(self.facts.trials, 'trial')} asked for: {counts}."
        if limits := self.facts.settings.limits:
            asked += f" Only networks of {all_in_words(limits)} were tried."
        if not self.search.metric.is_accuracy:
            asked += f" Trials are ranked by {self.search.metric.label}."
        notes = [*self.search.extensions]
        if outdated := self.search.outdated_in_words:
            notes.append(f"Confirm again: {outdated}")
        added = "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
        return f"{asked}{added} Written {written}."

    @property
    def confirmed(self) -> ConfirmedResult | None:
        """What a confirmation says of the winner."""
        confirmation = self.best.confirmation if self.best else None
        return confirmed_result(confirmation.chosen) if confirmation else None

    @property
    def trained_whole(self) -> int:
        """How many trials no rung could stop: the first ones, and those that were begun again."""
        settings = self.facts.settings
        warm = WarmStart.from_facts(self.facts.warm_start, self.search.space, self.facts.metric)
        if not any(rung.arrived for rung in self.rungs):
            return 0
        again = len(self.history.begun_again)
        asked = self.facts.trials - again
        return again + trained_whole(self.search.space, settings.searcher, asked, warm.points)

    @property
    def earlier_searches(self) -> list[str]:
        """Those that this one began from, a line each."""
        warm_start = self.facts.warm_start
        return describe_sources(warm_start.sources) if warm_start else []

    @property
    def next_step(self) -> tuple[str, str]:
        """What to do with the winner: confirm it, or pack it."""
        here = SearchCommands(self.search.folder)
        if self.confirmed is None:
            return "Confirm the best", here.best("--confirm")
        return "Pack the winner", here.export(unused("packed"))

    @property
    def commands(self) -> list[tuple[str, str]]:
        """What was run, and what can be: what for, and the command."""
        here, packed = SearchCommands(self.search.folder), unused("packed")
        commands = [
            ("The search", again(self.facts.command)),
            *(("What extended it", again(one.command)) for one in self.facts.extensions),
            ("Go on with it, should it have been interrupted", here.resume()),
        ]
        if self.best:
            commands += [
                ("Confirm the best over fresh seeds", here.best("--confirm")),
                ("Pack the winner", here.export(packed)),
                ("Prove that the package re-runs", verify_command(packed)),
                ("Train the winner again", self.best.winner.train_command),
            ]
        return commands
