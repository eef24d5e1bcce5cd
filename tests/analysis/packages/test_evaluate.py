"""What ``evaluate`` says of a network agrees with scikit-learn, the package, and itself."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, recall_score

import tune_vgg6
from analysis.figures.figure_files import find_browser
from analysis.figures.score_figure import draw
from analysis.packages.evaluate import evaluate, render
from analysis.packages.package_files import write_sums
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.data import LabelledImages, load_digits, split
from vgg6.evaluation import BINS, assess

SOURCE = load_digits()
DATA = split(SOURCE, limit_train=200)
TRAIN = (
    "train --data digits --limit-train 200 --activation relu --optimizer adam --lr 0.001"
    " --batch-size 32 --epochs 2 --threads 1"
)


class Given:
    """A network that answers with logits that were drawn before, in the images' order."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits, self.seen = logits, 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.seen += len(images)
        return self.logits[self.seen - len(images) : self.seen]


def images(labels: np.ndarray) -> LabelledImages:
    return LabelledImages(np.zeros((len(labels), 32, 32, 3), np.uint8), labels.astype(np.int64))


# The measures


def test_accuracy_loss_classes_and_confusion_are_those_of_scikit_learn() -> None:
    draw_ = np.random.default_rng(0)
    labels = draw_.integers(0, 10, 1234)
    logits = draw_.normal(size=(1234, 10)).astype(np.float32)
    logits[np.arange(1234), labels] += 1.5
    found = assess(Given(logits), images(labels))
    shares = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(1, keepdims=True)
    predicted = logits.argmax(1)
    assert found.images == 1234
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.loss == pytest.approx(log_loss(labels, shares, labels=range(10)))
    assert (found.confusion == confusion_matrix(labels, predicted)).all()
    np.testing.assert_allclose(found.per_class, recall_score(labels, predicted, average=None))


def test_the_calibration_error_of_a_network_of_known_confidence_is_its_gap() -> None:
    # 0.79 sure of each of 100 answers, of which 60 are right; 0.5 sure of 100, of which 50 are.
    share = np.array([[0.79, 0.21]] * 100 + [[0.5001, 0.4999]] * 100)
    labels = np.array([0] * 60 + [1] * 40 + [0] * 50 + [1] * 50)
    found = assess(Given(np.log(share).astype(np.float32)), images(labels))
    assert found.ece == pytest.approx(0.5 * 0.19 + 0.5 * 0.0001, abs=1e-5)
    held = {i: b for i, b in enumerate(found.bins) if b.images}
    assert set(held) == {7, 11} and len(found.bins) == BINS
    assert held[11].confidence == pytest.approx(0.79, abs=1e-6) and held[11].accuracy == 0.6
    assert math.isnan(found.bins[0].accuracy)
    assert held[7].low < 0.5001 <= held[7].high


