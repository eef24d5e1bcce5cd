"""What was packed and what it scores, for a person."""

from __future__ import annotations

import textwrap

from analysis.packages.package_metrics import Interval, Metrics
from analysis.packages.package_writer import WrittenPackage
from vgg6.common.numbers_in_words import counted, score_in_words

WIDTH, INDENT = 100, 22


def render(found: WrittenPackage) -> str:
    """A line a fact."""
    metrics, measure = found.metrics, found.metrics.measure
    rows = [("packed", f"{metrics.packed} on {metrics.data}")]
    if metrics.score is not None:
        score = _score(metrics.score, metrics.score_interval)
        rows.append((measure.label, f"{score}, by which it was chosen"))
    accuracy = _score(metrics.val_acc, metrics.val_acc_interval)
    epoch = f"epoch {metrics.best_epoch} of {metrics.epochs_run}"
    rows.append(("validation accuracy", f"{accuracy}, of these weights at {epoch}"))
    if (confirmed := metrics.confirmed) and confirmed.mean is not None:
        seeds = counted(len(confirmed.seeds), "fresh seed")
        of = "" if measure.is_accuracy else f" of the {measure.label}"
        rows.append(("confirmed mean", f"{_score(confirmed.mean, confirmed)}, over {seeds}{of}"))
    rows.append(("test accuracy", _test_score(metrics)))
    rows += [(kept.kind, kept.words) for kept in metrics.limits or ()]
    rows += [(key, text) for key in ("note", "warning") if (text := getattr(metrics, key))]
    rows.append(("saved in", found.out))
    indent = max(INDENT, *(len(name) + 2 for name, _ in rows))
    return "\n".join(
        textwrap.fill(
            str(text), WIDTH, initial_indent=f"{name:<{indent}}", subsequent_indent=" " * indent,
            break_long_words=False, break_on_hyphens=False,
        )
        for name, text in rows
    )  # fmt: skip


def _test_score(metrics: Metrics) -> str:
    test = metrics.test
    if test is None or test.images is None:
        return "not known: the test images have not been scored"
    balanced = None if metrics.measure.is_accuracy else test.balanced_accuracy
    also = "" if balanced is None else f", balanced {balanced:.4f}"
    return f"{_score(test.accuracy, test)}{also}, on {counted(test.images, 'image')}; {test.note}"


def _score(value: float, interval: Interval | None) -> str:
    return score_in_words(value, interval.low, interval.high) if interval else f"{value:.4f}"
