"""Export: the answer of a search as a package that stands alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.packages.package import write_package
from analysis.packages.package_files import check_out
from analysis.packages.package_schema import Metrics
from analysis.packages.scoring import recorded_runtime, score
from analysis.packages.train_command import train_command
from analysis.packages.weights import run_weights
from analysis.winner.ranking import shown, stop_after, winner_of
from analysis.winner.retrained_trial import (
    again_command,
    again_name,
    again_weights,
    read_again,
    scored_trial,
)
from analysis.winner.test_looks import look, looks_in_words, recorded
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.data import DataFacts, image_facts, load_recorded
from vgg6.run_record import EpochMetrics, RuntimeFacts
from vgg6.tuning.run.folder import RunFolder, confirmed_file, weights_file
from vgg6.tuning.run.journal import History, TrialRecord, read_history
from vgg6.tuning.run.records import confirmed_winner, read_confirmation, read_search

CONFIRMED_FACTS = ("mean", "sd", "low", "high", "search_score", "optimism", "tied")
UNCONFIRMED = (
    "val_acc is the highest of selected_from scores and so optimistic; `best RUN --confirm 3` says"
    " what the configuration scores over fresh seeds"
)
NAMED = "packed because this trial was asked for by its number, whatever it scored"
CONFIRMED = (
    "confirmed.mean is what to expect of this configuration on the validation images; val_acc is"
    " this package's own run, the one in the middle"
)


@dataclass(frozen=True)
class Chosen:
    """The run that is packed. ``weights``: its file below the run folder; ``rows``: its epochs;
    ``confirmed``: what the confirmation says of its configuration, if there was one; ``named``: it
    was asked for by its number."""

    what: str
    config: TrialConfig
    weights: str
    rows: list[dict[str, Any]]
    stop_after: int | None
    confirmed: dict[str, Any] | None
    named: bool = False


def export_best(
    run: RunFolder, out: Path, *, trial: int | None = None, look_at_test: bool = True
) -> dict[str, Any]:
    """Pack the confirmed winner of a search, or the first of its ranking where none is confirmed;
    or the trial of that number.

    Its weights are scored on the test images once, ever: see test_looks.py. Without
    ``look_at_test`` they are not scored, and a score is given only if there is one already.
    Returns the package's metrics and, as ``out``, its folder.

    Raises:
        InputError: there is no winner, its weights or its data are not there, ``out`` is taken.
    """
    check_out(out)
    facts, history = read_search(run), read_history(run)
    chosen = choose(run, history) if trial is None else _named(run, history, trial, facts)
    weights = _weights_of(run, chosen, facts)
    source, data = load_recorded(read_record(DataFacts, facts["data"]))
    runtime = read_record(RuntimeFacts, facts["runtime"])
    again = score(chosen.config, weights, data.val, data, recorded_runtime(runtime)).accuracy
    last = chosen.rows[-1]
    val_acc = max(row["val_acc"] for row in chosen.rows)
    metrics = {
        "data": data.name,
        "packed": chosen.what,
        "val_acc": val_acc,
        "val_acc_interval": wilson(val_acc, len(data.val)),
        "best_epoch": last["best_epoch"],
        "epochs_run": len(chosen.rows),
        "final": {k: last[k] for k in ("train_loss", "train_acc", "val_loss", "val_acc")},
        "confirmed": chosen.confirmed,
    }
    if chosen.named:
        metrics["note"] = NAMED
    else:
        metrics["selected_from"] = len(history.ranking())
        metrics["note"] = CONFIRMED if chosen.confirmed else UNCONFIRMED
    if again != val_acc:
        metrics["val_acc_again"] = again
        metrics["warning"] = (
            f"these weights score {again} on the validation images here, and scored {val_acc} in"
            " the search: another machine or thread count rounds differently"
        )
    tested = recorded(run, chosen.weights)
    if look_at_test and tested is None:
        tested = look(run, chosen.weights, chosen.what)
    if tested is not None:
        metrics["test"] = tested | {"note": looks_in_words(tested["looks"])}
    kind = "the confirmed winner" if chosen.confirmed else "the best, unconfirmed,"
    if chosen.named:
        kind = chosen.what
    write_package(
        out,
        config=chosen.config,
        runtime=runtime,
        data=read_record(DataFacts, facts["data"]).completed(image_facts(source)),
        weights=weights,
        history=[EpochMetrics(**row) for row in chosen.rows],
        metrics=read_record(Metrics, metrics),
        stop_after=chosen.stop_after,
        title=f"{chosen.config.label}, {kind} of the search {facts['name']} on {shown(data.name)}",
        versions=facts["versions"],
    )
    return metrics | {"out": str(out)}


def look_at_winner(run: RunFolder) -> dict[str, Any]:
    """Score the winner on the test images, if these weights were not before: see ``look``."""
    chosen = choose(run, read_history(run))
    return look(run, chosen.weights, chosen.what)


def choose(run: RunFolder, history: History) -> Chosen:
    """The representative run of the confirmed winner; else the first of the ranking, as it ran."""
    if found := read_confirmation(run):
        return _confirmed(found)
    return _as_it_ran(winner_of(run, history))


def _as_it_ran(trial: TrialRecord) -> Chosen:
    return Chosen(
        what=f"trial {trial.number}",
        config=TrialConfig.from_mapping(trial.config),
        weights=weights_file(trial.number),
        rows=trial.results,
        stop_after=stop_after(trial),
        confirmed=None,
    )


def _named(run: RunFolder, history: History, number: int, facts: dict[str, Any]) -> Chosen:
    """A trial with the weights that the search kept of it, or else those of its run again."""
    trial = scored_trial(run, history, number)
    chosen = replace(_as_it_ran(trial), named=True)
    if run.exists(chosen.weights):
        return chosen
    package = read_again(run, trial, facts)
    if package is None:
        command = again_command(run, trial, facts)
        rule = f"has no weights left: the search kept its best ones'. This makes them: {command}"
        raise InputError("trial", number, rule)
    return replace(
        chosen,
        what=again_name(number),
        weights=again_weights(number),
        rows=[row.to_dict() for row in package.history],
    )


def _confirmed(found: dict[str, Any]) -> Chosen:
    trial, seed = found["winner"], found["representative_seed"]
    candidate = confirmed_winner(found)
    finished = [r for r in candidate["runs"] if r["state"] == "completed"]
    packed = next(r for r in finished if r["seed"] == seed)
    config = replace(TrialConfig.from_mapping(candidate["config"]), seed=seed)
    epochs = len(packed["history"])
    about = {
        "seeds": [r["seed"] for r in finished],
        "val_accs": [r["val_acc"] for r in finished],
        "level": found["level"],
        "tied_with": [t for t in found["ties"] if t != trial],
        "why": found["why"],
    }
    return Chosen(
        what=f"trial {trial} seed {seed}",
        config=config,
        weights=confirmed_file(trial, seed),
        rows=packed["history"],
        stop_after=epochs if epochs < config.epochs else None,
        confirmed={k: candidate[k] for k in CONFIRMED_FACTS} | about,
    )


def _weights_of(run: RunFolder, chosen: Chosen, facts: dict[str, Any]) -> dict[str, Any]:
    if not run.exists(chosen.weights):
        command = train_command(
            chosen.config,
            read_record(DataFacts, facts["data"]),
            read_record(RuntimeFacts, facts["runtime"]),
            chosen.stop_after,
        )
        rule = f"is not there; this makes it again: {command}"
        raise InputError("run", run.file(chosen.weights), rule)
    config, weights = run_weights(run, chosen.weights)
    if config != chosen.config:
        raise InputError(
            "run", run.file(chosen.weights), f"is of {config.label}, not {chosen.what}"
        )
    return weights