def test_calibration_over_many_images_is_the_binned_mean_computed_otherwise() -> None:
    draw_ = np.random.default_rng(3)
    logits = (3 * draw_.normal(size=(2000, 10))).astype(np.float32)
    labels = draw_.integers(0, 10, 2000)
    found = assess(Given(logits), images(labels))
    shares = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(1, keepdims=True)
    sure, right = shares.max(1), logits.argmax(1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    gaps = [
        abs((right[own] - sure[own]).sum())
        for low, high in pairwise(edges)
        if (own := (sure > low) & (sure <= high)).any()
    ]
    assert found.ece == pytest.approx(sum(gaps) / 2000)
    assert sum(b.images for b in found.bins) == 2000


def test_images_that_cannot_be_scored_are_refused() -> None:
    logits = np.zeros((3, 4), np.float32)
    for labels in ([], [0, 1, 4], [0, -1, 2]):
        with pytest.raises(ValueError, match=r"no images|labels must be 0 to 3"):
            assess(Given(logits), images(np.array(labels, np.int64)))


# Packages


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("evaluated")
    assert tune_vgg6.main([*TRAIN.split(), "--out", str(folder / "whole")]) == 0
    words = ["compress", str(folder / "whole"), "--method", "int8", "--rounds", "1"]
    assert tune_vgg6.main(words) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole", "whole-int8"])
def test_a_package_scores_on_its_own_images_what_it_says(
    packages: Path, name: str, said: Any
) -> None:
    status, out, _ = said("evaluate", packages / name, "--json")
    found = json.loads(out)
    recorded = json.loads((packages / name / "metrics.json").read_text())
    assert status == 0 and found["accuracy"] == recorded["val_acc"]
    assert (found["part"], found["images"], found["notes"]) == ("validation", len(DATA.val), [])
    interval = wilson(found["accuracy"], len(DATA.val))
    assert {k: found[k] for k in interval} == interval == recorded["val_acc_interval"]
    confusion = np.array(found["confusion"])
    assert confusion.trace() / confusion.sum() == pytest.approx(found["accuracy"])
    for row, counts in zip(found["per_class"], confusion, strict=True):
        assert row["images"] == counts.sum() == (DATA.val.labels == int(row["class"])).sum()
        own = wilson(row["accuracy"], row["images"])
        assert (row["low"], row["high"]) == (own["low"], own["high"])
    shares = [b["images"] for b in found["bins"]]
    assert sum(shares) == len(DATA.val) and 0 <= found["ece"] <= 1


@pytest.mark.slow
def test_the_text_holds_what_the_json_does(packages: Path, said: Any) -> None:
    found = evaluate(packages / "whole")
    status, out, _ = said("evaluate", packages / "whole")
    assert status == 0 and out == render(found) + "\n"
    for value in (f"{found.accuracy:.4f}", f"{found.low:.4f}", f"{found.ece:.4f}", "15"):
        assert value in out
    assert "\n".join(out.splitlines()[-10:]).split()[1:11] == [str(n) for n in found.confusion[0]]


@pytest.mark.slow
def test_parts_and_other_data_are_named_for_what_they_are(packages: Path, said: Any) -> None:
    found = evaluate(packages / "whole", part="test")
    assert found.images == len(SOURCE.test) and "optimistic" in found.scored.notes[0]
    found = evaluate(packages / "whole", part="train")
    assert found.images == 200 and "trained on" in found.scored.notes[0]
    sections = yaml.safe_load((packages / "whole" / "config.yaml").read_text())
    other = packages / "other"
    shutil.copytree(packages / "whole", other)
    sections["data"] |= {"fingerprint": "0123456789ab", "classes": list("abcdefghij")}
    (other / "config.yaml").write_text(yaml.safe_dump(sections))
    write_sums(other)
    found = evaluate(other)
    assert (found.scored.part, found.images) == ("test", len(SOURCE.test))
    notes = found.scored.notes
    assert "other images" in notes[0] and "other classes: 0, 1" in notes[1]
    assert [row.name for row in found.per_class] == list("abcdefghij")
    # As many classes, of which one has another name: the others' places would be wrong.
    sections["data"]["classes"] = [str(n) for n in range(1, 11)]
    (other / "config.yaml").write_text(yaml.safe_dump(sections))
    write_sums(other)
    with pytest.raises(InputError, match="is not of this package's classes"):
        evaluate(other)
    shutil.rmtree(other)


@pytest.mark.slow
def test_a_file_of_ones_own_images_is_scored_whole_and_may_lack_classes(
    packages: Path, tmp_path: Path, said: Any
) -> None:
    own = SOURCE.test.labels < 4
    file = tmp_path / "mine.npz"
    np.savez(file, images=SOURCE.test.images[own], labels=SOURCE.test.labels[own].astype(np.uint8))
    status, out, _ = said("evaluate", packages / "whole-int8", "--data", file, "--json")
    found = json.loads(out)
    assert status == 0 and found["images"] == own.sum() and found["part"] is None
    assert [row["accuracy"] is None for row in found["per_class"]] == [False] * 4 + [True] * 6
    status, out, _ = said("evaluate", packages / "whole-int8", "--data", file)
    assert status == 0 and out.count("none") == 6


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".html", ".png", ".svg"])
def test_the_picture_is_a_page_or_an_image(
    packages: Path, tmp_path: Path, said: Any, suffix: str
) -> None:
    if suffix != ".html" and not find_browser():
        pytest.skip("pictures need Chrome or Chromium")
    file = tmp_path / f"figure{suffix}"
    status, out, err = said("evaluate", packages / "whole", "--figure", file)
    content = file.read_bytes()
    assert status == 0, err
    start = {".html": b"<!doctype html>", ".png": b"\x89PNG", ".svg": b"<svg"}[suffix]
    assert content.startswith(start) and out
    if suffix == ".html":
        assert b"plotly" in content and b'src="http' not in content


