"""What was packed and what it scores, for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from analysis.packages.package_metrics import KeptLimit
from vgg6.common.numbers_in_words import counted, score_in_words
from vgg6.metric import metric_named

WIDTH, INDENT = 100, 22


def render(found: Mapping[str, Any]) -> str:
    """A line a fact. ``found``: what ``export_best`` returns."""
    chosen_by = []
    if "metric" in found:
        metric = metric_named(found["metric"])
        text = f"{_score(found['score'], found['score_interval'])}, by which it was chosen"
        chosen_by = [(metric.label, text)]
    rows = [
        ("packed", f"{found['packed']} on {found['data']}"),
        *chosen_by,
        ("validation accuracy", f"{_score(found['val_acc'], found['val_acc_interval'])}, of these"
         f" weights at epoch {found['best_epoch']} of {found['epochs_run']}"),
    ]  # fmt: skip
    if confirmed := found["confirmed"]:
        seeds = counted(len(confirmed["seeds"]), "fresh seed")
        of = f" of the {chosen_by[0][0]}" if chosen_by else ""
        rows.append(("confirmed mean", f"{_score(confirmed['mean'], confirmed)}, over {seeds}{of}"))
    if test := found.get("test"):
        images = counted(test["images"], "image")
        balanced = test.get("balanced_accuracy")
        also = f", balanced {balanced:.4f}" if chosen_by and balanced is not None else ""
        said = f"{_score(test['accuracy'], test)}{also}, on {images}; {test['note']}"
        rows.append(("test accuracy", said))
    else:
        rows.append(("test accuracy", "not known: the test images have not been scored"))
    rows += [
        (kept.kind, kept.words) for kept in (KeptLimit(**one) for one in found.get("limits") or ())
    ]
    rows += [(key, found[key]) for key in ("note", "warning") if found.get(key)]
    rows.append(("saved in", found["out"]))
    indent = max(INDENT, *(len(name) + 2 for name, _ in rows))
    return "\n".join(
        textwrap.fill(
            str(text), WIDTH, initial_indent=f"{name:<{indent}}", subsequent_indent=" " * indent,
            break_long_words=False, break_on_hyphens=False,
        )
        for name, text in rows
    )  # fmt: skip


def _score(value: float, interval: Mapping[str, Any] | None) -> str:
    known = interval or {}
    return score_in_words(value, known.get("low"), known.get("high"))
