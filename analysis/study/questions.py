"""The study's questions, answered from what a search has found: ``report RUN --study``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.learning_curves import curves, steps
from analysis.packages.comparison import first_difference
from analysis.packages.package_files import ENVIRONMENT, PACKED
from analysis.packages.train_command import train_command
from analysis.results.tables import Run
from analysis.study.answer import Answer, Block, Command, Figure, Heading, Table, Text
from analysis.study.merged_searches import Repeated, joined
from analysis.study.published_figures import against_the_study, twin
from analysis.study.study_effects import Effects
from analysis.winner.ranking import shown
from analysis.winner.retrained_trial import again_command, again_name, again_weights, read_again
from analysis.winner.test_looks import looks_in_words, recorded
from search_spaces.study import BASELINE
from vgg6.augment import PAD
from vgg6.common import old_schema as s
from vgg6.common.intervals import wilson
from vgg6.common.schema import read_record
from vgg6.config import TrialConfig
from vgg6.run_record import DataFacts, EpochMetrics, RuntimeFacts
from vgg6.tuning.run.folder import RunFolder, weights_file
from vgg6.tuning.run.journal import History, TrialRecord
from vgg6.tuning.run.records import confirmed_winner


@dataclass(frozen=True)
class AskedSearch:
    """The search that the questions are asked of.

    ``table``: one row a finished epoch; ``best``: what ``summary`` found, None without a score.
    """

    facts: dict[str, Any]
    history: History
    table: pd.DataFrame
    best: dict[str, Any] | None


@dataclass(frozen=True)
class Study:
    """The answers in their order, and the figures that they show and the report has not."""

    answers: list[Answer]
    figures: dict[str, go.Figure]


def study(run: RunFolder, found: AskedSearch, also: Sequence[RunFolder]) -> Study:
    """Answer the study's questions from a search, and the trials of others of the same images.

    Nothing is trained, and no test image is looked at: where an answer needs that, it gives the
    command.

    Raises:
        InputError: one of ``also`` had other images or another space; a package of the run is
            damaged.
    """
    own, repeated = joined(run, also)
    data = found.facts["data"]
    effects = Effects(own, data["train_images"], data["val_images"])
    first, figures = _baseline(run, found)
    answers = [first, *effects.answers(), _pictures(found), _best(run, found, own, repeated)]
    answers.append(_again(run, found))
    if len(found.table):
        figures["study_steps"] = steps(found.table, data["train_images"])
    return Study(answers, figures | effects.figures)


def _baseline(run: RunFolder, found: AskedSearch) -> tuple[Answer, dict[str, go.Figure]]:
    answer = Answer(
        "study-1", "1 Baseline",
        f"The baseline, {BASELINE.label}: its transforms, its curves and its test accuracy.",
    )  # fmt: skip
    facts = found.facts
    answer.blocks.append(Text(_transforms(facts["data"])))
    trial = twin(found.history, BASELINE, any_length=True)
    if trial is None:
        config = replace(BASELINE, epochs=facts["settings"].get("epochs", BASELINE.epochs))
        command = train_command(
            config,
            read_record(DataFacts, facts["data"]),
            read_record(RuntimeFacts, facts["runtime"]),
            None,
        )
        answer.blocks += [
            Text("No trial of this search is the baseline, so it has no curve here.", note=True),
            Command("Train it on the same images", command),
        ]
        return answer, {}
    known = wilson(trial.best_val_acc or 0.0, facts["data"]["val_images"])
    last = trial.rows[trial.epoch]
    said = (
        f"Trial {trial.number} is the baseline, trained for {trial.epoch} epochs. Its best"
        f" validation accuracy is {trial.best_val_acc:.4f} (95 % of chance in the images:"
        f" {known['low']:.4f} to {known['high']:.4f}), at epoch {last['best_epoch']}. It ended with"
        f" a training loss of {last['train_loss']:.4f}, a training accuracy of"
        f" {last['train_acc']:.4f}, a validation loss of {last['val_loss']:.4f} and a validation"
        f" accuracy of {last['val_acc']:.4f}. {_fit_in_words(trial)}"
    )
    if trial.epoch != BASELINE.epochs:
        said += f" In the study it ran {BASELINE.epochs} epochs."
    rows = found.table[found.table.trial == trial.number]
    answer.blocks += [Text(said), Figure("study_baseline"), *_test(run, found, trial)]
    return answer, {"study_baseline": curves(rows)}


def _transforms(data: dict[str, Any]) -> str:
    flip = "" if data["name"] == "digits" else ", half of them mirrored"
    mean, std = (
        ", ".join(f"{v:.4f}" for v in data[name]) if name in data else "not recorded"
        for name in ("mean", "std")
    )
    return (
        f"Training images are cropped at random to 32x32 from a border of {PAD} zeros{flip}, anew"
        " in each epoch; validation and test images are left as they are. All are normalised by the"
        f" mean ({mean}) and the standard deviation ({std}) of each channel. {shown(data['name'])}:"
        f" {data['train_images']:,} training and {data['val_images']:,} validation images, the"
        f" latter a stratified part fixed by the split seed {data['split_seed']}."
    )


def _fit_in_words(trial: TrialRecord) -> str:
    """Whether the validation loss has turned."""
    losses = {epoch: row["val_loss"] for epoch, row in trial.rows.items()}
    best = min(losses, key=lambda epoch: losses[epoch])
    rise = losses[trial.epoch] - losses[best]
    if best == trial.epoch:
        return "Its validation loss was still falling."
    return f"Its validation loss was least at epoch {best} and rose by {rise:.4f} after it."


def _test(run: RunFolder, found: AskedSearch, trial: TrialRecord) -> list[Block]:
    """Its test accuracy from the record of looks, or how to look, once."""
    number = trial.number
    tested = recorded(run, weights_file(number), f"trial {number}")
    tested = tested or recorded(run, again_weights(number), again_name(number))
    if tested:
        text = (
            f"Test accuracy {tested['accuracy']:.4f} (95 %: {tested['low']:.4f} to"
            f" {tested['high']:.4f}) on {tested['images']:,} test images, of the weights of its"
            f" best epoch on validation ({tested['what']}). No score chose it, the study's table"
            f" did; {looks_in_words(tested['looks'])}."
        )
        return [Text(text)]
    blocks: list[Block] = [
        Text(
            "Its test accuracy is not known: the test images are scored by `export` alone, which"
            " records every look. A report never scores them.",
            note=True,
        )
    ]
    if not run.exists(weights_file(number)) and read_again(run, trial, found.facts) is None:
        words = "The search kept the weights of its best trials only, so train it again"
        blocks.append(Command(words, again_command(run, trial, found.facts)))
    name = shlex.quote(found.facts["name"])
    command = f"python tune_vgg6.py export {name} --trial {number} --out baseline/"
    blocks.append(Command("Score the test images with it, once, and keep the record", command))
    return blocks


def _pictures(found: AskedSearch) -> Answer:
    answer = Answer(
        "study-3", "3 Pictures",
        "Parallel coordinates, validation accuracy against step, and the four curves.",
    )  # fmt: skip
    if not len(found.table):
        answer.blocks.append(Text("No epoch has ended yet.", note=True))
        return answer
    sizes = sorted({int(b) for b in found.table.batch_size})
    per_epoch = [-(-found.facts["data"]["train_images"] // size) for size in sizes]
    counts = ", ".join(f"{n} with batches of {b}" for n, b in zip(per_epoch, sizes, strict=True))
    answer.blocks += [
        Text(f"An epoch is so many optimizer steps: {counts}."),
        Figure("study_steps"),
        Text("The parallel coordinates and the four curves of every trial follow in the next two"
             " sections."),
    ]  # fmt: skip
    return answer


def _best(run: RunFolder, found: AskedSearch, own: Run, repeated: list[Repeated]) -> Answer:
    answer = Answer("study-4", "4 Best", "The best configuration, and its run again.")
    best, facts = found.best, found.facts
    if best is None:
        answer.blocks.append(Text("No trial has a validation score yet.", note=True))
        return answer
    winner = found.history.trials[best["winner"]["trial"]]
    label = best["winner"]["label"]
    name, images = shlex.quote(facts["name"]), facts["data"]["val_images"]
    known = wilson(winner.best_val_acc or 0.0, images)
    place = found.history.ranking().index(winner) + 1
    rank = "the highest" if place == 1 else f"number {place}"
    text = (
        f"{label} (trial {winner.number}), trained on {facts['data']['train_images']:,} images, has"
        f" {winner.best_val_acc:.4f} in the search, {rank} of"
        f" {best['trials_scored']} scores and so optimistic (95 % of chance in {images:,} images"
        f" alone: {known['low']:.4f} to {known['high']:.4f})."
    )
    answer.blocks.append(Text(text))
    if confirmed := best["confirmation"]:
        row = confirmed_winner(confirmed)
        span = "" if row["low"] is None else f" (95 %: {row['low']:.4f} to {row['high']:.4f})"
        change = f"{abs(row['optimism']):.4f} {'less' if row['optimism'] > 0 else 'more'}"
        answer.blocks.append(
            Text(
                f"Run again with {len(row['runs'])} fresh seeds it has {row['mean']:.4f} on average"
                f"{span}, {change} than in the search; {confirmed['why']}."
            )
        )
    else:
        words = "Run it again over fresh seeds, which has not been done"
        answer.blocks.append(Command(words, f"python tune_vgg6.py best {name} --confirm 3"))
    answer.blocks += _same_seed(run, found, winner)
    if repeated:
        same = sum(r.apart == 0 for r in repeated)
        apart = "; ".join(f"{r.label} by {r.apart:.4f}" for r in repeated if r.apart)
        answer.blocks.append(
            Text(
                f"{len(repeated)} configuration{'s' * (len(repeated) > 1)} ran in two of the"
                f" searches: {same} with the same validation accuracies to the last digit"
                + (f", others apart ({apart})." if apart else ".")
            )
        )
    answer.blocks += [
        Heading("Beside what the study wrote"),
        *against_the_study(found.history, facts["data"], own),
    ]
    return answer


def _same_seed(run: RunFolder, found: AskedSearch, winner: TrialRecord) -> list[Block]:
    """The winner's run with its own seed, repeated, where that was kept."""
    package = read_again(run, winner, found.facts)
    if package is None:
        words = "Run it again with its own seed, for the same numbers to the last bit"
        return [Command(words, again_command(run, winner, found.facts))]
    again = package.history
    first = first_difference([EpochMetrics(**row) for row in winner.results], again)
    if first is None:
        text = f"Run again with its own seed, all {len(again)} epochs have the same numbers."
    else:
        best = max(row.val_acc for row in again)
        text = (
            "Run again with its own seed it differs: another machine, thread count or precision"
            f" rounds differently. Its best validation accuracy is {best:.4f} there, and"
            f" {winner.best_val_acc:.4f} in the search."
        )
    return [Text(text)]


