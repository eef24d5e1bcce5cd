"""A search with limits, from the command to the package: no trial breaks one, nor does the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.packages.package_files import PACKED
from vgg6.data import load_recorded
from vgg6.footprint.limits import PARAMETERS, SIZE
from vgg6.footprint.taken import fits
from vgg6.onnx_export.quantization import quantize
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.starts_ray
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
