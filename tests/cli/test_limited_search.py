"""A search with limits, from the command to the package: no trial breaks one, nor does the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.packages.limit_check import TRIES
from analysis.packages.package_files import PACKED
from vgg6.config import TrialConfig
from vgg6.data import CompleteFacts, Reading, data_facts, load_recorded, load_source, split
from vgg6.footprint.latency import latency, measure_file
from vgg6.footprint.limits import LATENCY, PARAMETERS, SIZE
from vgg6.footprint.within_limits import fits
from vgg6.model import VGG6
from vgg6.onnx_export.onnx_file import onnx_bytes
from vgg6.onnx_export.quantization import quantize
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.starts_ray
WIDTHS = """\
name: widths
parameters:
  width: {low: 0.125, high: 2.0, log: true}
fixed: {activation: relu, optimizer: adam, lr: 0.001, batch_size: 64}
"""
LIMITS = ("--max-parameters", "100k", "--max-size", "100kB")
SEARCH = (
    "search", "--space", "sizes", "--data", "digits", "--limit-train", "100", "--trials", "4",
    "--epochs", "1", "--scheduler", "none", "--name", "s", "--wandb", "disabled",
    "--searcher", "random", "--address", "local",
)  # fmt: skip


@pytest.mark.slow
def test_no_trial_breaks_a_limit_and_the_packed_winner_is_within_each(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = said(*SEARCH, *LIMITS)
    assert status == 0, err
    search = read_search(RunFolder(str(tmp_path / "runs" / "s")))
    facts, data = search.facts, load_recorded(search.facts.data)[1]
    assert [(x.kind, x.most) for x in facts.settings.limits] == [
        (PARAMETERS, 100_000), (SIZE, 100_000),
    ]  # fmt: skip
    images = facts.data.completed(facts.data)  # type: ignore[arg-type]
    assert len(search.history.trials) == 4
    for trial in search.history.trials.values():
        assert fits(facts.settings.limits, trial.config, images), trial.config.label
    assert "at most 100,000 parameters" in out and "at most 100 kB" in out
    folder = tmp_path / "runs" / "s" / PACKED
    kept = json.loads((folder / "metrics.json").read_text())["limits"]
    assert [one["kind"] for one in kept] == [PARAMETERS, SIZE]
    assert all(0 < one["found"] <= one["most"] for one in kept)
    small = quantize((folder / "model.onnx").read_bytes(), data.train.images[:64])
    assert len(small) == kept[1]["found"] <= 100_000
    assert "within the limit of 100,000" in (folder / "README.md").read_text()
    # Resumed, it is still the same space.
    assert said("resume", "s", "--address", "local")[0] == 0
    assert read_search(search.folder).space == search.space


@pytest.mark.slow
def test_no_trained_trial_takes_longer_than_max_latency_nor_does_the_packed_file(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nothing is measured yet
    (tmp_path / "widths.yaml").write_text(WIDTHS)
    source = load_source("digits", Reading(image_size=16))
    facts = data_facts("digits", source, split(source), how=Reading(image_size=16),
                       split_seed=42, limit_train=None)  # fmt: skip
    narrow, wide = (latency(TrialConfig(activation="relu", width=w), facts) for w in (0.125, 2))
    most = (narrow.high * wide.median) ** 0.5
    assert narrow.high < most < wide.median, "some widths fit, and others do not"
    flags = ("--space", "widths.yaml", "--image-size", "16", "--max-latency", f"{most * 1e6:.0f}us")
    status, out, err = said(*SEARCH, *flags)
    assert status == 0, err
    search = read_search(RunFolder(str(tmp_path / "runs" / "s")))
    (limit,) = search.facts.settings.limits
    assert limit.kind == LATENCY and limit.most == pytest.approx(most, abs=1e-6)
    (width,) = [p for p in search.space.parameters if p.name == "width"]
    assert width.high is not None and width.high < 2
    assert fits([limit], TrialConfig(activation="relu", width=width.high), facts)
    assert len(search.history.trials) == 4
    for trial in search.history.trials.values():
        assert trial.config.width <= width.high
        assert _takes(trial.config, facts) <= limit.most, trial.config.label
    assert f"networks of {limit.words}" in " ".join(out.split())
    folder = tmp_path / "runs" / "s" / PACKED
    (kept,) = json.loads((folder / "metrics.json").read_text())["limits"]
    assert kept["low"] <= kept["found"] <= min(kept["high"], kept["most"])
    packed = (folder / "model.onnx").read_bytes()
    assert min(measure_file(packed, facts).median for _ in range(TRIES)) <= limit.most
    assert "(median; quartiles" in (folder / "README.md").read_text()


def _takes(config: TrialConfig, images: CompleteFacts) -> float:
    """Seconds for one image, of a network that is made anew. Other work comes and goes, so that the
    best of a few tries counts."""
    content = onnx_bytes(config, VGG6(config, images.task).state_dict(), images)
    return min(measure_file(content, images).median for _ in range(TRIES))
