"""A local Ray whose workers end or linger as they start: real processes, changed at their start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.paths import ROOT

from vgg6.tuning.cluster import start_watch

pytestmark = pytest.mark.starts_ray
# Python runs this before the program of a worker.
AT_START = "import sys\nif any('default_worker' in word for word in sys.orig_argv):\n    {}\n"
# What a search does before its first trial. Ray gives a worker so many seconds to start.
PROGRAM = """
from vgg6.tuning.cluster import ray_internals
ray_internals.REGISTER_S = {seconds} or ray_internals.REGISTER_S
from vgg6.tuning.cluster.connect import connected, quiet_environment
quiet_environment()
with connected("local", verbose=False, to_go_on="tune_vgg6.py resume mine"):
    print("it has started")
"""


def start(folder: Path, at_start: str, seconds: int = 0) -> tuple[int, str, str]:
    """Start Ray with workers that first do ``at_start``. Its driver's status, output and errors."""
    (folder / "sitecustomize.py").write_text(AT_START.format(at_start))
    path = f"{folder}{os.pathsep}{ROOT}"
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(seconds=seconds)],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_ray_whose_workers_end_as_they_start_is_ended_with_their_last_words(
    tmp_path: Path,
) -> None:
    status, said, error = start(tmp_path, "import time; time.sleep(1); sys.exit('no libtorch')")
    assert status == 1 and not said
    assert "Ray cannot be started here: a worker ended while it started" in error
    assert "no libtorch. To go on: tune_vgg6.py resume mine" in error


def test_a_ray_without_any_worker_is_given_up_and_another_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = shutil.which("sleep")
    assert sleep
    program = shutil.copy(sleep, tmp_path / "raylet")
    monkeypatch.setattr(start_watch, "SURE_S", 0.1)
    monkeypatch.setattr(start_watch, "NONE_S", 0.5)
    with subprocess.Popen([program, "60"]) as other:
        watch = start_watch.Start(os.getpid())
        with subprocess.Popen([program, "60"]) as raylet:
            assert watch.look() is None and raylet.poll() is None
            time.sleep(0.6)
            assert watch.look() is None, "it is not given up at first sight"
            time.sleep(0.2)
            assert "a worker ended while it started" in str(watch.look())
            assert raylet.wait(10) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_who_waits_for_a_ray_that_does_not_answer_is_told_once_what_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = start_watch.Start(os.getpid())
    assert watch.look() is None
    monkeypatch.setattr(start_watch, "SLOW_S", 0.0)
    assert f"`kill {os.getpid()}`" in str(watch.look())
    assert watch.look() is None


def test_a_ray_that_ends_its_slow_workers_is_ended_too(tmp_path: Path) -> None:
    status, said, error = start(tmp_path, "import time; time.sleep(30)", seconds=3)
    assert status == 1 and not said and "a worker ended while it started" in error


def test_workers_may_take_longer_to_start_than_ray_lets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "3")
    status, said, _ = start(tmp_path, "import time; time.sleep(8)")
    assert (status, said) == (0, "it has started\n")
