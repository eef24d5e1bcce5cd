"""Each command reads a search's journal once, whatever it makes of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.made.runs import made_run

import tune_vgg6
from vgg6.tuning.run.folder import JOURNAL, RunFolder


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["best"],
        ["insights"],
        ["table", "--trials"],
        ["convert", "--to", "optuna"],
        ["report"],
        ["report", "--study"],
    ],
    ids=" ".join,
)
def test_a_command_reads_the_journal_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    run = made_run(tmp_path, trials=30, epochs=4)
    counts: Counter[str] = Counter()
    read = RunFolder.read

    def counted(folder: RunFolder, name: str) -> bytes:
        counts[name] += 1
        return read(folder, name)

    monkeypatch.setattr(RunFolder, "read", counted)
    command, *flags = words
    assert tune_vgg6.main([command, run.path, *flags]) == 0
    assert counts[JOURNAL] == 1
