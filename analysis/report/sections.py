"""The sections of a report's page. Every text of a run is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from analysis.report.compression_front import BATCH, on_front
from analysis.report.contents import ReportContents
from analysis.report.html import figure_of, none_because, table_of
from analysis.report.render_document import LAST_ANSWERS, answers_as_html
from analysis.report.summary_md import begun_from, commands, over_seeds
from analysis.winner.pareto import KINDS
from analysis.winner.test_looks import looks_in_words
from vgg6.common.intervals import wilson
from vgg6.tuning.run.records import confirmed_winner

Part = tuple[str, str, str]


def of(found: ReportContents) -> list[Part]:
    """The sections of the page: id, title and HTML; with the study's answers, these go first and
    have the sections that their third is about between them."""
    parts = _parts(found)
    if found.study is None:
        return parts
    ids = [name for name, _, _ in parts]
    cut = ids.index("curves-all") + 1
    asked = answers_as_html(found.study.answers, lambda name: figure_of(found, name), table_of)
    before = [part for part in asked if part[0] not in LAST_ANSWERS]
    after = [part for part in asked if part[0] in LAST_ANSWERS]
    return [parts[0], *before, *parts[1:cut], *after, *parts[cut:]]


def _parts(found: ReportContents) -> list[Part]:
    return [
        ("result", "Result", _result(found)),
        ("space", "The search", _space(found)),
        ("curves-all", "Learning curves", _curves(found)),
        ("mattered", "What mattered", _mattered(found)),
        ("stopping", "Early stopping", _stopping(found)),
        (
            "use",
            "Use of the cluster",
            figure_of(found, "cluster") or none_because("no epoch has ended yet"),
        ),
        ("wrong", "What it gets wrong", _wrong(found)),
        ("smaller", "Smaller networks", _smaller(found)),
        ("commands", "Commands", _commands(found)),
    ]


def _result(found: ReportContents) -> str:
    best = found.best
    if best is None:
        reasons = [t.reason for t in found.history.trials.values() if t.reason]
        why = f" The first reason given: {escape(reasons[0])}" if reasons else ""
        return none_because(f"no trial has a validation score yet.{why}")
    tiles = [(_short(best["winner"]["label"]), f"trial {best['winner']['trial']}, the winner")]
    confirmed, images = best["confirmation"], found.facts["data"]["val_images"]
    if confirmed:
        row = confirmed_winner(confirmed)
        tiles.append((f"{row['mean']:.4f}", over_seeds(row)))
        tiles.append(
            (
                f"{row['search_score']:.4f}",
                f"its score in the search, an optimism of {row['optimism']:+.4f}",
            )
        )
    else:
        score = best["winner"]["best_val_acc"]
        known = wilson(score, images)
        tiles.append((f"{score:.4f}", "best single validation score, and so optimistic"))
        tiles.append(
            (f"{known['low']:.3f} to {known['high']:.3f}",
             f"95 % of chance in {images:,} validation images alone")
        )  # fmt: skip
    if test := best["test"]:
        tiles.append((f"{test['accuracy']:.4f}", f"on {test['images']:,} test images, once chosen"))
    saved = found.insights["saved"]
    tiles.append((f"{saved['share']:.0%}", f"of {saved['epochs_full']:,} epochs not needed"))
    html = '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>'
        for value, text in tiles
    )
    html += "</div>"
    if confirmed:
        html += f'<p class="note">{escape(confirmed["why"])}.</p>'
        html += figure_of(found, "confirmation")
        html += table_of(
            ("trial", "configuration", "search", "seeds", "mean", "95 % interval", ""),
            [_candidate(row, confirmed["winner"]) for row in confirmed["candidates"]], "0 2 3 4",
        )  # fmt: skip
    else:
        html += (
            '<p class="note">Not confirmed: the highest of many noisy scores is too good to be'
            " true. <code>best NAME --confirm 3</code> trains the best again over fresh seeds.</p>"
        )
    count = len(found.test_looks)
    if count:
        html += f"<p>Test images: {escape(looks_in_words(count))}.</p>"
    settings = "".join(
        f"<div><dt>{k}</dt><dd>{escape(str(v))}</dd></div>"
        for k, v in best["winner"]["config"].items()
        if v is not None
    )
    html += f"<h3>The winner's configuration</h3><dl>{settings}</dl>"
    html += figure_of(found, "pareto")
    for kind in KINDS:
        rows = [
            (r[kind], f"{r['best_val_acc']:.4f}", r["trial"], r["label"], r["trials"])
            for r in best[f"best_by_{kind}"]
        ]
        html += f"<h3>Best of each {kind}</h3>" + table_of(
            (kind, "val_acc", "trial", "configuration", "trials"), rows, "1 2 4"
        )
    return html


def _candidate(row: dict[str, Any], winner: int) -> tuple[Any, ...]:
    verdict = "tied" if row["tied"] else "behind"
    if row["eliminated_after"]:
        verdict = "dropped"
    if row["trial"] == winner:
        verdict = "winner"
    interval = "" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"
    mean = "" if row["mean"] is None else f"{row['mean']:.4f}"
    search = f"{row['search_score']:.4f}"
    return row["trial"], row["label"], search, len(row["runs"]), mean, interval, verdict


def _space(found: ReportContents) -> str:
    begin = "".join(f"<p>Begun from {escape(line)}.</p>" for line in begun_from(found))
    if "parallel" not in found.figures:
        return begin + none_because("no epoch has ended yet")
    ranked = [
        (n, t.number, row["label"], f"{t.best_val_acc:.4f}", t.epoch, t.state)
        for n, (t, row) in enumerate(
            ((t, found.trials[found.trials.trial == t.number].iloc[0]) for t in _top(found)), 1
        )
    ]
    return (
        f"{begin}<p>Drag along an axis to mark a range: only trials that pass every mark stay.</p>"
        '<div class="brushed"><span id="brushed" role="status"></span>'
        '<button type="button" id="unbrush">Clear all marks</button></div>'
        f'<p id="brushed-list"></p>{figure_of(found, "parallel")}{figure_of(found, "progress")}'
        "<details><summary>The best trials as a table</summary>"
        + table_of(
            ("rank", "trial", "configuration", "val_acc", "epochs", "ended"), ranked, "0 1 3 4"
        )
        + "</details>"
    )


def _top(found: ReportContents) -> list[Any]:
    return found.history.ranking(25)


def _curves(found: ReportContents) -> str:
    if not len(found.table):
        return none_because("no epoch has ended yet")
    boxes = ""
    for kind in KINDS:
        values = sorted(found.table[kind].unique())
        inputs = "".join(
            f'<label><input type="checkbox" checked data-kind="{kind}" id="{kind}-{escape(v)}"'
            f' value="{escape(v)}">{escape(v)}</label>'
            for v in values
        )
        boxes += (
            f'<fieldset><legend>{kind}</legend>{inputs}<button type="button" data-all="{kind}">'
            "all or none</button></fieldset>"
        )
    return boxes + "".join(
        figure_of(found, name) for name in ("curves", "by_activation", "by_optimizer")
    )


def _mattered(found: ReportContents) -> str:
    mattered, notes = found.insights, found.insights["notes"]
    html = ""
    if weights := mattered["importance"]:
        left = f" Left out: {', '.join(weights['left_out'])}." if weights["left_out"] else ""
        html += (
            f"{figure_of(found, 'importance')}<p>{escape(weights['evaluator'])} over"
            f" {weights['trials']} trials: {escape(notes['importance'] + '.' + left)}</p>"
        )
    else:
        html += none_because(f"importance {notes['importance']}")
    html += f"{figure_of(found, 'interaction')}<p>Learning rate and optimizer:"
    html += f" {escape(notes['interaction'])}."
    if (cells := mattered["interaction"]) and cells["strength"] is not None:
        html += (
            f" Their interaction explains {cells['strength']:.0%} of the variance"
            f" (p {cells['p']:.2g})."
        )
    html += "</p>"
    for kind, rows in mattered["effects"].items():
        few = [str(r["value"]) for r in rows if r["difference"] is None]
        text = f"Effect of the {kind}: {notes[kind]}."
        if few:
            text += f" Too few matched pairs: {', '.join(few)}."
        html += f"{figure_of(found, f'effect_{kind}')}<p>{escape(text)}</p>"
    return html


def _stopping(found: ReportContents) -> str:
    saved, bad = found.insights["saved"], found.insights["infeasible"]
    html = (
        f"<p>{saved['epochs_run']:,} epochs were run. Had every trial gone full length it would"
        f" have been {saved['epochs_full']:,}: {saved['share']:.0%} saved, about"
        f" {saved['seconds_saved'] / 60:,.0f} minutes of training.</p>"
    )
    if figure := figure_of(found, "rungs"):
        html += figure + "<p>First points that are trained whole are in no rung.</p>"
    html += f"<p>{bad['count']} of {len(found.trials)} trials diverged ({bad['share']:.0%}).</p>"
    if bad["reasons"]:
        rows = [(r["reason"], r["count"]) for r in bad["reasons"]]
        html += table_of(("reason", "trials"), rows, "1")
    return html


def _wrong(found: ReportContents) -> str:
    examples = found.mistakes
    if "missing" in examples:
        return none_because(f"not shown: {examples['missing']}")
    images = "".join(
        f'<figure><img src="{e["image"]}" alt="a {escape(e["true"])} taken for a'
        f' {escape(e["predicted"])}" loading="lazy"><figcaption>{escape(e["true"])} taken for'
        f" <b>{escape(e['predicted'])}</b> ({e['probability']:.0%})</figcaption></figure>"
        for e in examples["wrong"]
    )
    return (
        f"<p>{escape(examples['what'])} on {examples['images']:,} validation images. No test image"
        f" is shown here.</p>{figure_of(found, 'confusion')}<h3>Its surest mistakes</h3>"
        f'<div class="gallery">{images}</div>'
    )


def _smaller(found: ReportContents) -> str:
    rows = found.compressed
    if not rows:
        return none_because(
            "the winner has not been compressed: `compress RUN/best --method int8` does it"
        )
    front = {row["name"] for row in on_front(rows)}
    cells = [
        (
            row["name"],
            *(f"{v:.{n}f}" for v, n in ((row["accuracy"], 4), (row["bytes"] / 1e6, 2))),
            f"{row['flops'] / 1e6:.0f}",
            *(f"{row['speed'][batch]['ratio']:.2f}" for batch in (1, BATCH)),
            "no other beats it" if row["name"] in front else "",
        )
        for row in rows
    ]
    return (
        f"{figure_of(found, 'compression')}<p>Accuracy on the validation images by onnxruntime;"
        " lines are 95 % of chance in so many images. Speed is against the winner as it was"
        " trained, in fp32 in onnxruntime too; each was timed in a run of its own.</p>"
    ) + table_of(
        ("network", "val_acc", "MB", "MFLOP", "speed, 1 image", f"speed, {BATCH}", ""),
        cells, "1 2 3 4 5",
    )  # fmt: skip


def _commands(found: ReportContents) -> str:
    return "".join(
        f"<h3>{words}</h3><pre><code>{escape(command)}</code></pre>"
        for words, command in commands(found)
    )


def _short(label: str) -> str:
    """The first two words of a label, its activation and optimizer, for a headline."""
    return " ".join(label.split("_")[:2])
