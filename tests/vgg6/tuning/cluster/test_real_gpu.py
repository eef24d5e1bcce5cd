"""What only a real GPU can show. All of it is skipped where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.paths import ROOT

from vgg6.checkpoint import load_state, save_state
from vgg6.common.machine import KERNELS
from vgg6.config import ACTIVATIONS, OPTIMIZERS, TrialConfig
from vgg6.data import Source, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = Runtime(device="cuda", precision="bf16", threads=1)
OF_BATCHES = """
name: of_batches
parameters: {{lr: {{low: 1e-4, high: 0.1, log: true}}}}
fixed: {{activation: gelu, optimizer: adam, batch_size: {batch}}}
points: [{{lr: 0.001}}, {{lr: 0.002}}]
"""


def bits(state: TrainState) -> dict[str, bytes]:
    return {name: t.cpu().numpy().tobytes() for name, t in state.model.state_dict().items()}


def results(state: TrainState, data: Any, **options: Any) -> list[dict[str, Any]]:
    """Each epoch's metrics without its time."""
    found = [metrics.to_dict() for metrics in fit(state, data, **options)]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("sam", [0.0, 0.05])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_runs_of_a_seed_and_one_that_was_resumed_are_equal_to_the_last_bit(
    optimizer: str, sam: float, kernels: str, digits_source: Source, tmp_path: Path
) -> None:
    """With replayed batches, and a last one of another size that is not."""
    data = split(digits_source, limit_train=32 * 9 + 5)
    config = TrialConfig(
        activation="gelu", optimizer=optimizer, lr=1e-3, batch_size=32, epochs=4, sam=sam
    )
    runtime = replace(GPU, kernels=kernels)
    first, second, third = (TrainState(config, runtime) for _ in range(3))
    expected = results(first, data)
    torch.rand(3, device="cuda")
    assert results(second, data) == expected and bits(second) == bits(first)
    begun = results(third, data, stop_after=2)
    save_state(third, tmp_path / "state")
    resumed = load_state(tmp_path / "state", runtime)
    assert begun + results(resumed, data) == expected and bits(resumed) == bits(first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bias_activation_and_pooling_as_one_kernel_are_what_pytorchs_are(
    activation: str, pooled: bool, dtype: torch.dtype
) -> None:
    pytest.importorskip("triton")
    from support.fused_cases import SHAPES, difference

    bound = 1e-5 if dtype == torch.float32 else 1e-2
    for shape in (*SHAPES, (128, 64, 32, 32)):
        assert max(difference(activation, pooled, dtype, shape, "cuda")) <= bound, shape


def search(folder: Path, *words: str, batch: int = 64) -> tuple[str, History]:
    """A search of two trials on this machine's GPU: what it said, and what became of it."""
    (folder / "space.yaml").write_text(OF_BATCHES.format(batch=batch))
    fixed = (
        "search", "--name", "s", "--address", "local", "--space", "space.yaml", "--data", "digits",
        "--device", "cuda", "--trials", "2", "--epochs", "2", "--scheduler", "none", "--wandb",
        "disabled", "--cpus-per-trial", "1",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(ROOT / "tune_vgg6.py"), *fixed, *words],
        cwd=folder, env=os.environ | {"XDG_CACHE_HOME": str(folder)}, capture_output=True,
        text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stderr, read_history(RunFolder(str(folder / "runs" / "s")))


@pytest.mark.starts_ray
def test_a_share_that_is_measured_is_what_trials_get(tmp_path: Path) -> None:
    said, history = search(tmp_path, "--gpus-per-trial", "auto")
    assert "measured, images a second of all runs at once" in said
    assert {trial.state for trial in history.trials.values()} == {COMPLETED}
    assert {trial.epoch for trial in history.trials.values()} == {2}


@pytest.mark.starts_ray
def test_a_trial_that_is_really_out_of_memory_is_tried_once_with_twice_its_share(
    tmp_path: Path,
) -> None:
    """In batches that take some 2 GB, with 1.6 GB of which CUDA itself takes a third."""
    total = torch.cuda.mem_get_info()[1]
    share = round(1.6e9 / total, 4)
    _, history = search(
        tmp_path, "--gpus-per-trial", f"{share:g}", "--max-concurrent", "2", batch=256
    )
    trials = history.trials.values()
    assert history.enlarged == 2
    assert [trial.gpus for trial in trials] == pytest.approx([2 * share] * 2)
    assert {trial.state for trial in trials} <= {COMPLETED, INFEASIBLE}
    assert all("out of device memory" in t.reason for t in trials if t.state == INFEASIBLE)
    assert history.repeated_rows == 0
