"""A path is expanded in whatever way it was typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.made_runs import made_run


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
