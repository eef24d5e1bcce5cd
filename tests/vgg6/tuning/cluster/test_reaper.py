"""What is done for a process that was killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.paths import ROOT

from vgg6.tuning.cluster.connect import connected
from vgg6.tuning.cluster.ray_internals import local_session_folder

PROGRAM = """
import os, signal, sys
from vgg6.tuning.cluster import reaper
with reaper.workers_end_with_this_process() as left:
    left.remove(sys.argv[1])
    left.say_if_killed("to go on: resume it")
    {end}
"""


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "to go on: resume it\n"),
        ("os._exit(1)", "to go on: resume it\n"),  # as Ray does when its node is gone
        ("reaper.nothing_more_to_say(); os._exit(1)", ""),
        ("pass", ""),
        ("sys.exit(2)", ""),
    ],
)
def test_a_folder_is_removed_and_a_word_is_said_only_for_a_process_that_was_killed(
    tmp_path: Path, end: str, said: str
) -> None:
    folder = tmp_path / "session"
    (folder / "sockets").mkdir(parents=True)
    # The end of standard error is that of the reaper too, which holds it open.
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end), str(folder)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    assert ended.stderr == said
    assert not folder.exists()


@pytest.mark.usefixtures("no_ray_here")
def test_the_folder_of_a_session_of_ray_is_removed_with_it() -> None:
    with connected("local", verbose=False):
        session = Path(local_session_folder())
        assert session.is_dir()
    end = time.monotonic() + 60
    while session.exists():
        assert time.monotonic() < end, "what Ray wrote is left behind"
        time.sleep(0.2)
