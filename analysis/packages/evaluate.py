"""Evaluate: what a package's network does on images, class by class, and how sure of it it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import COLOURS, ERROR_BAR, figure
from analysis.packages.package import Package, check_package, load_network, read_package
from analysis.packages.scoring import located
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.data import LabelledImages, load_source, split
from vgg6.data.layouts import FILE_SUFFIX, read_file
from vgg6.evaluation import BINS, assess

VALIDATION, TEST, TRAIN = PARTS = ("validation", "test", "train")
NOTES = {
    TEST: "the test images: whatever is chosen by this number makes it optimistic",
    TRAIN: "images that the network was trained on: this says little of others",
}


def evaluate(folder: Path, *, data: str | None = None, part: str | None = None) -> dict[str, Any]:
    """Score a package, compressed or not, on labelled images.

    Args:
        data: ``cifar10``, ``digits``, a folder as of ``data``, or an ``.npz`` file with
            ``images``, uint8 (N, 32, 32, 3), and ``labels``, whole numbers from 0 to 9; default,
            the package's own.
        part: validation (default, of its own data), test (default, of any other), train.

    Returns:
        accuracy with its Wilson interval (low, high, level), loss in nats, per_class, confusion
        (true classes down), ece (expected calibration error) with its bins, and what was scored.
        A class or a bin without images has null for its shares.

    Raises:
        InputError: the package or the data is missing or not what it must be.
    """
    check_package(folder)
    package = read_package(folder)
    network = load_network(folder, package)
    images, about = _images(package, data, part)
    found = assess(network, images)
    names = package.data["classes"]
    counts = found.confusion.sum(1).tolist()
    rows = zip(names, counts, found.per_class.tolist(), strict=True)
    return {
        "package": str(folder),
        "compression": package.compression,
        **about,
        "images": found.images,
        "accuracy": found.accuracy,
        **wilson(found.accuracy, found.images),
        "loss": found.loss,
        "per_class": [_share(name, count, accuracy) for name, count, accuracy in rows],
        "classes": names,
        "confusion": found.confusion.tolist(),
        "ece": found.ece,
        "bins": [{k: None if v != v else v for k, v in b.items()} for b in found.bins],
    }


def _images(
    package: Package, data: str | None, part: str | None
) -> tuple[LabelledImages, dict[str, Any]]:
    """The images to score, and what they are: data, part, whether they are the package's own."""
    if data is not None and data.endswith(FILE_SUFFIX):
        if part is not None:
            raise InputError("part", part, f"has no meaning for a {FILE_SUFFIX} file: all is taken")
        return read_file(Path(data)), {"data": data, "part": None, "notes": []}
    recorded = located(package.data, data)
    source = load_source(recorded["argument"])
    parts = split(source, split_seed=recorded["split_seed"], limit_train=recorded["limit_train"])
    own = parts.fingerprint == recorded["fingerprint"]
    part = part or (VALIDATION if own else TEST)
    images = {VALIDATION: parts.val, TEST: source.test, TRAIN: parts.train}[part]
    notes = [NOTES[part]] if own and part in NOTES else []
    if not own:
        notes.append("other images than the package's own")
    if list(source.classes) != package.data["classes"]:
        notes.append(f"labels are of other classes: {', '.join(source.classes)}")
    return images, {"data": source.name, "part": part, "notes": notes}


def _share(name: str, count: int, accuracy: float) -> dict[str, Any]:
    if not count:
        return {"class": name, "images": 0, "accuracy": None, "low": None, "high": None}
    interval = wilson(accuracy, count)
    known = {k: interval[k] for k in ("low", "high")}
    return {"class": name, "images": count, "accuracy": accuracy, **known}


