"""What is kept of a trial that has not ended: where it lies, how much, and what is found again."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from vgg6.checkpoint import STATE, TENSORS
from vgg6.config import TrialConfig
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime
from vgg6.lengthening import why_begun_again
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.session.trial_checkpoints import (
    drop_states,
    keep_state,
    keep_states,
    kept_weights,
    newest_first,
    resume_or_start,
)

CONFIG = TrialConfig(
    activation="relu", optimizer="sgd", lr=0.01, batch_size=64, epochs=4, width=0.125
)
ASSIGNMENT: dict[str, Any] = {"number": 7, "config": CONFIG.to_dict()}


@pytest.fixture(params=["local", "copied"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    """A run folder, written as on a local disk and as on an object store: through copies."""
    folder = RunFolder(str(tmp_path / "run"))
    folder.create()
    folder.local = request.param == "local"
    return folder


def train(run: RunFolder, data: TrialData, runtime: Runtime, epochs: int) -> TrainState:
    state = TrainState(CONFIG, runtime)
    for metrics in fit(state, data, stop_after=epochs):
        keep_state(run, 7, state, metrics.to_dict())
    return state


def names(run: RunFolder) -> list[str]:
    return [path.rsplit("/", 1)[-1] for path in newest_first(run, 7)]


@pytest.mark.slow
def test_the_last_two_epochs_are_kept_and_the_newest_is_resumed(
    run: RunFolder, digits_small: TrialData, runtime: Runtime
) -> None:
    trained = train(run, digits_small, runtime, 3)
    assert names(run) == ["epoch_00003", "epoch_00002"]
    state, metrics, _ = resume_or_start(run, ASSIGNMENT, runtime)
    assert state.epoch == metrics["epoch"] == 3
    for name, value in trained.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], value)
    weights = kept_weights(run, 7, trained.best.epoch)
    assert weights is not None
    for name, value in trained.best.weights.items():
        assert torch.equal(weights[name], value)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
def test_a_damaged_newest_state_is_named_and_the_one_before_is_used(
    run: RunFolder, digits_small: TrialData, runtime: Runtime
) -> None:
    train(run, digits_small, runtime, 3)
    newest = Path(newest_first(run, 7)[0])
    for name, damage in product((TENSORS, STATE), (truncate, flip, Path.unlink)):
        whole = (newest / name).read_bytes()
        damage(newest / name)
        state, metrics, damaged = resume_or_start(run, ASSIGNMENT, runtime)
        assert state.epoch == metrics["epoch"] == 2
        assert len(damaged) == 1 and f"{newest} is damaged" in damaged[0] and name in damaged[0]
        (newest / name).write_bytes(whole)
    truncate(newest / TENSORS)
    for metrics_again in fit(state, digits_small, stop_after=3):
        keep_state(run, 7, state, metrics_again.to_dict())
    assert names(run) == ["epoch_00003", "epoch_00002"]
    again, _, damaged = resume_or_start(run, ASSIGNMENT, runtime)
    assert (again.epoch, damaged) == (3, []), "the damaged one is replaced"


def test_weights_are_taken_only_from_a_whole_state_that_has_the_best_epoch(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(str(tmp_path))
    best = train(run, digits_small, runtime, 1).best.epoch
    shutil.copytree(newest_first(run, 7)[0], run.file("checkpoints/trial_00007/epoch_00002"))
    assert kept_weights(run, 7, best) is not None and kept_weights(run, 7, 2) is None
    flip(Path(newest_first(run, 7)[0]) / TENSORS)
    assert kept_weights(run, 7, best) is not None, "from the one before"
    assert "epoch_00002 is damaged" in capsys.readouterr().err
    flip(Path(newest_first(run, 7)[1]) / TENSORS)
    assert kept_weights(run, 7, best) is None


def test_without_a_whole_state_of_this_configuration_a_trial_starts_anew(
    run: RunFolder, digits_small: TrialData, runtime: Runtime
) -> None:
    assert resume_or_start(run, ASSIGNMENT, runtime)[1] == {}
    assert kept_weights(run, 7, 1) is None
    train(run, digits_small, runtime, 1)
    other = {"number": 7, "config": {**ASSIGNMENT["config"], "lr": 0.02}}
    state, metrics, damaged = resume_or_start(run, other, runtime)
    assert (state.epoch, metrics, damaged) == (0, {}, [])
    drop_states(run, 7)
    assert names(run) == []
    assert resume_or_start(run, ASSIGNMENT, runtime)[0].epoch == 0


def fake(run: RunFolder, number: int, epochs: int, size: int = 100) -> None:
    for epoch in range(1, epochs + 1):
        path = Path(run.file(f"checkpoints/trial_{number:05d}/epoch_{epoch:05d}"))
        path.mkdir(parents=True)
        (path / "state").write_bytes(b"x" * (size - 10))
        (path / "more").write_bytes(b"x" * 10)


def test_of_paused_trials_the_newest_state_is_kept_of_the_first_ones_within_the_room(
    run: RunFolder,
) -> None:
    for number in range(5):
        fake(run, number, epochs=2)
    keep_states(run, [3, 1, 9, 4, 0], room=250)
    kept = {n: [Path(p).name for p in newest_first(run, n)] for n in range(5)}
    assert kept == {
        3: ["epoch_00002"], 1: ["epoch_00002"], 4: [], 0: [], 2: ["epoch_00002", "epoch_00001"]
    }, "two have room; of the trial that is not paused nothing is touched"  # fmt: skip
    keep_states(run, [3, 1], room=200)
    assert newest_first(run, 1), "what just fits is kept"
    keep_states(run, [], room=0)
    assert newest_first(run, 3)


def test_a_trial_whose_state_was_dropped_begins_anew_and_comes_to_the_same_bits(
    tmp_path: Path, digits_small: TrialData, runtime: Runtime
) -> None:
    run = RunFolder(str(tmp_path))
    whole = TrainState(CONFIG, runtime)
    rows = {m.epoch: m.to_dict() | {"seconds": 0} for m in fit(whole, digits_small, stop_after=2)}
    train(run, digits_small, runtime, 1)
    keep_states(run, [7], room=10)
    state, metrics, damaged = resume_or_start(run, ASSIGNMENT, runtime)
    assert (state.epoch, metrics, damaged) == (0, {}, [])
    for m in fit(state, digits_small, stop_after=2):
        assert m.to_dict() | {"seconds": 0} == rows[m.epoch]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], value)


def test_a_trial_goes_on_to_a_greater_length_from_its_last_state_where_that_is_the_same_run(
    run: RunFolder, digits_small: TrialData, runtime: Runtime
) -> None:
    train(run, digits_small, runtime, 1)
    longer = TrialConfig.from_mapping({**CONFIG.to_dict(), "epochs": 6})
    state, metrics, _ = resume_or_start(run, {"number": 7, "config": longer.to_dict()}, runtime)
    assert (state.epoch, state.config, metrics["epoch"]) == (1, longer, 1)
    at_once = TrainState(longer, runtime)
    found = [m.val_loss for m in fit(state, digits_small, stop_after=2)]
    assert found == [m.val_loss for m in fit(at_once, digits_small, stop_after=2)][1:]
    for changed in ({"epochs": 6, "lr": 0.02}, {"epochs": 6, "schedule": "cosine"}):
        other = {"number": 7, "config": {**CONFIG.to_dict(), **changed}}
        assert resume_or_start(run, other, runtime)[0].epoch == 0


def test_a_run_goes_on_only_where_its_epochs_do_not_depend_on_its_length() -> None:
    assert why_begun_again(CONFIG, 4, 8) == ""
    cosine = TrialConfig.from_mapping({**CONFIG.to_dict(), "schedule": "cosine"})
    assert "cosine schedule" in why_begun_again(cosine, 1, 8)
    sharpened = TrialConfig.from_mapping({**CONFIG.to_dict(), "sam": 0.05, "epochs": 6})
    assert why_begun_again(sharpened, 4, 12) == "", "the first four epochs of six are plain"
    assert "sharpened" in why_begun_again(sharpened, 5, 12)
