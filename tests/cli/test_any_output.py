"""Results reach whatever standard output is."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.made_runs import made_run
from support.paths import ROOT

from cli.search import finish
from vgg6.tuning.session.session import COMPLETE, Outcome
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
    ended = Outcome(COMPLETE, "4 of 4 trials ended", "", 0.0)
    with pytest.raises(BrokenPipeError):
        finish(run, ended, Settings(name="made", trials=4, epochs=3, data="digits"))
    assert packed == [Path(run.path) / "best"]
