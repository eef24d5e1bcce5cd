"""The part of a GPU that a trial gets: as it was asked for, as it was measured, or twice as much.

Which part trains most images is measured. Here most measurements are made up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cli.doctor import examine
from search_spaces import load_space
from tune_vgg6 import main
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import TrialData, load_digits, split
from vgg6.hardware import cpu_speed
from vgg6.hardware.measurements import remember, remembered
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.cluster import gpu_probe as probe
from vgg6.tuning.cluster import gpu_sharing
from vgg6.tuning.cluster.allotment import allot
from vgg6.tuning.cluster.gpu_sharing import (
    SharedSpeed,
    SharedSpeeds,
    best_runs,
    measure_shared_speeds,
    next_to_measure,
    share_of,
)
from vgg6.tuning.cluster.retries import fewer, larger_share
from vgg6.tuning.session import plan as planning
from vgg6.tuning.settings import Settings

A100, T4 = "accelerator_type:A100", "accelerator_type:T4"


@pytest.fixture(scope="module")
def digits() -> TrialData:
    return split(load_digits(), limit_train=100)


def test_trials_on_the_cpu_hold_the_fraction_that_was_asked_for_and_the_plan_says_so() -> None:
    asked = Settings(name="x", gpus_per_trial=0.25, device="cpu")
    plan = allot(asked, [{"CPU": 8.0, "GPU": 1.0}], "cpu")
    assert plan.concurrent == 4 and "0.25 GPU, held and not used" in plan.why


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--gpus-per-trial", "1.5"], ["1.5", "fraction of one GPU (up to 1) or a whole number"]),
        (["--gpus-per-trial", "-0.5"], ["-0.5"]),
        (["--gpus-per-trial", "nan"], ["nan"]),
        (["--gpus-per-trial", "half"], ["half", "neither a number nor auto"]),
        (["--gpus-per-trial", "auto", "--device", "cpu"], ["auto", "--device cpu"]),
        (["--accelerator-type", "A 100"], ["A 100", "such as A100"]),
        (["--accelerator-type", "A100", "--device", "cpu"], ["--gpus-per-trial"]),
        (["--accelerator-type", "A100", "--gpus-per-trial", "0"], ["--gpus-per-trial"]),
    ],
)
def test_a_share_or_a_kind_that_can_be_none_is_refused_before_ray_starts(
    arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--data", "digits", *arguments]) == 2
    said = capsys.readouterr().err
    assert arguments[0] in said and all(part in said for part in parts), said


@pytest.mark.parametrize(
    ("share", "larger"),
    [(0.1, 0.2), (0.25, 0.5), (0.6, 1.0), (1.0, None), (2.0, None), (0.0, None)],
)
def test_a_larger_share_is_twice_as_large_and_never_more_than_a_gpu(
    share: float, larger: float | None
) -> None:
    assert larger_share(share) == larger


def test_each_out_of_memory_means_one_trial_less_at_once_down_to_half() -> None:
    assert [fewer(8, times) for times in range(7)] == [8, 7, 6, 5, 4, 4, 4]
    assert [fewer(n, 1) for n in (1, 2, 3)] == [1, 1, 2]


def found(total_gb: float, *measured: tuple[int, float, float]) -> SharedSpeeds:
    """A measurement: runs, images a second of all together, GB in use; of each number of runs."""
    return SharedSpeeds("a device", total_gb, tuple(SharedSpeed(*speed) for speed in measured))


@pytest.mark.parametrize(
    ("measurement", "runs"),
    [
        (found(80, (1, 100, 2), (2, 180, 4), (3, 240, 6), (4, 250, 8)), 4 - 1),  # hardly more
        (found(80, (1, 100, 2), (2, 180, 4), (3, 240, 6), (4, 300, 8)), 4),
        (found(80, (1, 100, 2), (2, 90, 4), (3, 80, 6)), 1),  # they take turns
        (found(10, (1, 100, 3), (2, 190, 6), (3, 280, 9.5)), 2),  # no margin is left
        (found(10, (1, 100, 3), (2, 190, 6), (3, 0, 9)), 2),  # the third was out of memory
        (found(10, (1, 100, 9.8)), 1),  # nothing else can be given
        (found(10, (1, 0, 10)), 1),
    ],
)
def test_the_share_is_that_of_the_number_of_runs_which_trains_most_and_leaves_a_margin(
    measurement: SharedSpeeds, runs: int
) -> None:
    assert best_runs(measurement) == runs
    auto = Settings(name="x", gpus_per_trial="auto", trials=100)
    nodes = [{"CPU": 64.0, "GPU": 2.0}]
    plan = allot(auto, nodes, "cuda", shared_speeds=lambda: [measurement])
    assert plan.gpus == share_of(runs) and plan.concurrent == 2 * runs
    assert f"{measurement.measured[0].speed:.0f} with 1" in plan.measured or "not fit" in (
        plan.measured
    )
    assert SharedSpeeds.from_dict(measurement.to_dict()) == measurement


def test_of_several_kinds_the_one_that_holds_fewest_decides_and_all_are_shown(
    digits: TrialData,
) -> None:
    large = found(80, (1, 100, 2), (2, 190, 4), (3, 280, 6))
    small = found(16, (1, 50, 6), (2, 90, 12))
    nodes = [{"CPU": 16.0, "GPU": 1.0, A100: 1.0}, {"CPU": 16.0, "GPU": 1.0, T4: 1.0}]
    asked = Settings(name="x", gpus_per_trial="auto", trials=100)

    def probed(*arguments: Any) -> list[SharedSpeeds]:
        _, config, images, of = arguments
        assert (config.batch_size, images) == (256, 100) and of == nodes
        return [large, small]

    plan = planning.decide(asked, load_space("default"), digits, nodes, "disabled", probed)
    assert (plan.allotment.gpus, plan.allotment.concurrent) == (0.5, 4)
    assert "280 with 3" in plan.allotment.measured and "90 with 2" in plan.allotment.measured
    assert "one takes 2.0 of 80 GB" in plan.allotment.measured
    with pytest.raises(InputError, match="no GPU to measure: there is 8 CPUs and 0 GPUs"):
        planning.decide(asked, load_space("default"), digits, [{"CPU": 8.0}], "disabled", probed)


def test_numbers_of_runs_are_measured_until_more_runs_cannot_win() -> None:
    assert next_to_measure(None, 8) == 1
    rising = [(1, 100, 2), (2, 190, 4), (3, 270, 6), (4, 340, 8)]
    assert [next_to_measure(found(80, *rising[:n]), 8) for n in (1, 2, 3, 4)] == [2, 3, 4, 6]
    assert next_to_measure(found(80, *rising), 4) is None, "there are no more CPUs"
    assert next_to_measure(found(9, *rising), 8) is None, "six would not fit"
    assert next_to_measure(found(80, *rising[:3], (4, 0, 80)), 8) is None, "four did not fit"
    flat = [(1, 100, 2), (2, 99, 4), (3, 101, 6)]
    assert next_to_measure(found(80, *flat[:2]), 8) == 3, "one measurement may be unlucky"
    assert next_to_measure(found(80, *flat), 8) is None


@pytest.mark.slow
def test_the_probe_trains_really_so_many_runs_at_once() -> None:
    """As on a GPU, but for the memory: on the CPU, with two runs at the most."""
    config = TrialConfig(activation="relu", optimizer="adam", lr=1e-5, batch_size=16, epochs=10_000)
    runtime = Runtime(device="cpu", precision="fp32", threads=1)
    measured = measure_shared_speeds(runtime, config, 100, 2, epoch_images=32, seconds=0.2)
    assert [p.runs for p in measured.measured] == [1, 2]
    assert all(p.speed > 0 for p in measured.measured)
    if not torch.cuda.is_available():
        on_cuda = Runtime(device="cuda", precision="bf16", threads=1)
        with pytest.raises(RuntimeError, match="a measuring run ended .*NVIDIA|CUDA"):
            measure_shared_speeds(on_cuda, config, 100, 2)


def test_a_measurement_is_remembered_by_device_and_torch_version_and_doctor_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = probe.hungriest(load_space("default"))
    name, runtime = (
        gpu_sharing.device_name("cpu"),
        Runtime(device="cpu", precision="fp32", threads=1),
    )
    known = found(16, (1, 100, 2), (2, 190, 4))
    remember(gpu_sharing.measurement_key(runtime, config, 1000), known.to_dict())
    monkeypatch.setattr(
        probe, "measure_shared_speeds", None
    )  # to measure again would be a TypeError
    assert probe.probe_here(runtime, config, 1000, [{"CPU": 2.0}]) == [known]
    with pytest.raises(TypeError):
        probe.probe_here(runtime, config, 2000, [{"CPU": 2.0}])
    assert not remembered(gpu_sharing.key_start(f"not {name}"))
    assert list(remembered(gpu_sharing.key_start(name)).values()) == [known.to_dict()]

    monkeypatch.setattr(cpu_speed, "_speed", lambda precision, threads, runs: 1.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
    said = next(f.found for f in examine(str(tmp_path)) if f.topic == "gpu")
    assert "190 with 2" in said and "one takes 2.0 of 16 GB: 2 at once" in said
