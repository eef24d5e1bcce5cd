"""What W&B has of a search whose driver or whose mirror was killed: every epoch, each once."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from support.driven_mirrors import DRIVER, drive
from support.made_runs import made_run
from support.wandb_files import read_runs

from vgg6.tuning.run.folder import JOURNAL
from vgg6.tuning.trackers.journal_mirror import Followed
from vgg6.tuning.trackers.wandb_mirror import TOLD, WandbMirror

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
    run = made_run(tmp_path, trials=2, epochs=4)
    lines = run.read(JOURNAL).decode().splitlines(keepends=True)
    first = [line for line in lines if json.loads(line).get("trial") == 0]
    session, end = lines[0], lines[-1]
    folder = tmp_path / "searched"
    folder.mkdir()
    trial, *epochs, ended = first
    killed = drive(WANDB, folder, [session, trial, epochs[0]], epochs[1:3], mirror_too)
    assert killed == -signal.SIGKILL
    again, end = (line.replace("session_1", "session_2") for line in (session, end))
    assert drive(WANDB, folder, [again, epochs[3]], [ended, end]) == 0
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
