"""The study's questions, answered from what a search has found: ``report RUN --study``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go

from analysis.confirmation.confirmed_result import confirmed_result
from analysis.figures.learning_curves import curves, steps
from analysis.packages.package_files import ENVIRONMENT, PACKED
from analysis.results.table_files import SearchTables
from analysis.study.answer_parts import Answer, Block, Command, Figure, Heading, Table, Text
from analysis.study.merged_searches import Repeated, merged
from analysis.study.published_figures import against_the_study, twin
from analysis.study.study_effects import Effects
from analysis.suggested_commands import SearchCommands, again, train_command, unused, verify_command
from analysis.verification.comparison import first_difference
from analysis.winner.looks_at_test_set import looks_in_words, recorded
from analysis.winner.ranking import data_title
from analysis.winner.retrained_trial import again_command, again_name, again_weights, read_again
from search_spaces.study import BASELINE
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.numbers_in_words import counted, interval_in_words
from vgg6.common.schema import Record, read_record
from vgg6.common.schema import Text as PlainText
from vgg6.run_record import DataFacts
from vgg6.task import border
from vgg6.tuning.run.folder import weights_file
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import TrialRecord


class _Machine(Record):
    """The machine that packed a winner."""

    cpu: PlainText
    instructions: PlainText
    os: PlainText


@dataclass(frozen=True)
class Study:
    """The answers in their order, and the figures that they show and the report has not."""

    answers: list[Answer]
    figures: dict[str, go.Figure]


def study(search: Search, tables: SearchTables, also: Sequence[Search]) -> Study:
    """Answer the study's questions from a search, and the trials of others of the same images.

    Nothing is trained, and no test image is looked at: where an answer needs that, it gives the
    command.

    Raises:
        InputError: the search, or one of ``also``, goes by another metric than accuracy; one of
            these had other images or another space; a package of the run is damaged.
    """
    check_metric(search)
    together, repeated = merged(search, tables, also)
    data = search.facts.data
    effects = Effects(together, data.train_images, data.val_images, data.task.classes)
    first, figures = _baseline(search, tables.epochs)
    answers = [first, *effects.answers(), _pictures(search, tables.epochs)]
    answers += [_best(search, together, repeated), _again(search, also)]
    if len(tables.epochs):
        figures["study_steps"] = steps(tables.epochs, data.train_images)
    return Study(answers, figures | effects.figures)


def check_metric(search: Search) -> None:
    """Raise InputError unless the search goes by accuracy, which the study's questions are of."""
    if not search.metric.is_accuracy:
        rule = f"is answered from accuracies, and {search.name} goes by {search.metric.name}"
        raise InputError("study", True, rule)


def _baseline(search: Search, epochs: pd.DataFrame) -> tuple[Answer, dict[str, go.Figure]]:
    answer = Answer(
        "study-1", "1 Baseline",
        f"The baseline, {BASELINE.label}: its transforms, its curves and its test accuracy.",
    )  # fmt: skip
    facts, history = search.facts, search.history
    answer.blocks.append(Text(_transforms(facts.data)))
    trial = twin(history, BASELINE, any_length=True)
    if trial is None:
        config = replace(BASELINE, epochs=facts.settings.epochs)
        command = train_command(config, facts.data, facts.runtime, None)
        answer.blocks += [
            Text("No trial of this search is the baseline, so it has no curve here.", note=True),
            Command("Train it on the same images", command),
        ]
        return answer, {}
    known = wilson(trial.best_val_acc or 0.0, facts.data.val_images)
    last = trial.rows[trial.epoch]
    said = (
        f"Trial {trial.number} is the baseline, trained for {counted(trial.epoch, 'epoch')}."
        f" Its best validation accuracy is {trial.best_val_acc:.4f} (95 % of chance in the images:"
        f" {interval_in_words(known['low'], known['high'])}), at epoch {last.best_epoch}. It ended"
        f" with a training loss of {last.train_loss:.4f}, a training accuracy of"
        f" {last.train_acc:.4f}, a validation loss of {last.val_loss:.4f} and a validation"
        f" accuracy of {last.val_acc:.4f}. {_fit_in_words(trial)}"
    )
    if trial.epoch != BASELINE.epochs:
        said += f" In the study it ran {BASELINE.epochs} epochs."
    rows = epochs[epochs.trial == trial.number]
    answer.blocks += [Text(said), Figure("study_baseline"), *_test(search, trial)]
    return answer, {"study_baseline": curves(rows)}


