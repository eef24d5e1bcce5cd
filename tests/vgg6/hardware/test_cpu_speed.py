"""The choices that are made by measuring this machine, once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.made.runs import made_run

from cli.doctor import examine
from vgg6.common.machine import usable_cpus
from vgg6.hardware import cpu_speed, measurements
from vgg6.hardware.cpu_speed import best_threads, precision_speeds, thread_speeds
from vgg6.hardware.measurements import cache_file
from vgg6.hardware.runtime import Runtime
from vgg6.tuning.cluster.allotment import allot
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.session.trial_speed import check_measured_threads, trial_speed
from vgg6.tuning.settings import Settings


@pytest.fixture(autouse=True)
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing has been measured here yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measurements._known.cache_clear()
    yield
    measurements._known.cache_clear()


def test_a_measurement_is_made_once_and_then_read_by_the_next_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)  # whatever else this machine does
    monkeypatch.setattr(cpu_speed, "STEADY", 0.0)
    monkeypatch.setattr(cpu_speed, "BATCH", 4)
    threads = torch.get_num_threads()
    found = thread_speeds("fp32")
    assert set(found) == {str(2**i) for i in range(min(usable_cpus(), 16).bit_length())}
    assert all(speed > 0 for speed in found.values())
    assert torch.get_num_threads() == threads, "measuring left the process's threads changed"

    with monkeypatch.context() as patch:
        patch.setattr(cpu_speed, "_speed", None)  # to measure again would be a TypeError
        assert thread_speeds("fp32") == found, "a process decides once"
    for _ in range(cpu_speed.PROCESSES - 1):
        measurements._known.cache_clear()
        found = thread_speeds("fp32")
    monkeypatch.setattr(cpu_speed, "_speed", None)
    measurements._known.cache_clear()
    assert thread_speeds("fp32") == found
    (kept,) = json.loads(cache_file().read_text()).values()
    assert kept == {"processes": cpu_speed.PROCESSES, "speeds": found}


def measured(monkeypatch: pytest.MonkeyPatch, **speeds: float) -> dict[str, float]:
    """What a new process decides by where this machine of two CPUs gives so many images a second to
    one thread each and to two."""
    by_threads = {1: speeds["one"] / 2, 2: speeds["two"]}
    monkeypatch.setattr(cpu_speed, "usable_cpus", lambda: 2)
    monkeypatch.setattr(cpu_speed, "_speed", lambda precision, n, runs: by_threads[n] * runs)
    measurements._known.cache_clear()
    return thread_speeds("bf16")


def test_a_rival_that_was_measured_too_slow_is_measured_again_by_the_next_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A neighbour held up two threads in every round of one process: trials on one thread never
    show it, as these are as fast as measured."""
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)
    assert best_threads(measured(monkeypatch, one=226, two=46)) == 1
    assert not cpu_speed.contradicted("bf16", 1, 113.0)
    assert best_threads(measured(monkeypatch, one=302, two=516)) == 2
    # A neighbour of the third process takes nothing back.
    assert measured(monkeypatch, one=90, two=100) == {"1": 302.0, "2": 516.0}
    # It is settled, and no later process measures.
    assert measured(monkeypatch, one=900, two=900) == {"1": 302.0, "2": 516.0}


def test_a_search_on_threads_that_were_asked_for_corrects_a_rival_that_was_measured_too_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)
    monkeypatch.setattr("vgg6.tuning.session.trial_speed.usable_cpus", lambda: 2)
    for _ in range(cpu_speed.PROCESSES):
        assert best_threads(measured(monkeypatch, one=226, two=46)) == 1
    history = read_history(made_run(tmp_path, trials=6, epochs=4))
    data = SimpleNamespace(train=range(4902))  # in epochs of 9.5 s: 516 images a second
    for threads, concurrent, again in ((2, 0, False), (1, 2, False), (2, 1, True)):
        asked = SimpleNamespace(concurrent=concurrent, measured="")
        runtime = Runtime(device="cpu", precision="bf16", threads=threads)
        images = data if threads == 2 else SimpleNamespace(train=range(1400))
        plan = SimpleNamespace(allotment=asked, runtime=runtime, data=images)
        check_measured_threads(plan, history)  # type: ignore[arg-type]
        assert bool(measurements.remembered("threads")) != again
    assert best_threads(measured(monkeypatch, one=302, two=516)) == 2


def test_what_a_busy_machine_measured_reaches_no_other_process_with_a_later_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 1e9)
    measured(monkeypatch, one=226, two=46)
    measurements.remember("of a quiet machine", 1)
    measurements.forget("of a quiet machine")
    measurements.remember("another", 2)
    assert json.loads(cache_file().read_text()) == {"another": 2}


