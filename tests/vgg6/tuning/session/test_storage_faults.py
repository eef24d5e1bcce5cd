"""A disk that fills, turns read-only or loses the run folder: said by name, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run
from support.paths import ROOT

from analysis.results.search_tables import write_tables
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, FAILED, INFEASIBLE

pytestmark = pytest.mark.starts_ray
SEARCH = (
    "search", "--data", "digits", "--limit-train", "100", "--trials", "6", "--epochs", "2",
    "--name", "s", "--wandb", "disabled", "--address", "local", "--scheduler", "none",
    "--space", "study_grid", "--searcher", "random",
)  # fmt: skip


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with room for a whole search."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", str(disk))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs to mount a tmpfs, which this user may not: {error}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def earlier_results(disk: Path) -> dict[str, bytes]:
    """An earlier search with its table on the same disk. Returns its files as they are."""
    run = made_run(disk, trials=4, epochs=2, name="earlier")
    write_tables(read_search(run))
    return contents(Path(run.path))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tune_vgg6.py"), *arguments], cwd=cwd, text=True,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_an_epoch(search: subprocess.Popen[str], folder: Path) -> None:
    journal = folder / JOURNAL
    end = time.monotonic() + 240
    while not (journal.exists() and '"event": "epoch"' in journal.read_text()):
        assert time.monotonic() < end and search.poll() is None
        time.sleep(0.1)


def leave_room(disk: Path, spare: int) -> None:
    """Shrinks a tmpfs to what it holds and `spare` bytes, while others may write to it."""
    end = time.monotonic() + 60
    while True:
        try:
            mount("-o", f"remount,size={shutil.disk_usage(disk).used + spare}", str(disk))
            return
        except subprocess.CalledProcessError:  # it has grown beyond that meanwhile
            assert time.monotonic() < end


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_search_goes_on_when_there_is_room(
    disk: Path, tmp_path: Path, ray_here: None, said: Any
) -> None:
    """The disk fills after the first epoch: the next checkpoint of any optimizer is larger."""
    stored = ("--storage", str(disk))
    earlier = earlier_results(disk)
    process = started(*SEARCH, *stored, cwd=tmp_path)
    wait_for_an_epoch(process, disk / "s")
    leave_room(disk, 8 << 20)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 1, error
    assert contents(disk / "earlier") == earlier
    assert "No space left on device" in error and str(disk) in error
    last = error.splitlines()[-1]
    assert last.startswith("incomplete: ") and "resume" in last and "of 6 trials ended" in last
    run = RunFolder(str(disk / "s"))
    before = read_history(run)
    assert before.arrivals
    assert not [t for t in before.trials.values() if t.state == FAILED], "no trial is to blame"

    mount("-o", "remount,size=1g", str(disk))
    status, _, err = said("resume", "s", *stored, "--address", "local")
    assert status == 0, err
    after = read_history(run)
    assert after.arrivals[: len(before.arrivals)] == before.arrivals
    assert contents(disk / "earlier") == earlier
    assert sorted(after.trials) == list(range(6))
    assert all(t.state in (COMPLETED, INFEASIBLE) for t in after.trials.values())
    rows = [sorted(t.rows) for t in after.trials.values() if t.state == COMPLETED]
    assert all(epochs == [1, 2] for epochs in rows)


@pytest.mark.slow
def test_a_storage_that_is_read_only_is_named_before_a_trial_begins(
    disk: Path, tmp_path: Path
) -> None:
    mount("-o", "remount,ro", str(disk))
    process = started(*SEARCH, "--storage", str(disk), cwd=tmp_path)
    _, error = process.communicate(timeout=240)
    assert process.returncode in (1, 2) and "Traceback" not in error
    assert str(disk) in error


@pytest.mark.slow
def test_a_storage_that_turns_read_only_ends_the_search_by_name_with_what_it_had(
    disk: Path, tmp_path: Path, ray_here: None, said: Any
) -> None:
    """A read-only mount on top of the disk: whoever opens a file from then on is refused."""
    earlier = earlier_results(disk)
    stored = ("--storage", str(disk))
    process = started(*SEARCH, *stored, "--trials", "3", "--epochs", "4", cwd=tmp_path)
    wait_for_an_epoch(process, disk / "s")
    mount("--bind", str(disk), str(disk))
    mount("-o", "remount,bind,ro", str(disk))
    try:
        _, error = process.communicate(timeout=240)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert process.returncode == 1, error
    assert "Read-only file system" in error and str(disk) in error
    assert "incomplete: " in error and "of 3 trials ended" in error and "Traceback" not in error
    assert contents(disk / "earlier") == earlier
    before = read_history(RunFolder(str(disk / "s")))
    assert not [t for t in before.trials.values() if t.state == FAILED], "no trial is to blame"
    status, _, err = said("resume", "s", *stored, "--address", "local")
    assert status == 0, err
    after = read_history(RunFolder(str(disk / "s")))
    assert after.arrivals[: len(before.arrivals)] == before.arrivals
    assert [len(t.rows) for t in after.trials.values()] == [4, 4, 4]


@pytest.mark.slow
def test_a_search_whose_folder_is_deleted_stops_and_names_it(tmp_path: Path) -> None:
    process = started(*SEARCH, "--epochs", "50", cwd=tmp_path)
    folder = tmp_path / "runs" / "s"
    wait_for_an_epoch(process, folder)
    shutil.rmtree(folder, ignore_errors=True)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert f"incomplete: {folder}" in said, said