def _transforms(data: DataFacts) -> str:
    side = data.image_size
    flip = "" if data.name == "digits" else ", half of them mirrored"
    mean, std = (
        ", ".join(f"{v:.4f}" for v in colours) if colours else "not recorded"
        for colours in (data.mean, data.std)
    )
    return (
        f"Training images are cropped at random to {side}x{side} from a border of {border(side)}"
        f" zeros{flip}, anew in each epoch; validation and test images are left as they are. All"
        f" are normalised by the mean ({mean}) and the standard deviation ({std}) of each channel."
        f" {data_title(data.name)}: {data.train_images:,} training and {data.val_images:,}"
        f" validation images, the latter a stratified part fixed by the split seed"
        f" {data.split_seed}."
    )


def _fit_in_words(trial: TrialRecord) -> str:
    """Whether the validation loss has turned."""
    losses = {row.epoch: row.val_loss for row in trial.curve}
    best = min(losses, key=lambda epoch: losses[epoch])
    rise = losses[trial.epoch] - losses[best]
    if best == trial.epoch:
        return "Its validation loss was still falling."
    return f"Its validation loss was least at epoch {best} and rose by {rise:.4f} after it."


def _test(search: Search, trial: TrialRecord) -> list[Block]:
    """Its test accuracy from the record of looks, or how to look, once."""
    run, number = search.folder, trial.number
    tested = recorded(run, weights_file(number), f"trial {number}")
    tested = tested or recorded(run, again_weights(number), again_name(number))
    if tested:
        text = (
            f"Test accuracy {tested.accuracy:.4f} (95 % {tested.low:.4f} to"
            f" {tested.high:.4f}) on {tested.images:,} test images, of the weights of its"
            f" best epoch on validation ({tested.what}). No score chose it, the study's table"
            f" did; {looks_in_words(tested.looks)}."
        )
        return [Text(text)]
    blocks: list[Block] = [
        Text(
            "Its test accuracy is not known: the test images are scored by `export` alone, which"
            " records every look. A report never scores them.",
            note=True,
        )
    ]
    if not run.exists(weights_file(number)) and read_again(search, trial) is None:
        words = "The search kept the weights of its best trials only, so train it again"
        blocks.append(Command(words, again_command(search, trial)))
    command = SearchCommands(run).export(unused("baseline"), trial=number)
    blocks.append(Command("Score the test images with it, once, and keep the record", command))
    return blocks


