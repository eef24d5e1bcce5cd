"""The journal and its folder: what a crash leaves, and storage that cannot append."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import fs as pafs

from vgg6.config import InputError
from vgg6.files import write_atomic
from vgg6.tuning import journal as j
from vgg6.tuning.run_folder import JOURNAL, SEARCH, RunFolder, open_run


def epoch(number: int, score: float = 0.5) -> dict[str, float]:
    return {
        "trial": 0, "epoch": number, "val_acc": score, "best_val_acc": score, "train_acc": score,
        "train_loss": 1.0, "val_loss": 1.0, "best_epoch": number, "lr": 0.1, "seconds": 1.0,
    }  # fmt: skip


def begin(run: RunFolder) -> j.Journal:
    journal = j.Journal(run)
    journal.write("session", session=f"session_{len(journal.history.sessions) + 1}")
    return journal


def object_store(folder: Path) -> RunFolder:
    """A run folder whose filesystem is not the local one, as an object store's is not."""
    run = RunFolder(str(folder))
    run.fs = pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem())
    run.path, run.local, run.uri = "run", False, f"mock://{folder}/run"
    return run


def test_a_journal_goes_on_after_a_line_torn_by_a_crash(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    journal = begin(run)
    journal.write("trial", trial=0, config={}, params={})
    journal.write("epoch", **epoch(1))
    journal.close()
    with open(tmp_path / JOURNAL, "a") as file:
        file.write('{"event": "epoch", "trial": 0, "epo')
    again = begin(run)
    again.write("epoch", **epoch(2))
    again.close()
    history = j.read_history(run)
    assert sorted(history.trials[0].rows) == [1, 2]
    assert history.torn_lines == 1
    assert [s["session"] for s in history.sessions] == ["session_1", "session_2"]


def test_a_killed_writer_loses_no_line_that_it_wrote(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from vgg6.tuning.journal import METRICS, Journal\n"
        "from vgg6.tuning.run_folder import RunFolder\n"
        "journal = Journal(RunFolder(sys.argv[1]))\n"
        "journal.write('session', session='session_1')\n"
        "journal.write('trial', trial=0, config={'epochs': 50}, params={})\n"
        "row = dict.fromkeys(METRICS, 0.1) | {'best_epoch': 1}\n"
        "for e in range(1, 51):\n"
        "    journal.write('epoch', trial=0, epoch=e, **row)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment)
    assert done.returncode == -9
    assert j.read_history(RunFolder(str(tmp_path))).trials[0].epoch == 50


def test_storage_that_cannot_append_gets_the_whole_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "store").mkdir()
    run = object_store(tmp_path / "store")
    for session in (1, 2):
        journal = begin(run)
        journal.write("trial", trial=session, config={}, params={})
        journal.close()
    (tmp_path / "cache").rename(tmp_path / "another machine has none of it")
    journal = begin(run)
    journal.close()
    history = j.read_history(run)
    assert sorted(history.trials) == [1, 2] and len(history.sessions) == 3


def test_a_run_is_found_by_folder_by_uri_and_by_name(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path / "runs" / "o'clock; rm"))
    run.create()
    run.write_json(SEARCH, {"name": "x"})
    for location in (run.path, Path(run.path).as_uri(), "o'clock; rm"):
        assert open_run(location, str(tmp_path / "runs")).read_json(SEARCH) == {"name": "x"}
    with pytest.raises(InputError, match="did you mean"):
        open_run("o'clok; rm", str(tmp_path / "runs"))


def test_a_failed_write_leaves_the_old_file_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(tmp_path / "file", b"old")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "file", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]
