"""An export: honest about the test images and about what was confirmed."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.made.digits_packages import CONFIG, DATA, RUNTIME, SEEDS, trained

from analysis.packages.package import read_package
from analysis.winner.export import export_best
from analysis.winner.looks_at_test_set import LOOKS, looks
from analysis.winner.score_test_set import look
from vgg6.augment import Normalizer
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.data import load_digits
from vgg6.evaluation import evaluate
from vgg6.model import VGG6
from vgg6.tuning.run.folder import RunFolder, weights_file
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search

# The test images


@pytest.mark.slow
def test_the_same_weights_are_scored_once_and_then_read_from_the_record(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = look(read_search(run), weights_file(0), "trial 0")
    (line,) = [json.loads(x) for x in run.read(LOOKS).splitlines()]
    assert line["weights"] == hashlib.sha256(run.read(weights_file(0))).hexdigest()
    assert {k: line[k] for k in ("what", "images")} == {"what": "trial 0", "images": 359}
    source = load_digits()
    model = VGG6(CONFIG).to(memory_format=torch.channels_last)
    state, _ = trained(CONFIG)
    model.load_state_dict(state.best.weights)
    expected = evaluate(
        model, torch.from_numpy(source.test.images), torch.from_numpy(source.test.labels),
        Normalizer(DATA.mean, DATA.std, torch.device("cpu")), RUNTIME,
    )  # fmt: skip
    assert (first.accuracy, first.loss) == (expected.accuracy, expected.loss)
    assert first.low < first.accuracy < first.high and first.looks == 1

    def scores(*_: Any) -> None:
        raise AssertionError("a second look at the test images")

    monkeypatch.setattr("analysis.winner.score_test_set.score", scores)
    assert look(read_search(run), weights_file(0), "called otherwise") == first
    assert len(looks(run)) == 1


@pytest.mark.slow
def test_a_second_look_is_counted_in_every_output(
    run: RunFolder, tmp_path: Path, said: Any
) -> None:
    status, out, _ = said("export", run.path, "--out", tmp_path / "first", "--json")
    assert status == 0 and json.loads(out)["test"]["looks"] == 1
    assert "the only look" in (tmp_path / "first" / "README.md").read_text()
    winner = read_history(run).ranking()[0].number
    assert look(read_search(run), weights_file(1 - winner), "the other").looks == 2
    status, out, _ = said("export", run.path, "--out", tmp_path / "second", "--json")
    found = json.loads(out)["test"]
    assert found["looks"] == 2 and "looked at 2 times" in found["note"]
    assert json.loads((tmp_path / "second" / "metrics.json").read_text())["test"] == found
    assert "looked at 2 times" in (tmp_path / "second" / "README.md").read_text()
    assert len(looks(run)) == 2, "the export read the record"


@pytest.mark.slow
def test_export_prints_a_table_and_replaces_a_package_only_when_told_to(
    run: RunFolder, tmp_path: Path, said: Any
) -> None:
    words = ["export", run.path, "--out", tmp_path / "out"]
    status, out, _ = said(*words)
    lines = dict(re.findall(r"^(\S.{20}) (\S.*)$", out, re.MULTILINE))
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    facts = {name.strip(): text for name, text in lines.items()}
    assert status == 0 and facts["validation accuracy"].startswith(f"{found['val_acc']:.4f} (95 %")
    assert facts["test accuracy"].startswith(f"{found['test']['accuracy']:.4f} (95 %")
    assert not re.search(r"\d\.\d{5}", out), "four digits"
    status, out, err = said(*words)
    assert (status, out) == (2, "") and "--out" in err and "holds a package already" in err
    assert found["packed"].split()[0] and "of the search" in err and "--force" in err
    assert said(*words, "--force", "--json")[0] == 0


def test_a_damaged_record_of_looks_is_refused_by_its_line(run: RunFolder) -> None:
    look(read_search(run), weights_file(0), "trial 0")
    run.write(LOOKS, run.read(LOOKS) + b'{"time": 1\n')
    with pytest.raises(InputError, match="test_looks.jsonl line 2"):
        look(read_search(run), weights_file(1), "trial 1")


@pytest.mark.slow
def test_what_is_packed_without_looking_holds_no_test_score_unless_there_is_one(
    run: RunFolder, tmp_path: Path
) -> None:
    unseen = export_best(read_search(run), tmp_path / "a", look_at_test=False)
    assert "test" not in unseen.to_dict()
    assert not run.exists(LOOKS)
    assert "have not been scored" in (tmp_path / "a" / "README.md").read_text()
    seen = export_best(read_search(run), tmp_path / "b").metrics.test
    again = export_best(read_search(run), tmp_path / "c", look_at_test=False)
    assert again.metrics.test == seen is not None


def test_the_look_of_a_version_that_kept_no_record_is_counted(
    run: RunFolder, tmp_path: Path
) -> None:
    winner = read_history(run).ranking()[0].number
    metrics = {"test": {"accuracy": 0.5, "loss": 1.0, "images": 359}}
    run.write_json("best/metrics.json", metrics)
    run.write("best/weights.safetensors", run.read(weights_file(winner)))
    again = look(read_search(run), weights_file(winner), "the same weights")
    assert (again.accuracy, again.looks) == (0.5, 1)
    assert look(read_search(run), weights_file(1 - winner), "others").looks == 2
    assert looks(run)[0].accuracy == 0.5


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    found = wilson(0.9, 1000)
    z, n, p = 1.959964, 1000, 0.9  # Wilson 1927
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half), abs=1e-6)


# The confirmed winner


@pytest.mark.slow
def test_the_confirmed_winner_is_packed_with_its_representative_seed_and_verifies(
    confirmed: RunFolder, confirmation: tuple[dict[str, Any], bytes], tmp_path: Path, said: Any
) -> None:
    asked, weights = confirmation
    seed, candidate = asked["representative_seed"], asked["candidates"][0]
    out = tmp_path / "out"
    metrics = export_best(read_search(confirmed), out).to_dict()
    package = read_package(out)
    assert package.config == replace(CONFIG, seed=seed) and package.stop_after is None
    assert (out / "weights.safetensors").read_bytes() == weights
    chosen = next(r for r in candidate["runs"] if r["seed"] == seed)
    assert [row.to_dict() for row in package.history] == chosen["history"]
    assert metrics["val_acc"] == chosen["val_acc"]
    assert metrics["confirmed"]["mean"] == candidate["mean"]
    assert metrics["confirmed"]["seeds"] == list(SEEDS)
    assert metrics["test"]["what"] == f"trial 0 seed {seed}"
    card = (out / "README.md").read_text()
    for part in (f"{candidate['mean']:.4f}", "0.9000", f"{candidate['optimism']:+.4f}",
                 "the only look", f"--seed {seed}", "verify"):  # fmt: skip
        assert part in card
    assert "unconfirmed" not in card and "optimistic" not in card
    status, printed, _ = said("verify", out)
    assert status == 0 and printed.startswith("bit-identical")
    status, printed, _ = said("verify", out, "--quick")
    assert status == 0 and "359 test images" in printed
    assert len(looks(confirmed)) == 1


def test_confirmed_weights_that_are_not_there_are_answered_with_the_command(
    confirmed: RunFolder, tmp_path: Path
) -> None:
    shutil.rmtree(confirmed.file("confirmed"))
    with pytest.raises(InputError, match="confirmed/trial_00000_seed_10.*train.*--seed 10"):
        export_best(read_search(confirmed), tmp_path / "out")


def test_an_unconfirmed_winner_is_said_to_be_unconfirmed_and_optimistic(
    run: RunFolder, tmp_path: Path
) -> None:
    metrics = export_best(read_search(run), tmp_path / "out", look_at_test=False).to_dict()
    assert metrics["confirmed"] is None and "optimistic" in metrics["note"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "unconfirmed" in card.splitlines()[0] and "**optimistic**" in card