@pytest.mark.slow
@pytest.mark.slow
def test_scores_are_printed_though_the_browser_does_not_start(
    packages: Path, tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/bin/false")
    status, out, err = said("evaluate", packages / "whole", "--figure", tmp_path / "f.png")
    assert status == 1 and "/bin/false cannot draw pictures" in err and "Traceback" not in err
    assert f"accuracy {evaluate(packages / 'whole').accuracy:.4f}" in out
    monkeypatch.setenv("BROWSER_PATH", "/no/chrome")
    status, out, err = said("evaluate", packages / "whole", "--figure", tmp_path / "f.png")
    assert (status, out) == (2, "") and err.startswith("error: BROWSER_PATH: '/no/chrome'")


@pytest.mark.slow
def test_damaged_pictures_are_left_out_where_that_is_asked_for(
    packages: Path, tmp_path: Path, said: Any
) -> None:
    for label in range(10):
        (tmp_path / "set" / str(label)).mkdir(parents=True)
        rows = SOURCE.test.images[SOURCE.test.labels == label][:3]
        for number, image in enumerate(rows):
            Image.fromarray(image).save(tmp_path / "set" / str(label) / f"{number}.png")
    (tmp_path / "set" / "3" / "1.png").write_bytes(b"no picture")
    asked = ("evaluate", packages / "whole", "--data", tmp_path / "set", "--json")
    status, _, err = said(*asked)
    assert status == 2 and "its format is not known" in err and "--skip-damaged" in err
    status, out, err = said(*asked, "--skip-damaged")
    assert status == 0 and json.loads(out)["images"] == 29, err


def test_the_figure_shows_every_count_and_no_class_is_markup(packages: Path) -> None:
    found = evaluate(packages / "whole")
    found = replace(found, classes=tuple(f"<b>{name}</b>" for name in found.classes))
    figure = draw(found)
    assert [list(row) for row in figure.data[0].text] == found.confusion
    assert figure.data[0].x[0] == "&lt;b&gt;0&lt;/b&gt;"
    held = [b for b in found.bins if b.images]
    assert list(figure.data[3].y) == [b.accuracy for b in held]


WHITE = np.full((20, 32, 32, 3), 255, np.uint8)
LABELS = np.arange(20) % 10
BAD_FILES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("no labels", {"images": WHITE}, ["labels"]),
    ("a shape", {"images": WHITE[..., :2], "labels": LABELS}, ["(20, 32, 32, 2)"]),
    ("a type", {"images": WHITE / 255, "labels": LABELS}, ["float64", "uint8"]),
    ("a label", {"images": WHITE, "labels": LABELS + 1}, ["label 10", "0 to 9"]),
    ("too few labels", {"images": WHITE, "labels": LABELS[:3]}, ["(3,)", "an image"]),
    ("numbers for labels", {"images": WHITE, "labels": LABELS / 2}, ["float64", "whole number"]),
    ("no images", {"images": WHITE[:0], "labels": LABELS[:0]}, ["no images"]),
    ("objects", {"images": np.array([len] * 3), "labels": LABELS}, ["pickle"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arrays", "says"), BAD_FILES, ids=[b[0] for b in BAD_FILES])
def test_a_file_that_holds_no_such_images_is_refused_by_what_is_wrong(
    packages: Path, tmp_path: Path, said: Any, name: str, arrays: dict[str, Any], says: list[str]
) -> None:
    file = tmp_path / "mine.npz"
    np.savez(file, **arrays)
    status, out, err = said("evaluate", packages / "whole", "--data", file)
    assert (status, out) == (2, "") and "Traceback" not in err
    for part in ("--data", "mine.npz", *says):
        assert part in err


BAD_COMMANDS: list[tuple[str, list[str]]] = [
    ("{at}/whole --part tets", ["--part", "'tets'", "did you mean 'test'"]),
    ("{at}/whole --part test --data x.npz", ["--part", "'test'", "no meaning"]),
    ("{at}/whole --data x.npz", ["--data", "x.npz", "cannot be read"]),
    ("{at}/whole --data digts", ["--data", "'digts'", "did you mean 'digits'"]),
    ("{at}/whole --figure f.jpg", ["--figure", "f.jpg", ".html, .png"]),
    ("{at}/whole --figure {at}/whole/config.yaml/f.html", ["--figure", "is no folder"]),
    ("{at}/none", ["DIR", "no SHA256SUMS"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "says"), BAD_COMMANDS, ids=[b[0] for b in BAD_COMMANDS])
def test_a_bad_value_of_evaluate_is_named_with_its_rule_and_nothing_is_written(
    packages: Path, said: Any, words: str, says: list[str]
) -> None:
    before = sorted(packages.rglob("*"))
    status, out, err = said("evaluate", *words.replace("{at}", str(packages)).split())
    assert (status, out) == (2, "") and err.startswith("error: ")
    for part in says:
        assert part in err
    assert sorted(packages.rglob("*")) == before
