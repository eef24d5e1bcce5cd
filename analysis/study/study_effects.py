"""The study's second question: what the activation, the optimizer and the other settings change.

Every text follows from the comparisons of a search's trials, whatever the search. Where too few of
them match, the text says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.effects import effect
from analysis.insights.comparable_scores import common_epoch, scores_at
from analysis.insights.matched_pairs import MIN_PAIRS, Effect
from analysis.results.table_files import SearchTables
from analysis.study.answer_parts import Answer, Block, Figure, Heading, Table, Text
from analysis.study.comparisons import (
    HEAD,
    WORDS,
    Comparison,
    compare,
    drawable,
    headline,
    rows_of,
    sentences,
)
from analysis.study.measures import (
    LEAST_EPOCHS,
    Measure,
    accuracy,
    at_chance,
    epochs_to,
    speed,
    unsteadiness,
)
from vgg6.common.intervals import MeanInterval, student
from vgg6.task import STUDY
from vgg6.tuning.run.trials import FAILED, INFEASIBLE, PRUNED

MORE_PAIRS = (
    "A search of the whole space study_grid that stops no trial early has the most matched pairs"
)
Figures = dict[str, go.Figure]


class Effects:
    """The answers about one search, or several merged ones. ``figures`` fills as they are given.

    Args:
        train_images: that a trial was trained on. images: validation images behind a score.
        classes: of these images.
    """

    def __init__(
        self, tables: SearchTables, train_images: int, images: int, classes: int = STUDY.classes
    ) -> None:
        self.tables, self.train_images, self.images = tables, train_images, images
        self.stuck = at_chance(tables, images, classes)
        self.epoch = common_epoch(tables)
        self.longest = int(tables.epochs.epoch.max()) if len(tables.epochs) else 0
        self.figures: Figures = {}

    def answers(self) -> list[Answer]:
        return [self.activation(), self.optimizer(), self.settings()]

    def activation(self) -> Answer:
        answer = Answer(
            "study-2a", "2a Activation", "What does the activation change?", self._about()
        )
        answer.blocks += self._accuracy(("activation",), "study_activation")
        return answer

    def optimizer(self) -> Answer:
        answer = Answer(
            "study-2b", "2b Optimizer",
            "What does the optimizer change in convergence and stability?", self._about(),
        )  # fmt: skip
        answer.blocks += self._accuracy(("optimizer",), "study_optimizer")
        answer.blocks += self._each_optimizer()
        if self.epoch < LEAST_EPOCHS:
            why = (
                f"Convergence and stability need {LEAST_EPOCHS} epochs that nearly all scored"
                f" trials have run; here these are {self.epoch}. A search that stops no trial early"
                " has them all."
            )
            answer.blocks.append(Text(why, note=True))
            return answer
        stuck = self.stuck
        for title, measure, name in (
            ("Convergence", speed(self.tables, self.epoch), "study_speed"),
            ("Stability", unsteadiness(self.tables, self.epoch, stuck), "study_stability"),
        ):
            found, close = compare(self.tables, ("optimizer",), measure)
            answer.blocks += [Heading(title), *self._compared(found, close, measure, name)]
        if stuck:
            why = (
                f"{len(stuck)} that stayed at chance are in no pair: standing still is not steady."
            )
            answer.blocks.append(Text(why, note=True))
        return answer

    def settings(self) -> Answer:
        answer = Answer(
            "study-2c", "2c Settings", "What do batch size, epochs and learning rate change?",
            self._about(),
        )  # fmt: skip
        short = []
        for name in ("batch_size", "lr"):
            answer.blocks.append(Heading(WORDS[name].capitalize()))
            answer.blocks += self._accuracy((name,), f"study_{name}")
            found, _ = compare(self.tables, (name,), accuracy(self.tables, self.epoch))
            if found and not any(c.low is not None for c in found):
                short.append(name)
        if short:
            answer.blocks += self._together(short)
        answer.blocks += [Heading("Epochs"), *self._lengths()]
        return answer

    def _about(self) -> list[Block]:
        failed = self.tables.trials[self.tables.trials.state.isin((INFEASIBLE, FAILED))]
        text = (
            f"Compared at epoch {self.epoch}, the last that nearly all trials with a score came to:"
            f" {len(scores_at(self.tables, self.epoch))} of {len(self.tables.trials)} trials, each"
            f" on {self.train_images:,} training images."
        )
        if len(failed):
            text += f" {len(failed)} diverged or crashed and are in no pair past that point."
        if self.tables.follows:
            text += " The searcher left what had done badly, so the intervals are rather too short."
        return [Text(text)]

    def _accuracy(self, factors: tuple[str, ...], name: str) -> list[Block]:
        """Comparisons at the common epoch; and at the last one, of the trials that were to go so
        far, if no scheduler chose them."""
        measure = accuracy(self.tables, self.epoch)
        found, close = compare(self.tables, factors, measure)
        blocks = self._compared(found, close, measure, name)
        pruned = (self.tables.trials.state == PRUNED).any()
        if found and self.longest > self.epoch and not pruned:
            last = accuracy(self.tables, self.longest)
            later, _ = compare(self.tables, factors, last)
            if any(c.low is not None for c in later):
                words = (
                    f"At epoch {self.longest}, among the trials that long: {headline(later, last)}."
                )
                blocks.append(Text(" ".join([words, *sentences(later, last)])))
        return blocks

    def _compared(
        self, found: Sequence[Comparison], close: str, measure: Measure, name: str
    ) -> list[Block]:
        if not found:
            return [Text(f"Cannot be asked of this search: {close}.", note=True)]
        answer = f"{headline(found, measure)}."
        blocks: list[Block] = [Text(answer[0].upper() + answer[1:])]
        if rows := drawable(found):
            self.figures[name] = effect(rows, measure.axis)
            blocks.append(Figure(name))
        else:
            blocks = [Text(f"{answer[0].upper()}{answer[1:]} {MORE_PAIRS}.", note=True)]
        said = " ".join(sentences(found, measure))
        blocks.append(Text(f"Pairs of trials that {close}. {said}"))
        if table := rows_of(found):
            blocks.append(Table(HEAD, table, "2 3 4"))
        return blocks

    def _each_optimizer(self) -> list[Block]:
        """How the trials of each optimizer did, unmatched."""
        if not self.epoch:
            return []
        first, needed = epochs_to(self.tables, self.epoch)
        chance = self.stuck
        scores = scores_at(self.tables, self.epoch)
        rows, dead = [], []
        for optimizer, own in self.tables.trials.groupby("optimizer"):
            numbers = own.trial.astype(int)
            came = first.reindex(numbers).dropna()
            lost, stuck = int((own.state == INFEASIBLE).sum()), len(chance & set(numbers))
            if lost or stuck:
                dead.append(f"{optimizer} {lost + stuck} of {len(own)}")
            middle = scores.reindex(numbers).median()
            rows.append(
                (optimizer, len(own), lost, stuck, "" if pd.isna(middle) else f"{middle:.4f}",
                 f"{len(came)} of {len(own)}", f"{came.median():g}" if len(came) else "never")
            )  # fmt: skip
        head = ("optimizer", "trials", "diverged", "at chance", "median score",
                f"came to {needed:.3f}", "after epochs (median)")  # fmt: skip
        failed = f"Trials that diverged or stayed at chance: {', '.join(dead)}." if dead else (
            "No trial diverged, and none stayed at chance."
        )  # fmt: skip
        return [
            Text(f"All trials of each optimizer, unmatched. {failed}"),
            Table(head, rows, "1 2 3 4 5 6"),
        ]

    def _together(self, short: Sequence[str]) -> list[Block]:
        """Where neither of two settings can be compared alone: both at once."""
        measure = accuracy(self.tables, self.epoch)
        found, close = compare(self.tables, ("lr", "batch_size"), measure)
        words = " or the ".join(WORDS[name] for name in short)
        if not any(c.low is not None for c in found):
            return []
        why = (
            f"Too few pairs differ in the {words} alone. These differ in both settings at once, and"
            " which of the two makes the difference cannot be told from them."
        )
        blocks: list[Block] = [
            Heading("Learning rate and batch size together"),
            Text(why, note=True),
        ]
        return blocks + self._compared(found, close, measure, "study_together")

    def _lengths(self) -> list[Block]:
        """What more epochs bring. A run with a constant rate has every shorter one as its start, so
        each run is its own pair."""
        stuck = self.stuck
        able = self.tables.trials[~self.tables.trials.trial.isin(stuck)]
        trials = able[able.schedule == "constant"]
        table = self.tables.epochs[self.tables.epochs.trial.isin(trials.trial)]
        lengths = _lengths_of(trials, table)
        if len(lengths) < 2:
            why = "it needs trials above chance, with a constant learning rate and 3 epochs or more"
            return [Text(f"Cannot be asked of this search: {why}.", note=True)]
        blocks: list[Block] = [
            Text(
                f"With a constant learning rate a run of {lengths[-1]} epochs begins with that of"
                f" {lengths[0]}, number by number. So each run is compared with its own beginning;"
                f" {len(stuck)} that stayed at chance are left out."
            )
        ]
        rows, drawn = [], []
        for short, long in pairwise(lengths):
            gained = _change(table, "best_val_acc", short, long)
            # By a factor: the loss of a run that goes astray is thousands of another's.
            loss = _change(table.assign(val_loss=np.log(table.val_loss)), "val_loss", short, long)
            known, lost = (student(list(x), least=MIN_PAIRS) for x in (gained, loss))
            if known.low is None:
                words = f"only {len(gained)} trials ran {long} epochs, fewer than {MIN_PAIRS}"
                blocks.append(Text(f"From epoch {short} to {long}: {words}.", note=True))
                continue
            blocks.append(Text(_gain_in_words(short, long, known, lost)))
            name = f"{long} epochs"
            drawn.append(
                Effect(name, f"{short} epochs", known.mean, known.low, known.high, known.n)
            )
            rows.append((f"{short} to {long}", known.n, f"{known.mean:+.4f}",
                         f"{known.low:+.4f} to {known.high:+.4f}",
                         *_factor(lost)))  # fmt: skip
        if drawn:
            self.figures["study_epochs"] = effect(drawn, "gain of accuracy")
            head = ("epochs", "runs", "best accuracy", "95 % interval", "validation loss, times",
                    "95 % interval")  # fmt: skip
            blocks += [Figure("study_epochs"), Table(head, rows, "1 2 3 4 5")]
        return blocks


def _lengths_of(trials: pd.DataFrame, table: pd.DataFrame) -> list[int]:
    """The lengths that trials were given; where all have one, its thirds."""
    longest = int(table.epoch.max()) if len(table) else 0
    given = sorted({int(e) for e in trials.epochs if e <= longest})
    if len(given) > 1 or longest < 3:
        return given
    return [round(longest / 3), round(2 * longest / 3), longest]


def _change(table: pd.DataFrame, column: str, short: int, long: int) -> np.ndarray:
    """How a metric of each trial changed between two epochs, of those that came to the later."""
    by_epoch = table.pivot(index="trial", columns="epoch", values=column)
    return (by_epoch[long] - by_epoch[short]).dropna().to_numpy(dtype=float)


def _gain_in_words(short: int, long: int, gain: MeanInterval, loss: MeanInterval) -> str:
    text = (
        f"From epoch {short} to {long} the best validation accuracy gains {gain.mean:.4f}"
        f" (95 % {gain.low:+.4f} to {gain.high:+.4f}; {gain.n} runs), "
    )
    per_epoch = gain.mean / (long - short)
    text += f"{per_epoch:.4f} an epoch. "
    span = "by a factor of {} ({})".format(*_factor(loss))
    if loss.low is not None and loss.low > 0:
        return f"{text}The validation loss rises meanwhile, {span}: the runs overfit."
    if loss.high is not None and loss.high < 0:
        return f"{text}The validation loss falls, {span}: they have not yet overfitted."
    return f"{text}The validation loss is not shown to change, {span}."


def _factor(logarithm: MeanInterval) -> tuple[str, str]:
    """A mean difference of logarithms as a factor, and its interval."""
    bounds = (logarithm.low or 0.0, logarithm.high or 0.0)
    mean, low, high = (f"{math.exp(x):.3f}" for x in (logarithm.mean, *bounds))
    return mean, f"{low} to {high}"
