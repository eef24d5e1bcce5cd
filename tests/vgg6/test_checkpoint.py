"""A saved state comes back whole to the bit, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from vgg6.checkpoint import (
    STATE,
    TENSORS,
    DamagedCheckpoint,
    best_weights,
    load_state,
    read_facts,
    save_state,
    save_weights,
)
from vgg6.common.files import write_atomic
from vgg6.config import OPTIMIZERS, TrialConfig
from vgg6.data import Source, TrialData, split
from vgg6.hardware.runtime import Runtime
from vgg6.model import VGG6
from vgg6.training import TrainState, fit

FP32 = Runtime(device="cpu", precision="fp32", threads=1)


@pytest.fixture(scope="module")
def tiny(digits_source: Source) -> TrialData:
    return split(digits_source, limit_train=100)


def _trained(data: TrialData, **values: Any) -> TrainState:
    config = TrialConfig(
        **{
            "activation": "relu",
            "init": "kaiming",
            "batch_size": 50,
            "epochs": 2,
            "width": 0.25,
            **values,
        }
    )
    state = TrainState(config, FP32)
    for _ in fit(state, data, stop_after=1):
        pass
    return state


@pytest.fixture(scope="module")
def state(tiny: TrialData) -> TrainState:
    return _trained(tiny)


def _is_same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return mine.keys() == theirs.keys() and all(
        torch.as_tensor(v).equal(torch.as_tensor(theirs[k])) for k, v in mine.items()
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_state_comes_back_as_it_was_saved(
    tiny: TrialData, tmp_path: Path, optimizer: str
) -> None:
    state = _trained(tiny, optimizer=optimizer, norm="batch", lr=0.001)
    save_state(state, tmp_path)
    loaded = load_state(tmp_path, FP32)

    assert loaded.config == state.config
    assert loaded.epoch == state.epoch == 1
    assert (loaded.best.epoch, loaded.best.val_acc) == (state.best.epoch, state.best.val_acc)
    assert _is_same(loaded.model.state_dict(), state.model.state_dict())
    assert _is_same(loaded.best.weights, state.best.weights)
    mine, theirs = loaded.optimizer.state_dict()["state"], state.optimizer.state_dict()["state"]
    assert mine.keys() == theirs.keys() == set(range(len(list(state.model.parameters()))))
    for index, slots in theirs.items():
        assert _is_same(mine[index], slots)
    # Fused kernels read memory in order: what lies otherwise would be trained otherwise.
    for before, after in zip(state.model.parameters(), loaded.model.parameters(), strict=True):
        assert before.stride() == after.stride()
        for slot, value in state.optimizer.state[before].items():
            if torch.is_tensor(value) and value.shape == before.shape:
                assert loaded.optimizer.state[after][slot].stride() == before.stride()


def test_a_state_from_before_the_first_epoch_comes_back_too(tmp_path: Path) -> None:
    fresh = TrainState(TrialConfig(), FP32)
    save_state(fresh, tmp_path)
    loaded = load_state(tmp_path, FP32)
    assert loaded.epoch == loaded.best.epoch == 0
    assert _is_same(loaded.model.state_dict(), fresh.model.state_dict())


def test_loading_changes_nothing_on_disk_and_saving_again_gives_the_same_bytes(
    state: TrainState, tmp_path: Path
) -> None:
    save_state(state, tmp_path / "first")
    before = {p.name: p.read_bytes() for p in (tmp_path / "first").iterdir()}
    save_state(load_state(tmp_path / "first", FP32), tmp_path / "second")
    assert {p.name: p.read_bytes() for p in (tmp_path / "first").iterdir()} == before
    assert {p.name: p.read_bytes() for p in (tmp_path / "second").iterdir()} == before


def test_the_folder_holds_tensors_and_json_and_no_pickle(state: TrainState, tmp_path: Path) -> None:
    save_state(state, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [STATE, TENSORS]
    assert json.loads((tmp_path / STATE).read_text())["epoch"] == 1
    for name in load_file(tmp_path / TENSORS):
        assert name.split("/")[0] in ("model", "optimizer", "best")


def test_the_best_weights_are_stored_apart_only_while_they_are_not_the_current_ones(
    tiny: TrialData, tmp_path: Path
) -> None:
    state = _trained(tiny)
    save_state(state, tmp_path / "best is current")
    assert not any(k.startswith("best/") for k in load_file(tmp_path / "best is current" / TENSORS))
    assert _is_same(best_weights(tmp_path / "best is current"), state.model.state_dict())

    state.best.val_acc = 1.0  # no later epoch is better
    kept = {k: v.clone() for k, v in state.best.weights.items()}
    for _ in fit(state, tiny):
        pass
    save_state(state, tmp_path / "best is older")
    assert not _is_same(kept, state.model.state_dict())
    assert _is_same(best_weights(tmp_path / "best is older"), kept)
    loaded = load_state(tmp_path / "best is older", FP32)
    assert (loaded.epoch, loaded.best.epoch) == (2, 1)
    assert _is_same(loaded.best.weights, kept)
    assert _is_same(loaded.model.state_dict(), state.model.state_dict())


# Damage


@pytest.fixture
def saved(state: TrainState, tmp_path: Path) -> Path:
    save_state(state, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("name", [TENSORS, STATE])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "one byte longer", "zeros"])
def test_a_damaged_file_is_named(saved: Path, name: str, damage: str) -> None:
    file = saved / name
    content = file.read_bytes()
    file.unlink()
    damaged = {
        "empty": b"",
        "cut short": content[: len(content) // 2],
        "one byte longer": content + b"x",
        "zeros": bytes(len(content)),
    }
    if damage != "missing":
        file.write_bytes(damaged[damage])
    with pytest.raises(DamagedCheckpoint, match=name):
        load_state(saved, FP32)


@pytest.mark.parametrize("place", [0.0, 0.001, 0.5, 0.999999])
def test_one_flipped_bit_in_the_tensors_is_found(saved: Path, place: float) -> None:
    content = bytearray((saved / TENSORS).read_bytes())
    content[int(place * len(content))] ^= 4
    (saved / TENSORS).write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match=f"{TENSORS}: .*checksum"):
        load_state(saved, FP32)


def test_one_flipped_bit_anywhere_in_the_facts_is_found_or_without_effect(saved: Path) -> None:
    whole, content = read_facts(saved), (saved / STATE).read_bytes()
    taken = []
    for place in range(len(content)):
        for bit in (1, 2):
            flipped = bytearray(content)
            flipped[place] ^= bit
            (saved / STATE).write_bytes(flipped)
            try:
                if read_facts(saved) != whole:
                    taken.append(bytes(flipped[max(0, place - 20) : place + 5]))
            except DamagedCheckpoint as error:
                assert STATE in str(error)
    assert taken == []


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "{}", '{"epoch": 1}'])
def test_facts_of_another_shape_are_damage(saved: Path, content: str) -> None:
    (saved / STATE).write_text(content)
    with pytest.raises(DamagedCheckpoint, match=STATE):
        read_facts(saved)
    with pytest.raises(DamagedCheckpoint, match=STATE):
        load_state(saved, FP32)


def test_files_of_two_saves_are_not_mixed(tiny: TrialData, saved: Path, tmp_path: Path) -> None:
    save_state(_trained(tiny, seed=1), tmp_path / "other")
    os.replace(tmp_path / "other" / TENSORS, saved / TENSORS)
    with pytest.raises(DamagedCheckpoint, match=TENSORS):
        load_state(saved, FP32)


# Weights alone


def test_saved_weights_are_plain_safetensors_with_their_configuration(
    state: TrainState, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, state.model.state_dict(), state.config)
    with safe_open(path, "pt") as file:
        config = TrialConfig.from_mapping(json.loads(file.metadata()["config"]))
    assert config == state.config
    model = VGG6(config)
    model.load_state_dict(load_file(path))
    assert _is_same(model.state_dict(), state.model.state_dict())
    assert _is_same(load_file(path), state.model.state_dict())


# Writing


def _fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, existing: bool
) -> None:
    path = tmp_path / "file with a space.json"
    if existing:
        write_atomic(path, b"old")
    monkeypatch.setattr(os, step, _fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ([path.name] if existing else [])
    assert not existing or path.read_bytes() == b"old"
    monkeypatch.undo()
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_process_killed_while_writing_leaves_the_old_file_whole(
    tmp_path: Path, python_path: None, step: str
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    killed = f"""
import os, signal, sys
from pathlib import Path
from vgg6.common.files import write_atomic
os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path(sys.argv[1]), b"new" * 100_000)
"""
    done = subprocess.run([sys.executable, "-c", killed, str(path)], timeout=60)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"


def test_a_save_that_fails_at_its_second_file_is_not_taken_for_whole(
    state: TrainState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = []
    replace = os.replace

    def once(source: Path, target: Path) -> None:
        if replaced:
            _fail()
        replaced.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", once)
    with pytest.raises(OSError, match="No space left"):
        save_state(state, tmp_path)
    assert replaced == [tmp_path / TENSORS]
    with pytest.raises(DamagedCheckpoint, match=STATE):
        load_state(tmp_path, FP32)
