"""Machines unlike its makers': no home, a user of a random number, long paths."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import ray
from support.made.runs import made_run
from support.paths import ROOT

from cli.doctor import examine
from vgg6.tuning.cluster.connect import connected, ray_temp_folder
from vgg6.tuning.cluster.ray_internals import local_session_folder
from vgg6.tuning.run.driver_lock import only_driver

ASKED = "from vgg6.tuning.cluster.connect import ray_temp_folder; print(ray_temp_folder())"
READ_ALL = "+dac_read_search"
STRANGER = ["setpriv", "--reuid=54321", f"--inh-caps={READ_ALL}", f"--ambient-caps={READ_ALL}"]


def as_a_stranger(*words: str, **home: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user whom the system does not know, and who may read this checkout and its
    Python wherever they lie."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOME", "XDG"))}
    return subprocess.run(
        [*STRANGER, sys.executable, "-B", str(ROOT / "tune_vgg6.py"), *words], cwd="/tmp",
        env=environment | home, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root and `setpriv`"
)
@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/no/such/folder"}])
def test_a_user_without_a_home_is_told_so_before_anything_starts(home: dict[str, str]) -> None:
    ended = as_a_stranger("search", "--data", "digits", "--dry-run", **home)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    assert ended.stderr.startswith("error: HOME: ")
    told = as_a_stranger("doctor", "--storage", "/tmp", **home)
    assert "Traceback" not in told.stderr and "fail folders   HOME: " in told.stdout


@pytest.mark.slow
def test_python_without_docstrings_is_said_to_be_so_before_ray_is_imported(tmp_path: Path) -> None:
    def start(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-B", "-OO", str(ROOT / "tune_vgg6.py"), *words], cwd=tmp_path,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    assert start("list").stdout == "no search in runs\n"
    refused = start("search", "--data", "digits")
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.startswith("error: python: '-OO' drops docstrings")


# As Ray's dashboard, which every search starts, uses what pydantic has deprecated.
DEPRECATED = "import pydantic.deprecated.config as c; assert c.Extra.allow"
AS_RAY_STARTS = f"""
import subprocess, sys
from cli.main import main
assert main(["list"]) == 0
exec({DEPRECATED!r})
sys.exit(subprocess.run([sys.executable, "-c", {DEPRECATED!r}]).returncode)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("options", "variable"), [([], "error"), (["-We"], "")])
def test_a_warning_of_a_dependency_ends_nothing_where_python_makes_errors_of_them(
    options: list[str], variable: str
) -> None:
    ended = subprocess.run(
        [sys.executable, *options, "-c", AS_RAY_STARTS], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONWARNINGS": variable}, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


@pytest.mark.usefixtures("no_ray_here")
@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_long_for_sockets_is_not_used_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    folder = tmp_path / ("of-a-batch-system-" * 5)
    folder.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, str(folder))
    assert ray_temp_folder() == f"/tmp/ray-{os.getuid()}"
    assert [f.state for f in examine("/tmp") if f.topic == "folders"] == ["warn"]
    with connected("local", verbose=False):
        assert ray.get(ray.remote(lambda: 42).remote(), timeout=60) == 42
        assert Path(local_session_folder()).parent == Path(f"/tmp/ray-{os.getuid()}")


@pytest.mark.slow
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and `unshare`"
)
@pytest.mark.parametrize(
    ("mounted", "said"),
    [("ro", "Ray's files go to /tmp/ray-0"), ("size=64k", "0 MB free in {folder}, where Ray")],
)
def test_a_temporary_folder_that_is_full_or_read_only_is_said_to_be_so(
    tmp_path: Path, mounted: str, said: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="t") as folder:  # short
        mount = f"mount -t tmpfs -o {mounted} none {folder} && exec "
        ask = f"{sys.executable} -B -c 'from cli.doctor import _folders; print(_folders())'"
        environment = {k: v for k, v in os.environ.items() if k != "RAY_TMPDIR"}
        asked = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount + ask], cwd=ROOT, capture_output=True, text=True,
            env=environment | {"TMPDIR": folder}, timeout=60,
        )  # fmt: skip
        if "mount:" in asked.stderr:
            pytest.skip("may mount nothing here")
        assert said.format(folder=folder) in asked.stdout, asked.stderr


