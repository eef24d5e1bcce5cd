"""Train one configuration outside a search and save it as a package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.packages.package_files import check_out
from analysis.packages.package_metrics import FinalScores, Interval, Metrics
from analysis.packages.package_schema import Package
from analysis.packages.package_writer import environment, write_package
from vgg6.common.checks import Range, check_integer
from vgg6.common.intervals import wilson
from vgg6.common.numbers_in_words import counted
from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.metric import ACCURACY, Metric
from vgg6.onnx_export.onnx_versions import LOWEST
from vgg6.run_record import CompleteFacts, DataFacts, EpochMetrics, RuntimeFacts
from vgg6.training import TrainState, fit


def train_and_save(
    config: TrialConfig,
    data: TrialData,
    *,
    out: Path,
    data_facts: CompleteFacts,
    device: str,
    precision: str,
    kernels: str,
    threads: int | None,
    stop_after: int | None,
    opset: int = LOWEST,
    demo: bool = False,
    metric: Metric = ACCURACY,
) -> None:
    """Train, print a line an epoch, save weights, configuration and history into ``out``.

    Args:
        opset: the version of ONNX's operators that ``model.onnx`` is written in.
        demo: whether to write ``demo.html`` too.
        metric: its best epoch is chosen by.

    Raises:
        InputError: ``out`` holds something else, or a runtime value breaks its rule.
        NonFiniteLoss: the run diverged; nothing is saved.
    """
    if stop_after is not None:
        check_integer("stop_after", stop_after, Range(1, config.epochs))
    check_out(out)
    runtime = Runtime.resolve(device, precision, threads, kernels)
    state = TrainState(config, runtime, task=data.task, metric=metric)
    length = stop_after or config.epochs
    history: list[EpochMetrics] = []
    print(
        f"{config.label} on {data.name}: {len(data.train):,} training images,"
        f" {runtime}, {counted(runtime.threads, 'thread')}"
    )
    with progress_bar() as bar:
        task = bar.add_task("training", total=length)
        for metrics in fit(state, data, stop_after=stop_after):
            history.append(metrics)
            bar.update(task, completed=metrics.epoch)
            print(epoch_line(metrics, length, metric), flush=True)
    scores = Metrics(
        data=data.name,
        val_acc=state.best.val_acc,
        val_acc_interval=Interval(**wilson(state.best.val_acc, len(data.val))),
        best_epoch=state.best.epoch,
        epochs_run=state.epoch,
        final=FinalScores(**history[-1].to_dict()),
        **score_facts(metric, state.best.score, data_facts),
    )
    facts = RuntimeFacts(**runtime.to_dict())
    package = Package(
        config=config,
        runtime=facts,
        data=data_facts,
        stop_after=stop_after,
        metrics=scores,
        history=history,
        environment=environment(facts),
        metric=metric,
    )
    title = f"{config.label} on {data.name}"
    write_package(out, package, state.best.weights, title, opset=opset, demo=demo)
    best = f"{metric.best_column} {state.best.score:.4f} at epoch {state.best.epoch}"
    print(f"{best}; saved in {out}")


def score_facts(metric: Metric, score: float, data: DataFacts) -> dict[str, Any]:
    """What ``Metrics`` say of a score on the validation images by another metric than accuracy."""
    if metric.is_accuracy:
        return {}
    found: dict[str, Any] = {"metric": metric.name, "score": score}
    if interval := metric.interval(score, data.images_behind(metric)):
        found["score_interval"] = Interval(**interval)
    return found


def epoch_line(metrics: EpochMetrics, length: int, metric: Metric = ACCURACY) -> str:
    """One epoch for a person to read. ``metric``: what the best one is chosen by."""
    balanced = metrics.val_balanced_acc
    shown = metric.balanced and balanced is not None
    return (
        f"epoch {metrics.epoch:>3}/{length}"
        f"  train_loss {metrics.train_loss:.4f}  train_acc {metrics.train_acc:.4f}"
        f"  val_loss {metrics.val_loss:.4f}  val_acc {metrics.val_acc:.4f}"
        + (f"  {metric.column} {balanced:.4f}" if shown else "")
        + f"  {metric.best_column} {metric.best_of(metrics):.4f}  {metrics.seconds:.1f} s"
    )


def progress_bar() -> Progress:
    """A bar on standard error, drawn only on a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
        # The epoch lines are results: they must reach standard output even when that is a file.
        redirect_stdout=sys.stdout.isatty(),
    )