def _pictures(search: Search, epochs: pd.DataFrame) -> Answer:
    answer = Answer(
        "study-3", "3 Pictures",
        "Parallel coordinates, validation accuracy against step, and the four curves.",
    )  # fmt: skip
    if not len(epochs):
        answer.blocks.append(Text("No epoch has ended yet.", note=True))
        return answer
    sizes = sorted({int(b) for b in epochs.batch_size})
    per_epoch = [-(-search.facts.data.train_images // size) for size in sizes]
    counts = ", ".join(f"{n} with batches of {b}" for n, b in zip(per_epoch, sizes, strict=True))
    answer.blocks += [
        Text(f"An epoch is so many optimizer steps: {counts}."),
        Figure("study_steps"),
        Text("The parallel coordinates and the four curves of every trial follow in the next two"
             " sections."),
    ]  # fmt: skip
    return answer


def _best(search: Search, tables: SearchTables, repeated: list[Repeated]) -> Answer:
    answer = Answer("study-4", "4 Best", "The best configuration, and its run again.")
    data, ranked = search.facts.data, search.history.ranking()
    if not ranked:
        answer.blocks.append(Text("No trial has a validation score yet.", note=True))
        return answer
    confirmed, winner = search.confirmation, search.winner or ranked[0]
    images = data.val_images
    known = wilson(winner.best_val_acc or 0.0, images)
    place = ranked.index(winner) + 1
    rank = "the highest" if place == 1 else f"number {place}"
    text = (
        f"{winner.config.label} (trial {winner.number}), trained on {data.train_images:,} images,"
        f" has {winner.best_val_acc:.4f} in the search, {rank} of"
        f" {counted(len(ranked), 'score')} and so optimistic (95 % of chance in {images:,} images"
        f" alone: {interval_in_words(known['low'], known['high'])})."
    )
    answer.blocks.append(Text(text))
    if confirmed:
        result = confirmed_result(confirmed.chosen)
        answer.blocks.append(Text(f"Run again it has {result}; {confirmed.why}."))
    else:
        words = "Run it again over fresh seeds, which has not been done"
        answer.blocks.append(Command(words, SearchCommands(search.folder).best("--confirm")))
    answer.blocks += _same_seed(search, winner)
    if repeated:
        same = sum(r.apart == 0 for r in repeated)
        apart = "; ".join(f"{r.label} by {r.apart:.4f}" for r in repeated if r.apart)
        answer.blocks.append(
            Text(
                f"{counted(len(repeated), 'configuration')} ran in two of the"
                f" searches: {same} with the same validation accuracies to the last digit"
                + (f", others apart ({apart})." if apart else ".")
            )
        )
    answer.blocks += [
        Heading("Beside what the study wrote"),
        *against_the_study(search, tables),
    ]
    return answer


def _same_seed(search: Search, winner: TrialRecord) -> list[Block]:
    """The winner's run with its own seed, repeated, where that was kept."""
    package = read_again(search, winner)
    if package is None:
        words = "Run it again with its own seed, for the same numbers to the last bit"
        return [Command(words, again_command(search, winner))]
    again = package.history
    first = first_difference(winner.results, again)
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


def _again(search: Search, also: Sequence[Search]) -> Answer:
    answer = Answer("study-5", "5 To do it again", "Commands, environment, versions and seed.")
    facts = search.facts
    run, runtime, data = search.folder, facts.runtime, facts.data
    seeds = sorted({trial.config.seed for trial in search.history.trials.values()})
    rows = [
        ("seed of the searcher", facts.settings.seed),
        ("seed of the trials", ", ".join(map(str, seeds[:5])) + ("..." if len(seeds) > 5 else "")),
        ("seed of the validation split", data.split_seed),
        ("images", f"{data.name}, fingerprint {data.fingerprint}"),
        *((key, str(value)) for key, value in runtime.to_dict().items()),
        *([("GPUs", ", ".join(facts.gpus))] if facts.gpus else []),
        *((name, str(value)) for name, value in facts.versions.items()),
    ]
    if run.exists(f"{PACKED}/{ENVIRONMENT}"):
        file = f"{PACKED}/{ENVIRONMENT}"
        machine = read_record(_Machine, run.read_json(file), f"{run.file(file)}: ")
        rows += [(f"{key} of the machine that packed", value)
                 for key, value in machine.to_dict().items()]  # fmt: skip
    answer.blocks += [
        Table(("what", "value"), rows),
        Text("The same configuration gives the same numbers to the last bit on the same machine,"
             " thread count and precision. The commands:"),
        Command("The search", again(facts.command)),
        *(Command("What extended it", again(one.command)) for one in facts.extensions),
    ]  # fmt: skip
    if winner := search.winner:
        command = train_command(winner.config, data, runtime, None)
        answer.blocks.append(Command("Its best configuration", command))
    commands, packed = SearchCommands(run), unused("packed")
    others = ["--also", *(other.folder.given for other in also)] if also else []
    answer.blocks += [
        Command("Pack the best, and score the test images once", commands.export(packed)),
        Command("Prove that the package re-runs", verify_command(packed)),
        Command("This report", commands.report("--study", *others)),
    ]  # fmt: skip
    return answer
