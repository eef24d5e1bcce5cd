"""Export: the winner of a search as a package that stands alone."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from analysis.packages.limit_check import check_limits
from analysis.packages.package_files import check_out
from analysis.packages.package_metrics import Metrics
from analysis.packages.package_schema import Package
from analysis.packages.package_writer import WrittenPackage, environment, write_package
from analysis.packages.scoring import recorded_runtime, score
from analysis.packages.weights import run_weights
from analysis.suggested_commands import train_command
from analysis.winner.chosen_run import Chosen, as_it_ran, choose, confirmed_run
from analysis.winner.looks_at_test_set import LookResult, looks_in_words, recorded
from analysis.winner.ranking import data_title
from analysis.winner.retrained_trial import (
    again_command,
    again_name,
    again_weights,
    read_again,
    scored_trial,
)
from analysis.winner.score_test_set import look
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.common.numbers_in_words import counted
from vgg6.common.schema import read_record
from vgg6.data import image_facts, load_recorded
from vgg6.network import Network
from vgg6.onnx_export.onnx_file import onnx_bytes
from vgg6.onnx_export.onnx_versions import LOWEST
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.search import Search

CONFIRMED_FACTS = ("mean", "sd", "low", "high", "search_score", "optimism", "tied")
UNCONFIRMED = (
    "the {label} is the {best} of {scores} and so optimistic: it has not been"
    " confirmed over fresh seeds"
)
NAMED = "packed because this trial was asked for by its number, whatever it scored"
CONFIRMED = (
    "the confirmed mean is what to expect of this configuration on the validation images; the"
    " {label} is this package's own run's, the one in the middle"
)


def export_best(
    search: Search,
    out: Path,
    *,
    trial: int | None = None,
    confirmed: Confirmation | None = None,
    look_at_test: bool = True,
    opset: int = LOWEST,
    demo: bool = False,
) -> WrittenPackage:
    """Pack the confirmed winner of a search, or the first of its ranking where none is confirmed;
    or the trial of that number; or the winner of another confirmation, such as one of a size.

    Its weights are scored on the test images once, ever: see score_test_set.py. Without
    ``look_at_test`` they are not scored, and a score is given only if there is one already.
    ``opset``: the version of ONNX's operators that ``model.onnx`` is written in;
    ``demo``: whether to write ``demo.html`` too.

    Raises:
        InputError: there is no winner, its weights or its data are not there, ``out`` is taken.
    """
    check_out(out)
    facts = search.facts
    if confirmed is not None:
        chosen = confirmed_run(confirmed)
    else:
        chosen = choose(search) if trial is None else _named(search, trial)
    weights = _weights_of(search, chosen)
    source, data = load_recorded(facts.data)
    metric = search.metric
    scored = score(chosen.config, weights, data.val, data, recorded_runtime(facts.runtime))
    last = chosen.rows[-1]
    best = max(chosen.rows, key=lambda row: metric.gain(metric.of(row)))
    val_acc, again = best.val_acc, scored.accuracy
    metrics: dict[str, Any] = {
        "data": data.name,
        "packed": chosen.what,
        "val_acc": val_acc,
        "val_acc_interval": wilson(val_acc, len(data.val)),
        "best_epoch": last.best_epoch,
        "epochs_run": len(chosen.rows),
        "final": {k: getattr(last, k) for k in ("train_loss", "train_acc", "val_loss", "val_acc")},
        "confirmed": chosen.confirmed and _confirmed_facts(chosen.confirmed),
    }
    if not metric.is_accuracy:
        value = metric.of(best)
        interval = metric.interval(value, facts.data.images_behind(metric))
        metrics |= {"metric": metric.name, "score": value, "score_interval": interval}
    if chosen.named:
        metrics["note"] = NAMED
    else:
        metrics["selected_from"] = scores = len(search.history.ranking())
        best_of = "lowest" if metric.lower_is_better else "highest"
        unconfirmed = UNCONFIRMED.format(
            label=metric.label, best=best_of, scores=counted(scores, "score")
        )
        of_mean = CONFIRMED.format(label=metric.label)
        metrics["note"] = of_mean if chosen.confirmed else unconfirmed
        if outdated := search.outdated_in_words:
            metrics["note"] += f"; {outdated}"
    if again != val_acc:
        metrics["val_acc_again"] = again
        of = "" if metric.is_accuracy else ", in accuracy"
        metrics["warning"] = (
            f"these weights score {again:.4f} on the validation images here, and scored"
            f" {val_acc:.4f} in the search{of}: another machine or thread count rounds differently"
        )
    tested = recorded(search.folder, chosen.weights)
    if look_at_test and tested is None:
        tested = look(search, chosen.weights, chosen.what)
    if tested is not None:
        metrics["test"] = asdict(tested) | {"note": looks_in_words(tested.looks)}
    images = facts.data.completed(image_facts(source))
    onnx = onnx_bytes(chosen.config, weights, images, opset)
    if facts.settings.limits:
        network = Network(
            chosen.config, weights, images.mean, images.std, recorded_runtime(facts.runtime)
        )
        kept = check_limits(facts.settings.limits, network, onnx, images, data.train.images)
        metrics["limits"] = [one.to_dict() for one in kept]
    kind = "the confirmed winner" if chosen.confirmed else "the best, unconfirmed,"
    if chosen.named:
        kind = chosen.what
    elif confirmed is not None:
        kind = "the best confirmed of its size"
    package = Package(
        config=chosen.config,
        runtime=facts.runtime,
        data=images,
        stop_after=chosen.stop_after,
        metrics=read_record(Metrics, metrics),
        history=chosen.rows,
        environment=environment(facts.runtime, facts.versions),
        metric=metric,
    )
    title = f"{chosen.config.label}, {kind} of the search {search.name} on {data_title(data.name)}"
    write_package(out, package, weights, title, onnx=onnx, demo=demo)
    return WrittenPackage(str(out), package.metrics)


def look_at_winner(search: Search) -> LookResult:
    """Score the winner on the test images, if these weights were not before: see ``look``."""
    chosen = choose(search)
    if recorded(search.folder, chosen.weights) is None:
        _weights_of(search, chosen)  # those of its best epoch, or an error
    return look(search, chosen.weights, chosen.what)


def _named(search: Search, number: int) -> Chosen:
    """A trial with the weights that the search kept of it, or else those of its run again."""
    trial = scored_trial(search, number)
    chosen = replace(as_it_ran(trial), named=True)
    if search.folder.exists(chosen.weights):
        return chosen
    package = read_again(search, trial)
    if package is None:
        command = again_command(search, trial)
        rule = (
            "has no weights left: a search keeps only those of its best trials. This trains it"
            f" again, for `export` to find: {command}"
        )
        raise InputError("trial", number, rule)
    return replace(
        chosen, what=again_name(number), weights=again_weights(number), rows=package.history
    )


def _confirmed_facts(found: Confirmation) -> dict[str, Any]:
    """What a package says of its configuration's runs over fresh seeds."""
    finished = found.chosen.finished
    scores = {"val_accs": [run.val_acc for run in finished]}
    if not found.measure.is_accuracy:
        scores["scores"] = [run.result for run in finished]
    return {
        **{name: getattr(found.chosen, name) for name in CONFIRMED_FACTS},
        "seeds": [run.seed for run in finished],
        **scores,
        "level": found.level,
        "tied_with": [trial for trial in found.ties if trial != found.winner],
        "why": found.why,
    }


def _weights_of(search: Search, chosen: Chosen) -> dict[str, Tensor]:
    run = search.folder
    if not run.exists(chosen.weights):
        facts = search.facts
        command = train_command(
            chosen.config, facts.data, facts.runtime, chosen.stop_after, metric=search.metric
        )
        rule = f"is not there. This trains the network again, as a package of its own: {command}"
        raise InputError("run", run.file(chosen.weights), rule)
    task, epoch = search.facts.data.task, chosen.rows[-1].best_epoch
    config, weights = run_weights(run, chosen.weights, task, epoch)
    if config != chosen.config:
        raise InputError(
            "run", run.file(chosen.weights), f"is of {config.label}, not {chosen.what}"
        )
    return weights