def test_two_processes_that_measure_at_once_keep_what_both_found() -> None:
    measurements.remember("first", 1)
    kept = json.loads(cache_file().read_text()) | {"of the other": 2}
    cache_file().write_text(json.dumps(kept))
    measurements.remember("of this one", 3)
    assert json.loads(cache_file().read_text()) == kept | {"of this one": 3}


def test_a_measurement_on_a_busy_machine_is_not_kept_for_other_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice as many spinning neighbours as CPUs: this process gets a third of them."""
    monkeypatch.setattr(cpu_speed, "BATCH", 8)
    spin = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(spin) for _ in range(2 * usable_cpus())]
    try:
        found = thread_speeds("fp32")
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    assert not cache_file().exists()
    assert thread_speeds("fp32") == found, "this process decides once"


@pytest.mark.parametrize(
    ("seen", "chosen", "kept"),
    [
        # A neighbour meets the first measurement of two threads, or both of the first round.
        ({"1": [302, 300, 301], "2": [46, 516, 510]}, 2, True),
        ({"1": [120, 300, 301], "2": [90, 516, 510]}, 2, True),
        # It hardly ever rests: one measurement alone is no ground for all later searches.
        ({"1": [302, 300, 301], "2": [46, 90, 516]}, 2, False),
        ({"1": [226, 300, 310], "2": [200, 210, 205]}, 1, True),
        ({"1": [302, 300], "2": [510, 516]}, 2, True),
    ],
)
def test_a_neighbour_that_comes_and_goes_does_not_fix_the_threads_of_later_searches(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, list[float]], chosen: int, kept: bool
) -> None:
    order, rounds = [], len(seen["1"])

    def speed(precision: str, threads: int, runs: int) -> float:
        order.append(threads)
        return seen[str(threads)].pop(0)

    monkeypatch.setattr(cpu_speed, "usable_cpus", lambda: 2)
    monkeypatch.setattr(cpu_speed, "_speed", speed)
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)
    assert best_threads(thread_speeds("bf16")) == chosen
    assert order == [1, 2] * rounds, "in turns, no more often than it takes"
    assert bool(cpu_speed.why_not_kept("bf16")) == (not kept)


@pytest.mark.parametrize(("second", "rounds"), [(500, 1), (600, 1), (300, 2)])
def test_a_second_process_measures_once_where_it_agrees_with_the_first(
    monkeypatch: pytest.MonkeyPatch, second: int, rounds: int
) -> None:
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)
    measured(monkeypatch, one=302, two=516)
    order = []

    def speed(precision: str, threads: int, runs: int) -> float:
        order.append(threads)
        return {1: 151.0, 2: float(second)}[threads] * runs

    monkeypatch.setattr(cpu_speed, "_speed", speed)
    measurements._known.cache_clear()
    assert thread_speeds("bf16") == {"1": 302.0, "2": max(516.0, second)}
    assert order == [1, 2] * rounds
    assert not cpu_speed.why_not_kept("bf16")


@pytest.mark.parametrize(
    ("seconds", "again"),
    # 200 images in an epoch of a second, and 150 a second were measured with two at once.
    [(1.0, False), (0.7, False), (0.5, True), (5.0, True)],
)
def test_a_kept_choice_that_trials_contradict_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float, again: bool
) -> None:
    monkeypatch.setattr(cpu_speed, "usable_cpus", lambda: 2)
    monkeypatch.setattr(cpu_speed, "_speed", lambda precision, threads, runs: 150.0 * runs)
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)
    assert best_threads(thread_speeds("fp32")) == 1 and not cpu_speed.why_not_kept("fp32")
    history = read_history(made_run(tmp_path, trials=6, epochs=4))
    for trial in history.trials.values():
        trial.rows = {n: replace(row, seconds=seconds) for n, row in trial.rows.items()}
    speed = trial_speed(history, images=200)
    assert speed == pytest.approx(200 / seconds)
    assert cpu_speed.contradicted("fp32", 1, speed) == again
    assert bool(cpu_speed.why_not_kept("fp32")) == again
    measurements._known.cache_clear()
    assert (not measurements.remembered("threads")) == again, "the next process, too"


def test_a_broken_or_forbidden_cache_only_costs_another_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_speed, "_speed", lambda precision, threads, runs: 1.0)
    monkeypatch.setattr(cpu_speed, "UNDISTURBED", 0.0)
    cache_file().parent.mkdir()
    cache_file().write_text('{"half a li')
    assert precision_speeds() == {"bf16": 1.0, "fp32": 1.0}
    (key,) = json.loads(cache_file().read_text())
    for odd in (5, {"speeds": 5, "processes": 3}, {"speeds": {"bf16": 9.0}, "processes": 3}):
        cache_file().write_text(json.dumps({key: odd}))
        measurements._known.cache_clear()
        assert precision_speeds() == {"bf16": 1.0, "fp32": 1.0}
    measurements._known.cache_clear()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert precision_speeds() == {"bf16": 1.0, "fp32": 1.0}


def emulating(monkeypatch: pytest.MonkeyPatch, emulates: bool = True) -> None:
    """This CPU has no bf16 of its own."""
    monkeypatch.setattr("vgg6.hardware.runtime.native_bf16", lambda: False)
    monkeypatch.setattr("vgg6.hardware.runtime.emulates_bf16", lambda: emulates)


@pytest.mark.parametrize(("bf16", "fp32", "chosen"), [(300.0, 90.0, "bf16"), (20.0, 90.0, "fp32")])
def test_a_cpu_without_bf16_takes_what_it_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, bf16: float, fp32: float, chosen: str
) -> None:
    speeds = {"bf16": bf16, "fp32": fp32}
    emulating(monkeypatch)
    monkeypatch.setattr(cpu_speed, "_speed", lambda precision, threads, runs: speeds[precision])
    assert Runtime.resolve("cpu").precision == chosen
    assert Runtime.resolve("cpu", "fp32").precision == "fp32", "what was asked for is not measured"
    cpu = next(f for f in examine(".") if f.topic == "cpu")
    assert f"compute in {chosen}" in cpu.found and f"bf16 {bf16:.0f}, fp32 {fp32:.0f}" in cpu.advice


def test_a_cpu_without_kernels_for_bf16_takes_fp32_and_measures_no_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulating(monkeypatch, False)

    def speed(precision: str, threads: int, runs: int) -> float:
        assert precision == "fp32", "a step in bf16 would take seconds here"
        return 90.0

    monkeypatch.setattr(cpu_speed, "_speed", speed)
    assert Runtime.resolve("cpu").precision == "fp32"
    assert not measurements.remembered("precision")
    cpu = next(f for f in examine(".") if f.topic == "cpu")
    assert "compute in fp32" in cpu.found and "AVX-512 BF16" in cpu.advice


def test_the_real_measurement_decides_on_a_cpu_that_emulates_bf16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulating(monkeypatch)
    monkeypatch.setattr(cpu_speed, "BATCH", 1)  # where nothing emulates it, an image takes a second
    chosen = Runtime.resolve("cpu").precision
    speeds = precision_speeds()
    assert speeds[chosen] == max(speeds.values())


@pytest.mark.parametrize(
    ("speeds", "threads"),
    [
        ({"1": 560.0, "2": 520.0}, 1),
        ({"1": 500.0, "2": 520.0}, 1),  # hardly a difference: more trials at once
        ({"1": 400.0, "2": 520.0}, 2),
        ({"1": 400.0, "2": 700.0, "4": 690.0}, 2),
    ],
)
def test_trials_get_the_threads_that_train_most_images_together(
    speeds: dict[str, float], threads: int
) -> None:
    assert best_threads(speeds) == threads
    cpus = float(max(int(n) for n in speeds))
    plan = allot(Settings(name="x"), [{"CPU": cpus}], "cpu", lambda: speeds)
    assert (plan.threads, plan.concurrent) == (threads, int(cpus) // threads)
    assert f"{max(speeds.values()):.0f} with" in plan.measured
    asked = allot(Settings(name="x", cpus_per_trial=1.0), [{"CPU": cpus}], "cpu", lambda: speeds)
    assert asked.threads == 1 and not asked.measured, "what was asked for is not measured"


@pytest.mark.parametrize(
    ("began", "cpus", "share"),
    [
        (2, 8.0, "4 at once, 2 CPUs (2 threads) each"),
        (1, 2.0, "2 at once, 1 CPU (1 thread) each"),
        (4, 2.0, "1 at once, 2 CPUs (4 threads) each"),  # a smaller machine: slower, and the same
    ],
)
def test_a_search_goes_on_with_the_threads_that_it_began_with(
    began: int, cpus: float, share: str
) -> None:
    def measured() -> dict[str, float]:
        raise AssertionError("nothing is left to measure")

    plan = allot(Settings(name="x"), [{"CPU": cpus}], "cpu", measured, threads=began)
    assert plan.threads == began and plan.why.startswith(share)
    last = allot(Settings(name="x", trials=1), [{"CPU": 8.0}], "cpu", measured, threads=began)
    assert last.threads == began and last.cpus == began