def render(found: dict[str, Any]) -> str:
    """The result for a person."""
    what = " ".join(filter(None, (found["part"], "images of", found["data"])))
    lines = [
        f"accuracy {found['accuracy']:.4f} ({found['low']:.4f} to {found['high']:.4f}, 95 %) of"
        f" {found['images']:,} {what}",
        f"loss     {found['loss']:.4f} nats",
        f"ECE      {found['ece']:.4f}: how far its confidence is from its accuracy, {BINS} bins",
        *(f"note: {note}" for note in found["notes"]),
        "",
        "class         accuracy  95 %              images",
    ]
    for row in found["per_class"]:
        shown = "none"
        if row["images"]:
            shown = f"{row['accuracy']:.4f}    {row['low']:.4f} to {row['high']:.4f}"
        lines.append(f"{row['class']:<14}{shown:<28}{row['images']:,}")
    return "\n".join([*lines, "", *_matrix(found["confusion"], found["classes"])])


def _matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[str]:
    """True classes down, predicted ones across, each column as wide as it must be."""
    width = max(6, len(str(max(map(max, confusion)))) + 1)
    head = "true \\ taken for".ljust(17) + "".join(
        name[: width - 1].rjust(width) for name in classes
    )
    rows = (
        f"{name[:16]:<17}" + "".join(str(n).rjust(width) for n in row)
        for name, row in zip(classes, confusion, strict=True)
    )
    return [head, *rows]


def draw(found: dict[str, Any]) -> go.Figure:
    """Confusion matrix, accuracy of each class, and accuracy by confidence."""
    names = [escape(name) for name in found["classes"]]
    fig = make_subplots(
        2, 2, specs=[[{"colspan": 2}, None], [{}, {}]], row_heights=[0.6, 0.4],
        vertical_spacing=0.14,
        subplot_titles=["predicted classes (across) of true ones (down)", "accuracy of each class",
                        f"accuracy by confidence: ECE {found['ece']:.3f}"],
    )  # fmt: skip
    matrix = found["confusion"]
    shares = [[n / max(1, sum(row)) for n in row] for row in matrix]
    fig.add_heatmap(
        z=shares, x=names, y=names, text=matrix, texttemplate="%{text}", colorscale="Cividis",
        zmin=0, zmax=1, showscale=False, row=1, col=1,
        hovertemplate="%{y} taken for %{x}: %{text} (%{z:.1%})<extra></extra>",
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", type="category", row=1, col=1)
    fig.update_xaxes(type="category", row=1, col=1)
    rows = [row for row in found["per_class"] if row["images"]]
    fig.add_scatter(
        x=[row["accuracy"] for row in rows], y=[escape(row["class"]) for row in rows],
        mode="markers", marker={"color": COLOURS[0], "size": 8}, row=2, col=1,
        error_x={"type": "data", "symmetric": False, **ERROR_BAR,
                 "array": [row["high"] - row["accuracy"] for row in rows],
                 "arrayminus": [row["accuracy"] - row["low"] for row in rows]},
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", type="category", row=2, col=1)
    bins = [b for b in found["bins"] if b["images"]]
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": "#8A8A8A", "dash": "dot"},
        hoverinfo="skip", row=2, col=2,
    )  # fmt: skip
    largest = max(b["images"] for b in bins)
    fig.add_scatter(
        x=[b["confidence"] for b in bins], y=[b["accuracy"] for b in bins], mode="lines+markers",
        text=[f"{b['images']:,} images" for b in bins], row=2, col=2, line={"color": COLOURS[1]},
        marker={"size": [5 + 9 * math.sqrt(b["images"] / largest) for b in bins]},
        hovertemplate="confidence %{x:.2f}, accuracy %{y:.2f}: %{text}<extra></extra>",
    )  # fmt: skip
    fig.update_xaxes(title="confidence", range=[0, 1.02], row=2, col=2)
    part = f"{found['part']} images of " if found["part"] else ""
    title = f"accuracy {found['accuracy']:.4f} on {found['images']:,} {part}{found['data']}"
    layout = figure([], 900).layout.update(
        showlegend=False, title=escape(title), margin={"l": 90, "r": 20, "t": 80, "b": 50}
    )
    return fig.update_layout(layout)
