"""The journal and its folder: what a crash leaves, and storage that cannot append."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import fs as pafs
from support.made.runs import made_run
from support.paths import ROOT

import tune_vgg6
from vgg6.common.checks import InputError
from vgg6.common.files import write_atomic
from vgg6.tuning.run.folder import BEFORE, CONFIRMATION, JOURNAL, SEARCH, RunFolder, open_run
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.list_searches import searches_in


def epoch(number: int, score: float = 0.5) -> dict[str, float]:
    return {
        "trial": 0, "epoch": number, "val_acc": score, "best_val_acc": score, "train_acc": score,
        "train_loss": 1.0, "val_loss": 1.0, "best_epoch": number, "lr": 0.1, "seconds": 1.0,
    }  # fmt: skip


def begin(run: RunFolder) -> Journal:
    journal = Journal(run)
    journal.write("session", session=f"session_{len(journal.history.sessions) + 1}")
    return journal


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run folder whose filesystem is not the local one, as an object store's is not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "store"
    folder.mkdir()
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
    history = read_history(run)
    assert sorted(history.trials[0].rows) == [1, 2]
    assert history.torn_lines == 1
    assert [s.name for s in history.sessions] == ["session_1", "session_2"]


def test_a_killed_writer_loses_no_line_that_it_wrote(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from vgg6.tuning.run.journal import Journal\n"
        "from vgg6.tuning.run.trials import METRICS\n"
        "from vgg6.tuning.run.folder import RunFolder\n"
        "journal = Journal(RunFolder(sys.argv[1]))\n"
        "journal.write('session', session='session_1')\n"
        "journal.write('trial', trial=0, config={'epochs': 50}, params={})\n"
        "row = dict.fromkeys(METRICS, 0.1) | {'best_epoch': 1}\n"
        "for e in range(1, 51):\n"
        "    journal.write('epoch', trial=0, epoch=e, **row)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment)
    assert done.returncode == -9
    assert read_history(RunFolder(str(tmp_path))).trials[0].epoch == 50


def test_storage_that_cannot_append_gets_the_whole_journal(
    stored: RunFolder, tmp_path: Path
) -> None:
    for session in (1, 2):
        journal = begin(stored)
        journal.write("trial", trial=session, config={}, params={})
        journal.close()
    (tmp_path / "cache").rename(tmp_path / "another machine has none of it")
    journal = begin(stored)
    journal.close()
    history = read_history(stored)
    assert sorted(history.trials) == [1, 2] and len(history.sessions) == 3


def test_a_killed_writer_to_storage_that_cannot_append_loses_no_line_on_its_machine(
    stored: RunFolder,
) -> None:
    journal = begin(stored)
    assert stored.exists(JOURNAL), "the first line is stored at once"
    journal.write("trial", trial=0, config={"epochs": 50}, params={})
    for number in range(1, 6):
        journal.write("epoch", **epoch(number))
    assert not read_history(stored).trials, "the others wait for ten seconds"
    os.close(journal._lines.fd)  # killed
    again = begin(stored)
    assert again.history.trials[0].epoch == 5
    again.close()
    assert read_history(stored).trials[0].epoch == 5
    # What another machine has written since is not replaced by what lies here.
    stored.write(JOURNAL, b"".join(stored.read(JOURNAL).splitlines(keepends=True)[:3]))
    journal.staged.write_bytes(b"other lines\n" * 99)
    assert Journal(stored).history.trials[0].epoch == 1


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


@pytest.mark.parametrize("content", [b"", b'{"name": "ne', b"\x00\x00\x00", b"null"])
def test_a_torn_state_file_gives_way_to_the_one_before_and_both_are_named(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(str(tmp_path))
    run.write_json(CONFIRMATION, {"winner": 1})
    (tmp_path / CONFIRMATION).write_bytes(content)
    assert run.read_json(CONFIRMATION) == {"winner": 1}, "of the first one there is a copy"
    run.write_json(CONFIRMATION, {"winner": 2})
    run.write_json(CONFIRMATION, {"winner": 3})
    assert run.read_json(CONFIRMATION) == {"winner": 3}
    (tmp_path / CONFIRMATION).write_bytes(content)
    capsys.readouterr()
    assert run.read_json(CONFIRMATION) == {"winner": 2}
    said = capsys.readouterr().err
    assert run.file(CONFIRMATION) in said and run.file(f"{BEFORE}/{CONFIRMATION}") in said
    run.write_json(CONFIRMATION, {"winner": 4})  # what is torn does not take the whole one's place
    (tmp_path / CONFIRMATION).write_bytes(content)
    assert run.read_json(CONFIRMATION) == {"winner": 2}


@pytest.mark.parametrize("command", ["resume", "status", "best", "report", "table", "insights"])
def test_a_search_whose_state_files_are_all_torn_is_refused_by_name(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path, trials=3, epochs=2)
    for file in (SEARCH, f"{BEFORE}/{SEARCH}"):
        Path(run.file(file)).write_bytes(b'{"format": 1, "na')
    assert tune_vgg6.main([command, run.path]) == 2
    said = capsys.readouterr().err
    assert run.file(SEARCH) in said and "is not JSON" in said


@pytest.mark.parametrize("command", ["status", "best", "table"])
def test_a_journal_torn_in_its_middle_is_refused_with_its_file_and_line(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path, trials=3, epochs=2)
    lines = Path(run.file(JOURNAL)).read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:20] + b"\n"
    Path(run.file(JOURNAL)).write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"journal.jsonl line 4.* is damaged"):
        read_history(run)
    assert tune_vgg6.main([command, run.path]) == 2
    assert f"{run.file(JOURNAL)} line 4" in capsys.readouterr().err


def test_a_torn_last_line_is_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path, trials=3, epochs=2)
    with open(run.file(JOURNAL), "ab") as file:
        file.write(b'{"event": "epoch", "tri')
    assert read_history(run).torn_lines == 1
    assert tune_vgg6.main(["status", run.path]) == 0
    assert "1 line torn by a crash" in capsys.readouterr().out


def test_scraps_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=3, epochs=2)
    keep = {p: p.read_bytes() for p in Path(run.path).rglob("*") if p.is_file()}
    scraps = ("weights/.trial_00001.safetensors.77.tmp", ".best.json.9.tmp", ".best-x1/best/a.yaml")
    for name in scraps:
        run.write(name, b"half")
    run.delete_scraps()
    assert {p: p.read_bytes() for p in Path(run.path).rglob("*") if p.is_file()} == keep


def test_a_name_that_is_no_text_hides_no_other_search(tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=2, epochs=1, name="mine")
    before = [found.name for found in searches_in(str(tmp_path))], run.names("")
    for folder in (tmp_path, tmp_path / "mine"):
        os.mkdir(os.fsencode(folder) + b"/caf\xe9")
    assert ([found.name for found in searches_in(str(tmp_path))], run.names("")) == before
    assert before[0] == ["mine"]
