"""The same configuration gives the same bits: in any process, in turns, stopped and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.made.narrow_runs import FP32, digest, narrow_config, run
from support.paths import ROOT

from vgg6.checkpoint import save_state
from vgg6.data import TrialData
from vgg6.hardware.runtime import Runtime, usable_cpus
from vgg6.training import TrainState


@pytest.mark.slow
@pytest.mark.parametrize("threads", sorted({1, min(2, usable_cpus())}))
def test_the_same_configuration_gives_the_same_bits(
    tiny: TrialData, runtime: Runtime, threads: int
) -> None:
    runtime = replace(runtime, threads=threads)
    first = run(TrainState(narrow_config(), runtime), tiny)
    torch.rand(7)
    torch.set_num_threads(1)  # what was set outside of the run has no say
    assert run(TrainState(narrow_config(), runtime), tiny) == first
    assert [m["epoch"] for m in first] == [1, 2, 3]


@pytest.mark.slow
def test_runs_that_take_turns_in_one_process_do_not_touch_each_other(
    tiny: TrialData, runtime: Runtime
) -> None:
    configs = [narrow_config(epochs=2), narrow_config(epochs=2, seed=7, optimizer="adam", lr=1e-3)]
    alone = [run(TrainState(c, runtime), tiny) for c in configs]
    states = [TrainState(c, runtime) for c in configs]
    together: list[list[dict[str, Any]]] = [[], []]
    for epoch in (1, 2):
        for state, out in zip(states, together, strict=True):
            out += run(state, tiny, stop_after=epoch)
    assert together == alone


def test_another_seed_gives_another_start_another_order_and_another_result(
    tiny: TrialData,
) -> None:
    states = [TrainState(narrow_config(epochs=1, seed=seed), FP32) for seed in (1, 2)]
    assert digest(states[0].model) != digest(states[1].model)
    assert run(states[0], tiny)[0]["train_loss"] != run(states[1], tiny)[0]["train_loss"]


RESUME = """
import json, sys
from pathlib import Path
from support.made.narrow_runs import run
from vgg6.checkpoint import load_state
from vgg6.data import load_digits, split
from vgg6.hardware.runtime import Runtime
runtime = Runtime(**json.loads(sys.argv[2]))
data = split(load_digits(), limit_train=60)
folders = sorted(Path(sys.argv[1]).glob("*/*"))
out = {f"{f.parent.name}/{f.name}": run(load_state(f, runtime), data) for f in folders}
print(json.dumps(out))
"""
RESUMED = ("sgd", "adam", "nadam", "rmsprop", "adagrad")


@pytest.fixture(scope="module")
def stopped(
    tiny: TrialData, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs that are saved after each epoch, and what a new process makes of each saved state."""
    folder = tmp_path_factory.mktemp("stopped")
    whole = {}
    for name in RESUMED:
        config = narrow_config(
            optimizer=name, lr=0.01 if name == "sgd" else 1e-3, schedule="onecycle", norm="batch"
        )
        state = TrainState(config, runtime)
        save_state(state, folder / name / "0")
        whole[name] = []
        for epoch in (1, 2, 3):
            whole[name] += run(state, tiny, stop_after=epoch)
            save_state(state, folder / name / str(epoch))
    done = subprocess.run(
        [sys.executable, "-c", RESUME, str(folder), json.dumps(runtime.to_dict())],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return whole, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
@pytest.mark.parametrize("optimizer", RESUMED)
def test_a_run_stopped_at_any_epoch_and_resumed_elsewhere_equals_one_never_stopped(
    stopped: tuple[dict[str, Any], dict[str, Any]], optimizer: str, epoch: int
) -> None:
    whole, resumed = stopped
    assert len({m["weights"] for m in whole[optimizer]}) == 3
    assert resumed[f"{optimizer}/{epoch}"] == whole[optimizer][epoch:]
    # The one that went on from epoch 0 was neither stopped nor saved on its way.
    assert resumed[f"{optimizer}/0"] == whole[optimizer]


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_a_run_stopped_early_is_the_beginning_of_the_whole_run(
    tiny: TrialData, runtime: Runtime, schedule: str
) -> None:
    config = narrow_config(schedule=schedule)
    whole = run(TrainState(config, runtime), tiny, stop_after=9)
    assert len(whole) == 3
    assert run(TrainState(config, runtime), tiny, stop_after=2) == whole[:2]
    assert len({m["lr"] for m in whole}) == 3
