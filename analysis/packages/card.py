"""README.md of a package: what it is, what it scores and what that means, how to make it again."""

from __future__ import annotations

import os
from pathlib import Path

from analysis.demo.onnxruntime_web import ADDRESS, FETCH, SERVE
from analysis.packages.package_files import DEMO
from analysis.packages.package_schema import Compression, Package
from analysis.suggested_commands import command, portable, train_command, verify_command
from vgg6.architecture import count_parameters
from vgg6.common.templates import render
from vgg6.onnx_export.onnx_versions import LOWEST, oldest_runtime

TEMPLATES = Path(__file__).parent / "templates"


def card(
    title: str, package: Package, out: Path, opset: int = LOWEST, *, demo: bool = False
) -> str:
    """The text of the card.

    Args:
        title: its heading.
        out: the folder of the package.
        opset: of its ``model.onnx``.
        demo: whether it has a ``demo.html``.
    """
    compression, place = package.compression, _place(Path(os.path.realpath(out)))
    parts = package.config, package.data, package.runtime, package.stop_after
    if compression is None:
        commands = [train_command(*parts, metric=package.metric)]
    else:
        trained, again = f"{place}-trained", f"{place}-again"
        commands = [
            train_command(*parts, out=trained, metric=package.metric),
            compress_command(compression, trained, again),
        ]
    return render(
        TEMPLATES,
        "model_card.md" if compression is None else "compression_card.md",
        title=title,
        package=package,
        metrics=package.metrics,
        metric=package.metric,
        data=package.data,
        machine=package.environment,
        hyperparameters={k: v for k, v in package.config.to_dict().items() if v is not None},
        parameters=count_parameters(package.config, task=package.data.task),
        commands=[portable(line) for line in commands],
        opset=opset,
        demo=[FETCH, SERVE] if demo else [],
        demo_address=ADDRESS + DEMO,
        oldest_runtime=oldest_runtime(opset),
        verify=portable(verify_command(place)),
    )


def _place(folder: Path) -> str:
    """Where the package is, without a path that only this machine has."""
    here = Path.cwd().resolve()
    return str(folder.relative_to(here)) if here in folder.parents else folder.name


def compress_command(compression: Compression, trained: str, out: str) -> str:
    """The command that makes the same of the package that was compressed."""
    words: list[str] = []
    if pruned := compression.prune:
        words += ["--method", "prune", "--sparsity", str(pruned.sparsity)]
        words += ["--epochs", str(pruned.epochs)]
    if compression.int8:
        words += ["--method", "int8"]
    return command("compress", trained, *words, "--out", out)
