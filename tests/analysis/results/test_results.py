"""The tables of a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import fs as pafs
from support.made.runs import DATA, search_facts

import tune_vgg6
from analysis.results.search_tables import (
    epochs_table,
    tables_of,
    trials_table,
    write_tables,
)
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder, open_run
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, PRUNED

CONFIGS = [
    TrialConfig(activation="relu", optimizer="adam", lr=1e-3, epochs=3),
    TrialConfig(activation="silu", optimizer="nesterov", lr=0.0123456789, epochs=3),
    TrialConfig(activation="tanh", optimizer="rmsprop", lr=5e-4, epochs=3),
]


@pytest.fixture
def search(tmp_path: Path) -> RunFolder:
    """A search of a completed, a pruned and a diverged trial."""
    return write_search(RunFolder(str(tmp_path / "runs" / "mine")))


def write_search(run: RunFolder) -> RunFolder:
    run.create()
    facts = search_facts("mine", 3, "default", data=DATA | {"name": "cifar10"})
    run.write_json(SEARCH, facts)
    lines = [{"event": "session", "session": "session_1"}]
    for number, config in enumerate(CONFIGS):
        lines.append({"event": "trial", "trial": number, "config": config.to_dict(), "params": {}})
        for epoch in range(1, 4 - number if number < 2 else 1):
            lines.append(row(number, epoch))
        state = (COMPLETED, PRUNED, INFEASIBLE)[number]
        reason = "training loss is nan" if state == INFEASIBLE else ""
        lines.append({"event": "end", "trial": number, "state": state, "reason": reason})
    text = "".join(json.dumps({**line, "time": float(n)}) + "\n" for n, line in enumerate(lines))
    run.write(JOURNAL, text.encode())
    return run


def row(number: int, epoch: int) -> dict[str, Any]:
    score = 0.5 + 0.1 * number + 0.01 * epoch
    return {
        "event": "epoch", "trial": number, "epoch": epoch, "train_loss": 1.5, "train_acc": 0.5,
        "val_loss": 1 / 3, "val_acc": score, "best_val_acc": score, "best_epoch": epoch,
        "lr": 0.01, "seconds": 2.5, "node": "here", "pid": 1,
    }  # fmt: skip


def test_parquet_and_csv_are_written_beside_each_other_and_read_back_equal(
    search: RunFolder,
) -> None:
    write_tables(read_search(search))
    for name, frame in (
        ("results", epochs_table(read_search(search))),
        ("trials", trials_table(read_search(search))),
    ):
        again = pd.read_parquet(search.file(f"{name}.parquet"))
        pd.testing.assert_frame_equal(again, frame)
        plain = pd.read_csv(search.file(f"{name}.csv"), keep_default_na=True)
        assert list(plain.columns) == list(frame.columns) and len(plain) == len(frame)
        assert plain.lr.tolist() == frame.lr.tolist()
    assert (
        len(epochs_table(read_search(search))) == 5 and len(trials_table(read_search(search))) == 3
    )


def test_a_search_without_a_trial_has_the_same_column_types_in_parquet(search: RunFolder) -> None:
    full, whole = epochs_table(read_search(search)), trials_table(read_search(search))
    search.delete(JOURNAL)
    write_tables(read_search(search))
    empty = pd.read_parquet(search.file("results.parquet"))
    assert len(empty) == 0 and (empty.dtypes == full.dtypes).all()
    trials = pd.read_parquet(search.file("trials.parquet"))
    differs = trials.dtypes.index[trials.dtypes != whole.dtypes]
    assert set(differs) <= {"best_epoch"}, "nullable where a trial has none"


def test_a_missing_value_is_missing_and_not_a_word_or_a_zero(search: RunFolder) -> None:
    trials = trials_table(read_search(search))
    assert trials.momentum.isna().tolist() == [True, False, False]
    assert trials.best_epoch.isna().tolist() == [False, False, True]
    assert trials.best_epoch[0] == 3 and trials.best_epoch.dtype == "Int64"
    assert trials.epochs_run.tolist() == [3, 2, 0]


def test_an_unfinished_search_is_read_by_name_by_folder_and_by_uri(search: RunFolder) -> None:
    lines = Path(search.file(JOURNAL)).read_text().splitlines(keepends=True)
    Path(search.file(JOURNAL)).write_text("".join(lines[:4]) + lines[4][:30])
    storage = str(Path(search.path).parent)
    for location in ("mine", search.path, Path(search.path).as_uri()):
        run = tables_of(read_search(open_run(location, storage)))
        assert run.name == "mine"
        assert run.epochs.epoch.tolist() == [1, 2] and run.trials.state.tolist() == ["running"]
        assert {"lr", "optimizer", "momentum"} <= set(run.parameters)
        assert run.notes == ("1 unfinished lines of the journal were left out",)


def test_a_search_is_read_from_storage_that_is_no_disk(search: RunFolder) -> None:
    here = tables_of(read_search(search))
    there = tables_of(read_search(store(Path(search.path))))
    pd.testing.assert_frame_equal(here.epochs, there.epochs)
    pd.testing.assert_frame_equal(here.trials, there.trials)


def store(folder: Path) -> RunFolder:
    """The same folder behind a filesystem that is not the local one."""
    run = RunFolder(str(folder))
    run.fs = pafs.SubTreeFileSystem(str(folder.parent), pafs.LocalFileSystem())
    run.path, run.local = folder.name, False
    return run


def test_a_folder_that_is_no_search_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for location in ("photos", str(tmp_path / "photos"), (tmp_path / "photos").as_uri()):
        with pytest.raises(InputError, match="is no search"):
            open_run(location, str(tmp_path))


def test_the_table_command_writes_a_search_in_either_format(
    search: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.parquet"
    assert tune_vgg6.main(["table", search.path, "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    pd.testing.assert_frame_equal(pd.read_parquet(out), epochs_table(read_search(search)))
    assert len(pd.read_parquet(out)) == 5
    assert tune_vgg6.main(["table", search.path, "--trials"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) == len(trials_table(read_search(search))) + 1


def test_the_table_command_makes_a_folder_and_refuses_other_formats_and_files_as_folders(
    search: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "new" / "a.csv"
    assert tune_vgg6.main(["table", search.path, "--out", str(made)]) == 0 and made.exists()
    for name, rule in (("a.xlsx", ".csv or .parquet"), ("new/a.csv/b.csv", "is no folder")):
        assert tune_vgg6.main(["table", search.path, "--out", str(tmp_path / name)]) == 2
        assert rule in capsys.readouterr().err
