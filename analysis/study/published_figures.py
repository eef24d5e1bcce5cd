"""What the study wrote, beside what a search of this project has found."""

from __future__ import annotations

import math
from dataclasses import replace

from analysis.results.table_files import SearchTables
from analysis.study.answer_parts import Block, Table, Text
from analysis.study.comparisons import listed
from search_spaces.study import RUNS
from search_spaces.study_sigmoide import MEANT, SIGMOIDE_RUNS, TRAINED
from vgg6.config import TrialConfig
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import Search
from vgg6.tuning.run.trials import TrialRecord

FULL = ("cifar10", 45_000)  # the data set and the training images that the study's figures are of
NAMES = {"best_val_acc": "best validation accuracy", "val_acc": "last validation accuracy",
         "val_loss": "last validation loss", "train_acc": "last training accuracy",
         "train_loss": "last training loss"}  # fmt: skip
Z = 1.96
NEAR = 0.05  # of the study's training accuracy and losses: no interval is known for these


def twin(history: History, config: TrialConfig, *, any_length: bool = False) -> TrialRecord | None:
    """The scored trial of that configuration; with ``any_length``, else one that differs in epochs
    and seed only, the longest."""
    able = history.ranking()
    exact = next((trial for trial in able if trial.config == config), None)
    if exact is not None or not any_length:
        return exact
    alike = [
        trial
        for trial in able
        if replace(trial.config, epochs=config.epochs, seed=config.seed) == config
    ]
    return max(alike, key=lambda t: t.epoch, default=None)


def against_the_study(search: Search, tables: SearchTables) -> list[Block]:
    """The study's own figures and its best beside this search's, and what 'sigmoide' was.

    Args:
        tables: of the search, or of it and others.
    """
    data, history = search.facts.data, search.history
    if (data.name, data.train_images) != FULL:
        return [
            Text(
                f"The study trained on all of CIFAR-10. This is {data.train_images:,} images of"
                f" {data.name}: no score here confirms or contradicts one of the study's.",
                note=True,
            ),
            *_sigmoide(tables),
        ]
    return [*_figures(history, data.val_images), *_best(history, data.val_images),
            *_sigmoide(tables)]  # fmt: skip


def chance_gap(first: float, second: float, images: int) -> float:
    """By how much two accuracies on ``images`` images each differ by chance, at most, in 95 of 100
    cases: the normal interval of two binomial shares, as if each had images of its own."""
    variance = first * (1 - first) + second * (1 - second)
    return Z * math.sqrt(variance / images)


def _figures(history: History, images: int) -> list[Block]:
    rows, contradicted, without = [], [], []
    for study_run in RUNS:
        if not study_run.figures:
            continue
        trial = twin(history, study_run.config)
        if trial is None:
            without.append(study_run.config.label)
            continue
        last = trial.rows[trial.epoch]
        for name, wrote in study_run.figures.items():
            here = getattr(last, name)
            counted = name.endswith("val_acc")
            allowed = chance_gap(wrote, here, images) if counted else NEAR
            agrees = abs(here - wrote) <= allowed
            rows.append((study_run.config.label, NAMES[name], f"{wrote:.4f}", f"{here:.4f}",
                         f"{here - wrote:+.4f}", f"{allowed:.4f}",
                         "agrees" if agrees else "contradicts"))  # fmt: skip
            if not agrees:
                contradicted.append(
                    f"the {NAMES[name]} of {study_run.config.label} is {here:.4f} here, and the"
                    f" study wrote {wrote:.4f}"
                )
    blocks: list[Block] = []
    if rows:
        verdict = (
            f"The study is contradicted: {'; '.join(contradicted)}." if contradicted else
            "Every figure that the study recorded is found again here, as near as is allowed for."
        )  # fmt: skip
        blocks = [
            Text(
                f"{verdict} Allowed for is what the choice of {images:,} validation images, here"
                f" and there, makes in 95 of 100 cases, and {NEAR:g} for training figures and"
                " losses, of which the study gave no spread. What another seed makes comes on top."
            ),
            Table(("run", "figure", "study", "here", "difference", "allowed", ""), rows, "2 3 4 5"),
        ]
    if without:
        words = "has no trial of the run that the study recorded figures of"
        blocks.append(Text(f"This search {words}: {listed(without)}.", note=True))
    return blocks


