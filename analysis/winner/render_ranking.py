"""What came of a search, for a person: the winner, its curve and the ranking."""

from __future__ import annotations

from rich.table import Table

from analysis.confirmation.confirmed_result import confirmed_result, verdict
from analysis.winner.looks_at_test_set import looks_in_words
from analysis.winner.pareto import TrialCost
from analysis.winner.ranking import Summary, best_mean, data_title, states_in_words
from vgg6.common.numbers_in_words import counted, interval_in_words, score_in_words
from vgg6.common.plain_text import PlainText
from vgg6.metric import Metric
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.trials import INFEASIBLE

AT_CHANCE = """\
No trial beat chance: guessing {guessing}, and the {best_of} of {scores} is
{best:.4f}. What follows ranks noise. Try one of these:
  - more epochs: without normalisation a network stays at chance for its first few hundred steps
  - a space that varies the initialisation and the normalisation, such as `wide`
  - lower learning rates{diverged}
"""
BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 60
TEXT_WIDTH, TABLE_WIDTH = 100, 200  # a table is never wrapped, nor a name in it cut


def render(found: Summary) -> str:
    """What won, how good it is or looks, and how to run it again."""
    out, wide = PlainText(TEXT_WIDTH, markup=False), PlainText(TABLE_WIDTH, markup=False)
    wide.file = out.file
    winner, best, confirmed = found.winner, found.winner.in_search, found.confirmation
    metric = found.measure
    name = data_title(found.data)
    state = "" if found.complete else ", not complete"
    counts = states_in_words(found.trials)
    out.print(
        f"{found.search} on {name}{state}: {counts}; {counted(found.epochs_run, 'epoch')} run\n"
    )
    if found.extensions or found.outdated:
        for line in found.extensions:
            out.print(line.capitalize())
        if found.outdated:
            out.print(f"Confirm again: {found.outdated}")
        out.print()
    if not found.beats_chance:
        out.print(_at_chance(found))
    out.print(f"Best on {name}: trial {best.trial}, {best.label}")
    if confirmed:
        result = confirmed_result(confirmed.chosen)
        out.print(f"  {metric.column} {result.mean}: the {result.over}\n  {result.in_search}")
    else:
        out.print(
            f"  {metric.column} {best.score:.4f} at epoch {best.best_epoch}: the best single"
            f" validation score of {found.trials_scored}, and so optimistic"
        )
        if not metric.is_accuracy:
            out.print(
                f"  val_acc {best.best_val_acc:.4f} in that epoch, by which nothing was chosen"
            )
    settings = [f"{k} {v}" for k, v in winner.config.to_dict().items() if v is not None]
    for start in range(0, len(settings), 5):
        out.print("  " + ", ".join(settings[start : start + 5]))
    if found.limits:
        out.print(f"  the best of networks of {' and '.join(found.limits)}")
    scores, column = [metric.of(row) for row in winner.curve], metric.column
    out.print(f"  {column} by epoch {sparkline(scores)} {scores[0]:.3f} to {scores[-1]:.3f}\n")
    if confirmed:
        wide.print(_confirmed_table(confirmed, metric))
        out.print(f"{confirmed.why}\n")
        if found.unconfirmed:
            names = ", ".join(map(str, found.unconfirmed))
            out.print(f"Since then trial {names} came among the best: confirm again.\n")
    if tested := found.test:
        accuracy = score_in_words(tested.accuracy, tested.low, tested.high)
        out.print(
            f"Test accuracy of the run in the middle: {accuracy}{tested.by(metric)} on"
            f" {tested.images:,} images;\n{looks_in_words(tested.looks)}\n"
        )
    table = Table(
        "rank", "trial", "configuration", metric.column, "epoch", "epochs", "ended", box=None
    )
    for place, row in enumerate(found.ranking, start=1):
        table.add_row(
            str(place), str(row.trial), row.label, f"{row.score:.4f}", str(row.best_epoch),
            str(row.epochs_run), row.state,
        )  # fmt: skip
    wide.print(table)
    for kind, values in found.best_by.items():
        each = (f"{best.value} {best.best.score:.4f} ({_length(best.best)})" for best in values)
        of = "" if metric.is_accuracy else f", its {metric.label}"
        out.print(f"\nBest by {kind}{of}, and the epochs of that trial: {', '.join(each)}")
    best_ones = "the most accurate" if metric.is_accuracy else f"the best by {metric.label}"
    out.print(
        f"\nOf completed trials, {best_ones} for their training time and size (Pareto front):"
    )
    if not found.pareto:
        out.print("  none: no trial was completed")
    for cost in found.pareto:
        out.print(
            f"  trial {cost.trial}, {cost.label}: {metric.column} {cost.score:.4f},"
            f" {cost.seconds:.0f} s, {cost.parameters:,} parameters"
        )
    if found.size_front:
        out.print(f"\nOf completed trials, {best_ones} for their size:")
    for sized in found.size_front:
        out.print(f"  trial {sized.trial}, {sized.label}: {sized.score:.4f}, {sized.words}")
        if sized.seeds:
            out.print(f"    {sized.confirmed_in_words}\n    {sized.time_in_words}")
    out.print("\nTo train it again:")
    out.file.write(f"  {winner.train_command}\n")  # never wrapped: it is there to be copied
    return "\n".join(line.rstrip() for line in out.text.splitlines()) + "\n"


def _at_chance(found: Summary) -> str:
    best, of = found.ranking[0].score, counted(found.epochs_run, "score")
    if found.confirmation:
        best, means = best_mean(found.confirmation)
        of = f"{counted(means, 'mean')} over fresh seeds"
    lost, trials = found.trials.get(INFEASIBLE, 0), counted(sum(found.trials.values()), "trial")
    diverged = f": {lost} of {trials} diverged" if lost else ""
    metric, guessing = found.measure, f"is right once in {found.classes}"
    if metric.balanced:
        guessing += " whatever the sizes of the classes"
    elif metric.lower_is_better:
        guessing = f"has a {metric.label} of {metric.chance(found.classes):.4f}"
    return AT_CHANCE.format(
        guessing=guessing, best_of="lowest" if metric.lower_is_better else "highest", scores=of,
        best=best, diverged=diverged,
    )  # fmt: skip


def _length(cost: TrialCost) -> str:
    if cost.epochs_run == cost.epochs:
        return str(cost.epochs)
    return f"{cost.epochs_run} of {cost.epochs}"


def _confirmed_table(confirmed: Confirmation, metric: Metric) -> Table:
    of = "" if metric.is_accuracy else f" {metric.column}"
    table = Table(
        "trial",
        "configuration",
        "search",
        "seeds",
        f"mean{of}",
        "95 % interval",
        "to the winner",
        box=None,
    )
    for row in confirmed.candidates:
        table.add_row(
            str(row.trial), row.label, f"{row.search_score:.4f}", str(len(row.runs)),
            "-" if row.mean is None else f"{row.mean:.4f}",
            interval_in_words(row.low, row.high) or "-", verdict(row, confirmed.winner),
        )  # fmt: skip
    return table


def sparkline(values: list[float], width: int = CURVE_WIDTH) -> str:
    """Values as a row of bars between their least and their greatest.

    More than ``width`` values are thinned evenly; the first and the last always stay.
    """
    if len(values) > width:
        values = [values[i * (len(values) - 1) // (width - 1)] for i in range(width)]
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((v - low) * scale)] for v in values)
