"""Paths: expanded in whatever way they were typed, and said to be what they are."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run

NO_CHARACTER = os.fsdecode(b"a\xff")  # a name in Latin-1 where names are UTF-8


def test_a_path_is_expanded_in_whatever_way_it_was_typed(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    made_run(home / "kept", trials=3, epochs=2, name="made")
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    for words in (
        ("status", "~/kept/made"),
        ("status", "made", "--storage=~/kept"),
        ("status", "made", "--storage", "$HOME/kept"),
        ("status", "${HOME}/kept/made"),
        ("table", "~/kept/made", "--out=~/t.csv"),
    ):
        status, _, err = said(*words)
        assert status == 0, (words, err)
    assert (home / "t.csv").is_file() and not list(work.iterdir())
    (home / "none").mkdir()
    status, _, err = said("search", "--data=~/none", "--dry-run")
    assert status == 2 and f"{home}/none" in err, "it is looked for at home"
    monkeypatch.setenv("CIFAR10_DIR", "~/none")
    status, _, err = said("search", "--dry-run")
    assert status == 2 and "CIFAR10_DIR" in err and f"{home}/none" in err


@pytest.mark.parametrize("command", ["list", "status made", "search --data digits --trials 1"])
@pytest.mark.parametrize(
    ("storage", "cause"),
    [
        ("loop", "Too many levels of symbolic links|is no search"),
        ("file/below", "Not a directory|is no folder|is no search"),
        ("x" * 300, "File name too long|is no search"),
        (NO_CHARACTER, "has bytes that are no characters in utf-8"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_by_its_cause(
    tmp_path: Path,
    said: Any,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    storage: str,
    cause: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    status, out, err = said(*command.split(), "--storage", storage)
    assert status or out.startswith("no search in")
    if status:
        assert err.startswith("error: ") and re.search(cause, err), err


def test_a_package_below_a_loop_of_links_is_refused_by_its_name(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    train = "train --data digits --limit-train 100 --epochs 1 --width 0.125 --out loop/packed"
    status, _, err = said(*train.split())
    assert status in (1, 2) and err.splitlines()[-1].startswith("error: "), err
    assert f"{tmp_path}/loop" in err


def test_a_file_that_finds_no_room_is_named(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(tmp_path / "runs", trials=3, epochs=2, name="made")
    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        status, _, err = said("table", "made", "--out", "results.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (status, err) == (1, "error: [Errno 27] File too large: 'results.csv'\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]


@pytest.mark.parametrize("command", ["list", "search --data digits --dry-run", "doctor"])
def test_a_current_folder_that_is_gone_or_has_no_name_is_told(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    gone, nameless = tmp_path / "gone", tmp_path / NO_CHARACTER
    gone.mkdir()
    nameless.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    status, _, err = said(*command.split())
    assert status == 2 and "is gone: change to one that exists" in err
    monkeypatch.chdir(nameless)
    status, _, err = said(*command.split())
    assert status == 2 and err.startswith("error: current folder: "), err


@pytest.mark.parametrize("name", ["TMPDIR", "XDG_CACHE_HOME"])
def test_a_folder_without_a_name_in_the_environment_is_told_before_a_search_starts(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, NO_CHARACTER)
    status, _, err = said("search", "--data", "digits", "--trials", "1")
    assert status == 2 and err.startswith(f"error: {name}: "), err
