"""What a package's files hold is typed: errors name the field, and cards show texts as texts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.packages.card import card
from analysis.packages.package_metrics import CompressedMetrics, Metrics
from analysis.packages.package_schema import Compression, Environment, Package, Sections
from analysis.packages.package_writer import environment
from vgg6.common.checks import InputError
from vgg6.common.schema import Record, read_record
from vgg6.config import TrialConfig
from vgg6.metric import BALANCED_ACCURACY, VAL_LOSS, Metric
from vgg6.run_record import EpochMetrics

MARKUP = "<script>alert(1)</script> [a](b) ```\n# not a title | `c`"
DATA = {
    "name": "digits", "argument": "digits", "origin": "scikit-learn", "fingerprint": "aac021262292",
    "train_images": 300, "val_images": 100, "split_seed": 42, "limit_train": 300,
    "mean": [0.3, 0.3, 0.3], "std": [0.2, 0.2, 0.2], "classes": list("0123456789"),
}  # fmt: skip
SECTIONS = {
    "config": TrialConfig().to_dict(), "data": DATA, "stop_after": None,
    "runtime": {"device": "cpu", "precision": "bf16", "threads": 2},
}  # fmt: skip
COMPRESSION = {
    "source": "0" * 64, "prune": {"sparsity": 0.5, "epochs": 5, "widths": [8, 8, 8, 8, 8, 8]},
    "int8": {"images": 300},
}  # fmt: skip
METRICS = {"val_acc": 0.5, "best_epoch": 1, "val_acc_interval": {"low": 0.4, "high": 0.6}}
SIDE = {"accuracy": 0.5, "loss": 1.0, "bytes": 10, "parameters": 10, "flops": 10}
SPEED = {"batch": 256, "ratio": 2.0, "low": 1.0, "high": 3.0, "over_torch": 4.0}
COMPRESSED = METRICS | {
    "trained_val_acc": 0.5, "before": SIDE, "after": SIDE, "speed": [SPEED], "threads": 2,
}  # fmt: skip
MACHINE = {
    "os": "Linux", "cpu": "a CPU", "cpus": 2, "instructions": "AVX512", "gpus": [],
    "versions": {"torch": "2"}, "device": "cpu", "precision": "bf16", "threads": 2,
}  # fmt: skip
ROW = EpochMetrics(
    epoch=1, train_loss=1.0, train_acc=0.5, val_loss=1.0, val_acc=0.5, best_val_acc=0.5,
    best_epoch=1, lr=0.1, seconds=1.0,
)  # fmt: skip


def package(
    compressed: bool = False,
    data: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    machine: dict[str, Any] | None = None,
) -> Package:
    sections = read_record(Sections, SECTIONS | {"data": DATA | (data or {})})
    kind, scores = (CompressedMetrics, COMPRESSED) if compressed else (Metrics, METRICS)
    return Package(
        config=sections.config,
        runtime=sections.runtime,
        data=sections.data,
        stop_after=None,
        metrics=read_record(kind, scores | (metrics or {})),
        history=[ROW],
        environment=read_record(Environment, MACHINE | (machine or {})),
        compression=read_record(Compression, COMPRESSION) if compressed else None,
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_texts_of_a_run_are_no_markup_in_the_card_of_a_package(compressed: bool) -> None:
    made = package(
        compressed,
        data={"name": MARKUP, "argument": MARKUP, "fingerprint": MARKUP, "classes": [MARKUP] * 10},
        metrics={
            "warning": MARKUP,
            "onnxruntime": MARKUP,
            "test": {"accuracy": 0.5, "loss": 1.0, "images": 9, "note": MARKUP},
            "confirmed": {
                "seeds": [1, 2], "mean": 0.5, "sd": 0.1, "low": 0.4, "high": 0.6,
                "search_score": 0.6, "optimism": 0.1, "why": MARKUP,
            },
        },
        machine={"os": MARKUP, "cpu": MARKUP, "versions": {MARKUP: MARKUP}},
    )  # fmt: skip
    text = card(MARKUP, made, Path("packed"))
    outside = re.sub(r"(?ms)^(`{3,})[^`\n]*\n.*?^\1$", "", text)
    assert r"\<script\>" in outside and "alert(1)" in text
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[a|^```", outside)
    assert [line for line in outside.splitlines() if line.startswith("# ")] == [
        outside.splitlines()[0]
    ]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_card_says_what_is_known_and_that_the_rest_is_not(compressed: bool) -> None:
    text = card("A network", package(compressed), Path("packed"))
    assert text.startswith("# A network\n\nVGG6,") and text.endswith("with\ntorch 2.\n")
    assert "| 0.4000 to 0.6000 |" in text or "0.4000 to 0.6000 (95 %, Wilson)" in text
    assert "\n\n\n" not in text and "{{" not in text and "None " not in text
    assert "`model.onnx` is written in opset 13: it needs onnxruntime 1.6 or newer." in text
    newest = card("A network", package(compressed), Path("packed"), opset=20)
    assert "opset 20: it needs onnxruntime 1.17 or newer." in newest
    if compressed:
        assert "pruned" in text.lower() and "--method prune --sparsity 0.5 --epochs 5" in text
    else:
        assert "The test images have not been scored." in text


@pytest.mark.parametrize("metric", [BALANCED_ACCURACY, VAL_LOSS])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_card_names_the_metric_that_its_network_was_chosen_by(
    metric: Metric, compressed: bool
) -> None:
    own = {"metric": metric.name, "score": 0.321, "score_interval": {"low": 0.2, "high": 0.4},
           "selected_from": 9, "before": SIDE | {"balanced_accuracy": 0.35},
           "after": SIDE | {"balanced_accuracy": 0.321, "loss": 0.321},
           "test": {"accuracy": 0.5, "loss": 0.25, "balanced_accuracy": 0.26, "images": 9,
                    "note": "Once."}}  # fmt: skip
    made = replace(package(compressed, metrics=own), metric=metric)
    text = card("A network", made, Path("packed"))
    assert f"--metric {metric.name}" in text
    if compressed:
        assert f"by {metric.label} was kept" in text and ", by which it was chosen |" in text
        return
    best = "lowest" if metric.lower_is_better else "highest"
    assert f"| {metric.axis} | 0.3210 | 0.2000 to 0.4000 |" in text
    assert f"The {best} of 9 scores" in text and "which were not chosen by it" in text
    assert f"| {metric.test_label}" in text and f"best epoch by {metric.label}, float32" in text
    assert "(Wilson)\n" not in text, "each row is one line"


def test_a_package_without_the_score_of_its_metric_is_refused() -> None:
    own = {"metric": "val_loss", "score": -1.0}
    with pytest.raises(InputError, match="metric: 'val_loss' has no `score` beside it"):
        read_record(Metrics, METRICS | {"metric": "val_loss"})
    with pytest.raises(InputError, match="score: -1.0 is not in"):
        read_record(Metrics, METRICS | own)
    with pytest.raises(InputError, match="metric: 'loss' .*did you mean 'val_loss'"):
        read_record(Sections, SECTIONS | {"metric": "loss"})
    by_balanced = {"metric": "balanced_accuracy", "score": 0.5}
    with pytest.raises(InputError, match="before: 'balanced_accuracy' is not among its scores"):
        read_record(CompressedMetrics, COMPRESSED | by_balanced)


def test_a_card_compares_the_search_score_only_with_runs_of_the_same_length() -> None:
    confirmed = {"seeds": [1, 2], "mean": 0.5, "sd": 0.1, "low": 0.4, "high": 0.6,
                 "search_score": 0.6, "why": "It is best."}  # fmt: skip
    for optimism, said in ((0.1, "+0.1000 above the mean"), (None, "trained for fewer epochs")):
        metrics = {"confirmed": confirmed | {"optimism": optimism}}
        assert said in card("A network", package(False, metrics=metrics), Path("packed"))


WRONG: list[tuple[type[Record], dict[str, Any], str]] = [
    (Sections, {"runtim": 1}, "'runtim' is not a known key .*did you mean 'runtime'"),
    (Sections, {"stop_after": 0}, r"stop_after: 0 is not in \[1, 10000\]"),
    (Sections, {"config": {"lrr": 1}}, "config.*'lrr' is not a known .*did you mean 'lr'"),
    (Sections, {"config": 3}, "config: 3 is not a mapping"),
    (Sections, {"data": DATA | {"std": [0, 1, 1]}}, r"data\.std\[0\]: 0 is not in"),
    (Sections, {"data": DATA | {"classes": []}}, r"data\.classes: \[\] is not a list of 1 or more"),
    (Sections, {"runtime": {"device": "cup"}}, "runtime.device: 'cup' .*did you mean 'cpu'"),
    (Metrics, {"val_acc": 2}, r"val_acc: 2 is not in \[0, 1\]"),
    (Metrics, {"confirmed": {"seeds": ["a"]}}, r"confirmed\.seeds\[0\]: 'a' is not a whole number"),
    (Metrics, {"test": {"accuracy": 0.5}}, "test: 'loss' is missing"),
    (CompressedMetrics, {"speed": [{"batch": 0}]}, r"speed\[0\]\.batch: 0 is not in"),
    (CompressedMetrics, {"after": SIDE | {"bytes": 0.5}}, "after.bytes: 0.5 is not a whole number"),
    (CompressedMetrics, {"epochs_after_pruning": []}, "is not a list of 1 or more"),
    (Environment, {"gpus": "none"}, "gpus: 'none' is not a list"),
    (Environment, {"versions": {"torch": 2}}, r"versions\.torch: 2 is not text"),
]


@pytest.mark.parametrize(("kind", "change", "message"), WRONG, ids=[w[2] for w in WRONG])
def test_what_breaks_a_rule_is_named_with_its_path_and_its_rule(
    kind: type[Record], change: dict[str, Any], message: str
) -> None:
    good = {Sections: SECTIONS, Metrics: METRICS, Environment: MACHINE}.get(kind, COMPRESSED)
    assert read_record(kind, good)
    with pytest.raises(InputError, match=f"a.json: .*{message}|a.json: {message}"):
        read_record(kind, good | change, "a.json: ")


def test_what_was_not_recorded_is_not_written() -> None:
    assert read_record(Sections, SECTIONS).to_dict() == SECTIONS
    assert read_record(Metrics, METRICS).to_dict() == METRICS
    assert read_record(CompressedMetrics, COMPRESSED).to_dict() == COMPRESSED
    assert read_record(Environment, MACHINE).to_dict() == MACHINE


def test_a_version_of_the_search_that_is_no_text_is_refused_before_a_package_is_written() -> None:
    with pytest.raises(InputError, match="versions_of_search.torch: 3 is not text"):
        environment(package().runtime, {"torch": 3})  # type: ignore[dict-item]
