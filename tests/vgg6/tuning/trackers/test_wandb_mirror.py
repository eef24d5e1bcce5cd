"""What W&B has of a search whose driver or whose mirror was killed: every epoch, each once."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from support.driven_mirrors import DRIVER, drive, two_sessions
from support.made.runs import made_run
from support.wandb_files import read_runs

from vgg6.tuning.run.folder import JOURNAL
from vgg6.tuning.trackers.journal_mirror import Followed, follow
from vgg6.tuning.trackers.wandb_mirror import TOLD, WandbMirror, _Wandb

WANDB = DRIVER.format(
    imports="from vgg6.tuning.trackers.wandb_mirror import WandbMirror",
    mirror='WandbMirror("offline", search, "p")',
    begun='list(folder.glob("wandb/offline-run-*"))', wait=2,  # W&B writes the epoch later
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mirror_too", [False, True])
def test_each_epoch_reaches_wandb_though_the_driver_is_killed_just_after_it(
    tmp_path: Path, mirror_too: bool
) -> None:
    killed, resumed = two_sessions(made_run(tmp_path, trials=2, epochs=4))
    folder = tmp_path / "searched"
    folder.mkdir()
    assert drive(WANDB, folder, *killed, mirror_too) == -signal.SIGKILL
    assert drive(WANDB, folder, *resumed) == 0
    found = read_runs(folder)
    assert len({one.id for one in found} - {""}) == 1, (
        "a trial is one W&B run, in whatever sessions"
    )
    logged = [row["epoch"] for one in found for row in one.history]
    assert sorted(logged) == [1, 2, 3, 4]
    assert found[-1].summary["state"] == "completed"
    assert json.loads((folder / TOLD).read_text()) == {"0": 5}, "four epochs and an end"


def test_a_mirror_is_not_waited_for_where_the_journal_could_not_be_ended(tmp_path: Path) -> None:
    made = made_run(tmp_path, trials=1, epochs=1)
    journal = Path(made.file(JOURNAL))
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    mirror = WandbMirror("offline", Followed(journal, Path(made.path), "g"), "p")
    said = mirror.finish(at_once=True)
    assert "W&B did not finish within 2 s and was left behind" in said
    assert mirror.process is not None and mirror.process.wait(10) != 0


@pytest.mark.slow
def test_a_mirror_waits_for_the_one_of_a_killed_session_and_repeats_nothing_of_it(
    tmp_path: Path,
) -> None:
    made = made_run(tmp_path, trials=1, epochs=4)
    folder, journal = Path(made.path), Path(made.file(JOURNAL))
    first, *_, end = journal.read_text().splitlines(keepends=True)
    with journal.open("a") as lines:
        lines.write((first + end).replace("session_1", "session_2"))
    (folder / TOLD).write_text('{"0": 1}')
    tracker = _Wandb(Followed(journal, folder, "g"), "offline", "p")
    later = threading.Thread(target=follow, args=(journal, tracker, os.getppid()))
    with FileLock(tracker.lock):  # as the earlier mirror holds it, which is still behind
        later.start()
        later.join(0.5)
        assert later.is_alive()
        (folder / TOLD).write_text('{"0": 5}')
    later.join(60)
    assert not later.is_alive()
    assert not list(folder.glob("wandb/offline-run-*")), "four epochs and an end were told already"