def _best(history: History, images: int) -> list[Block]:
    """Whether the study's best is the best here."""
    recorded = [run for run in RUNS if "best_val_acc" in run.figures]
    study_best = max(recorded, key=lambda run: run.figures["best_val_acc"])
    ranked = history.ranking()
    trial = twin(history, study_best.config)
    if trial is None or len(ranked) < 2:
        return []
    label, place = study_best.config.label, ranked.index(trial) + 1
    first, second = ranked[0], ranked[1]
    rival = second if trial is first else first
    assert trial.best_val_acc is not None and rival.best_val_acc is not None
    gap = trial.best_val_acc - rival.best_val_acc
    most = chance_gap(trial.best_val_acc, rival.best_val_acc, images)
    other = rival.config.label
    beyond = abs(gap) > most
    if trial is first:
        start = f"The study's best, {label}, is the best of {len(ranked)} here too"
        sure = "more than chance" if beyond else "which chance alone makes too"
        text = f"{start}, {gap:.4f} above {other}, {sure} ({most:.4f})."
    else:
        start = (
            f"The study wrote that {label} is the best. Here it is number {place} of {len(ranked)}:"
            f" {other} is {-gap:.4f} better ({rival.best_val_acc:.4f} against"
            f" {trial.best_val_acc:.4f})"
        )
        end = (
            "This contradicts the study" if beyond else
            "That is no more than chance makes of single scores, and does not contradict the study"
        )  # fmt: skip
        text = f"{start}. {end} ({most:.4f})."
    return [Text(text)]


def _sigmoide(tables: SearchTables) -> list[Block]:
    """The table's sigmoid rows beside the ReLU that the study trained in their place."""
    pairs: list[tuple[str, str, float, float]] = []
    meant = [r for r in RUNS if r.config.activation == MEANT]
    for wrote, trained in zip(meant, SIGMOIDE_RUNS, strict=True):
        a, b = (_score(tables, r.config) for r in (wrote, trained))
        if a is not None and b is not None:
            pairs.append((wrote.config.label, trained.config.label, a, b))
    head = (
        f"The study's table has {len(meant)} runs of '{MEANT}e'. Its program did not know that name"
        f" and trained {TRAINED} in silence, so the column says nothing about {MEANT}."
    )
    if not pairs:
        return [
            Text(
                f"{head} This search does not have both of any such run. A search of the space"
                " study_sigmoide has what was trained: name it beside this one.",
                note=True,
            )
        ]
    lower = sum(a < b for _, _, a, b in pairs)
    rows = [(w, f"{a:.4f}", t, f"{b:.4f}", f"{a - b:+.4f}") for w, t, a, b in pairs]
    means = (sum(p[2] for p in pairs) / len(pairs), sum(p[3] for p in pairs) / len(pairs))
    says = (
        f" Trained as the table says, {MEANT} has {means[0]:.4f} on average over {len(pairs)} of"
        f" them, and the {TRAINED} that was trained {means[1]:.4f}; {MEANT} is lower in {lower}."
    )
    return [
        Text(head + says),
        Table(
            ("as the table says", "best", "as it was trained", "best", "difference"), rows, "1 3 4"
        ),
    ]


def _score(tables: SearchTables, config: TrialConfig) -> float | None:
    """The best validation accuracy of a configuration, or None."""
    rows = tables.trials
    for name in ("activation", "optimizer", "lr", "batch_size", "epochs", "seed"):
        rows = rows[rows[name] == getattr(config, name)]
    scores = rows["best_val_acc"].dropna()
    return float(scores.iloc[0]) if len(scores) else None