def _again(run: RunFolder, found: AskedSearch) -> Answer:
    answer = Answer("study-5", "5 To do it again", "Commands, environment, versions and seed.")
    facts = found.facts
    settings, runtime, data = facts["settings"], facts["runtime"], facts["data"]
    seeds = sorted({t.config["seed"] for t in found.history.trials.values()})
    rows = [
        ("seed of the searcher", settings.get("seed", 42)),
        ("seed of the trials", ", ".join(map(str, seeds[:5])) + ("..." if len(seeds) > 5 else "")),
        ("seed of the validation split", data["split_seed"]),
        ("images", f"{data['name']}, fingerprint {data['fingerprint']}"),
        *((key, str(runtime[key])) for key in ("device", "precision", "threads")),
        *([("GPUs", ", ".join(facts["gpus"]))] if "gpus" in facts else []),
        *((name, str(value)) for name, value in facts.get("versions", {}).items()),
    ]
    if run.exists(f"{PACKED}/{ENVIRONMENT}"):
        machine = run.read_json(f"{PACKED}/{ENVIRONMENT}")
        with s.located(f"{run.file(f'{PACKED}/{ENVIRONMENT}')}: "):
            s.mapping({"cpu": s.text, "os": s.text, "instructions": s.text})(s.TOP, machine)
        rows += [(f"{key} of the machine that packed", machine[key])
                 for key in ("cpu", "instructions", "os")]  # fmt: skip
    answer.blocks += [
        Table(("what", "value"), rows),
        Text("The same configuration gives the same numbers to the last bit on the same machine,"
             " thread count and precision. The commands:"),
        Command("The search", facts.get("command", "")),
    ]  # fmt: skip
    if found.best:
        winner = found.history.trials[found.best["winner"]["trial"]]
        config = TrialConfig.from_mapping(winner.config)
        answer.blocks.append(
            Command(
                "Its best configuration",
                train_command(
                    config, read_record(DataFacts, data), read_record(RuntimeFacts, runtime), None
                ),
            )
        )
    name = shlex.quote(facts["name"])
    answer.blocks += [
        Command("Pack the best, and score the test images once",
                f"python tune_vgg6.py export {name} --out packed/"),
        Command("Prove that the package re-runs", "python tune_vgg6.py verify packed/"),
        Command("This report", f"python tune_vgg6.py report {name} --study"),
    ]  # fmt: skip
    return answer
