"""The run that stands for the winner of a search: which weights are its, and how it went."""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.winner.ranking import winner_of
from vgg6.config import TrialConfig
from vgg6.run_record import EpochMetrics
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.folder import confirmed_file, weights_file
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import TrialRecord


@dataclass(frozen=True)
class Chosen:
    """The run that is packed. ``weights``: its file below the run folder; ``rows``: its epochs;
    ``confirmed``: the confirmation that it won, if there was one; ``named``: it was asked for by
    its number."""

    what: str
    config: TrialConfig
    weights: str
    rows: list[EpochMetrics]
    stop_after: int | None
    confirmed: Confirmation | None
    named: bool = False


def choose(search: Search) -> Chosen:
    """The representative run of the confirmed winner; else the first of the ranking, as it ran."""
    if search.confirmation:
        return confirmed_run(search.confirmation)
    return as_it_ran(winner_of(search))


def as_it_ran(trial: TrialRecord) -> Chosen:
    return Chosen(
        what=f"trial {trial.number}",
        config=trial.config,
        weights=weights_file(trial.number),
        rows=trial.results,
        stop_after=trial.stop_after,
        confirmed=None,
    )


def confirmed_run(found: Confirmation) -> Chosen:
    """The representative run of a confirmation's winner."""
    trial, seed, rows = found.winner, found.representative_seed, found.representative.history
    config = replace(found.chosen.config, seed=seed)
    return Chosen(
        what=f"trial {trial} seed {seed}",
        config=config,
        weights=confirmed_file(trial, seed),
        rows=rows,
        stop_after=len(rows) if len(rows) < config.epochs else None,
        confirmed=found,
    )