@pytest.mark.slow
def test_a_library_that_finds_no_memory_is_told_in_a_line(tmp_path: Path) -> None:
    def little(*words: str) -> subprocess.CompletedProcess[str]:
        line = f"ulimit -v 1000000; exec {sys.executable} -B {ROOT / 'tune_vgg6.py'} "
        return subprocess.run(
            ["bash", "-c", line + " ".join(words)], cwd=tmp_path, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip

    told = little("search", "--data", "digits", "--dry-run")
    assert told.returncode == 1 and "Traceback" not in told.stderr, told.stderr
    assert "error: a library cannot be loaded: " in told.stderr


def test_a_command_runs_in_a_thread_that_no_signal_reaches(said: Any) -> None:
    """As a notebook, or a program with a window, may start it."""
    found: list[tuple[int, str, str]] = []
    thread = threading.Thread(target=lambda: found.append(said("list", "--storage", "/no/such")))
    thread.start()
    thread.join()
    assert found == [(0, "no search in /no/such\n", "")]


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root and `setpriv`"
)
def test_a_second_user_of_a_machine_has_a_folder_of_its_own_for_ray() -> None:
    with tempfile.TemporaryDirectory(prefix="u") as shared:  # short
        os.chmod(shared, 0o777)
        (theirs := Path(shared, "ray")).mkdir()
        for owner, folder in ((0, "/tmp/ray-54321"), (54321, "None")):
            os.chown(theirs, owner, owner)
            asked = subprocess.run(
                [*STRANGER, sys.executable, "-B", "-c", ASKED], cwd=ROOT, capture_output=True,
                text=True, env={**os.environ, "RAY_TMPDIR": shared}, timeout=60,
            )  # fmt: skip
            assert asked.stdout.strip() == folder, asked.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root and `setpriv`"
)
def test_a_search_of_another_user_can_be_looked_at_and_is_not_gone_on_with(tmp_path: Path) -> None:
    run, home = made_run(tmp_path, trials=3, epochs=2, name="made"), tmp_path / "home"
    home.mkdir()
    os.chown(home, 54321, -1)
    with only_driver(run):
        told = as_a_stranger("status", run.path, HOME=str(home))
    assert (told.returncode, told.stderr) == (0, "") and "running" in told.stdout.split("\n")[0]
    told = as_a_stranger("status", run.path, HOME=str(home))
    assert (told.returncode, told.stderr) == (0, "") and "running" not in told.stdout
    refused = as_a_stranger("resume", run.path, HOME=str(home))
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.startswith(f"error: RUN: '{run.path}' cannot be written: "), (
        refused.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("option", ["-P", "-I"])
def test_a_python_that_looks_nowhere_of_itself_finds_the_commands(
    tmp_path: Path, option: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-B", option, str(ROOT / "tune_vgg6.py"), "list"], cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "no search in runs\n"), ended.stderr


NOTEBOOK = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import ray
from vgg6.tuning.cluster.connect import connected
with connected("local", verbose=False):
    name = ray.get(ray.remote(lambda: __import__("vgg6.tuning").__name__).remote(), timeout=120)
    print("imported", name)
"""


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_workers_find_the_code_of_a_search_that_a_notebook_elsewhere_starts(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")}
    ended = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], cwd=tmp_path, capture_output=True, text=True,
        env=environment, timeout=180,
    )  # fmt: skip
    assert "imported vgg6" in ended.stdout, ended.stderr


def test_a_short_folder_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/short")
    assert ray_temp_folder() is None
