"""Results reach whatever standard output is."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run
from support.paths import ROOT

from cli.search import finish
from cli.streams import prepare_streams
from vgg6.common.say import say
from vgg6.tuning.session.session_outcome import COMPLETE, Outcome
from vgg6.tuning.settings import Settings


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tune_vgg6.py"), *words],
        cwd=cwd, env=os.environ | environment, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_a_result_is_printed_in_an_encoding_that_lacks_its_characters(
    tmp_path: Path, encoding: str
) -> None:
    made_run(tmp_path / "runs", trials=4, epochs=3, name="made")
    ended = run("best", "made", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert ended.returncode == 0, ended.stderr.decode()
    text = ended.stdout.decode(encoding)
    (line,) = (line for line in text.splitlines() if "val_acc by epoch" in line)
    bars = line.split()[3]
    assert len(bars) == 3 and set(bars) <= set("12345678"), line


def start(*words: str, cwd: Path, redirected: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its streams as a shell redirects them."""
    line = shlex.join([sys.executable, str(ROOT / "tune_vgg6.py"), *words])
    return subprocess.run(
        ["sh", "-c", f"{line} {redirected}"], cwd=cwd, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
@pytest.mark.parametrize("redirected", ["<&- >&- 2>&-", "<&- 2>/dev/full"])
def test_a_closed_or_full_stream_ends_no_command(tmp_path: Path, redirected: str) -> None:
    made_run(tmp_path / "runs", trials=4, epochs=3, name="made")
    ended = start("list", cwd=tmp_path, redirected=redirected)
    assert (ended.returncode, ended.stderr) == (0, "")
    refused = start("best", "other", cwd=tmp_path, redirected=redirected)
    assert (refused.returncode, refused.stdout) == (2, ""), "a message went where results go"


def test_messages_to_nobody_are_dropped_and_the_others_arrive(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = io.TextIOWrapper(io.FileIO(2, "w", closefd=False))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "__stderr__", own)
    monkeypatch.setattr(sys, "stderr", own)
    prepare_streams()
    say("somebody reads")
    read, write = os.pipe()
    os.close(read)
    kept = os.dup(2)
    try:
        os.dup2(write, 2)
        say("nobody reads")
        say("nor this")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(write)
    say("somebody reads again")
    assert capfd.readouterr().err == "somebody reads\nsomebody reads again\n"


def test_a_result_is_plain_text_whatever_the_environment_asks_of_terminals(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(tmp_path / "runs", trials=4, epochs=3, name="made")
    monkeypatch.chdir(tmp_path)
    commands = [("list",), ("best", "made")]
    plain = [said(*command)[1] for command in commands]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert [said(*command)[1] for command in commands] == plain
    assert all(plain) and not any("\x1b" in text for text in plain)


class NobodyReads(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_search_is_packed_before_anything_of_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, packed = made_run(tmp_path, trials=4, epochs=3, name="made"), []
    monkeypatch.setattr(
        "analysis.winner.export.export_best", lambda search, out, look_at_test: packed.append(out)
    )
    monkeypatch.setattr(sys, "stdout", NobodyReads())
    ended = Outcome(COMPLETE, "4 of 4 trials ended", [], 0.0)
    with pytest.raises(BrokenPipeError):
        finish(run, ended, Settings(name="made", data="digits", wandb="disabled"), "")
    assert packed == [Path(run.path) / "best"]
