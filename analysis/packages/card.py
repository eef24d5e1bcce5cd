"""README.md of a package: what it is, what it scores and what that means, how to make it again."""

from __future__ import annotations

from pathlib import Path

from analysis.packages.package_schema import Compression, Package
from analysis.packages.train_command import train_command
from vgg6.common.templates import render
from vgg6.model import count_parameters

TEMPLATES = Path(__file__).parent / "templates"


def card(title: str, package: Package) -> str:
    """The text of the card.

    Args:
        title: its heading.
    """
    command = train_command(package.config, package.data, package.runtime, package.stop_after)
    compression = package.compression
    commands = [command] if compression is None else [
        f"{command} --out TRAINED", compress_command(compression)
    ]  # fmt: skip
    return render(
        TEMPLATES,
        "model_card.md" if compression is None else "compression_card.md",
        title=title,
        package=package,
        metrics=package.metrics,
        data=package.data,
        machine=package.environment,
        hyperparameters={k: v for k, v in package.config.to_dict().items() if v is not None},
        parameters=count_parameters(package.config),
        commands=commands,
    )


def compress_command(compression: Compression) -> str:
    """The command that makes the same of the package that was compressed."""
    words = ["python tune_vgg6.py compress TRAINED"]
    if pruned := compression.prune:
        words.append(f"--method prune --sparsity {pruned.sparsity} --epochs {pruned.epochs}")
    if compression.int8:
        words.append("--method int8")
    return " ".join([*words, "--out THIS_FOLDER"])
