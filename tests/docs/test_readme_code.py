"""The code that README shows runs: every Python block, and every command but those named here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.made_runs import made_run
from support.paths import ROOT

import tune_vgg6
from cli.main import build_parser
from vgg6.data.sources import load_digits

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROGRAM = "python tune_vgg6.py "
OURS = [
    line.split("  #")[0].strip()
    for kind, block in BLOCKS
    if kind == ""
    for line in block.splitlines()
    if line.startswith(PROGRAM)
]
# What is not run here but only parsed, and why. Each is run elsewhere, as far as it can be.
PARSED = {
    "search": "takes Ray, CIFAR-10 or a cluster: test_search_command.py, test_gpus.py",
    "resume": "takes Ray: test_search_command.py",
    "train": "is half an hour of CIFAR-10: test_verify.py trains less",
    "export": "takes a search's weights: test_verify.py",
}
PARSED_LINES = {
    "python tune_vgg6.py best first --top 5 --confirm 3": "takes Ray: test_confirm.py",
    "python tune_vgg6.py report first --watch": "serves until it is stopped: test_report.py",
    "python tune_vgg6.py report first --png docs/first": "takes a browser: test_report.py",
    "python tune_vgg6.py report study --study --also study_sigmoide": "takes the study's two"
    " searches: test_study.py",
}
# Lines of other programs, and why they are not run.
OTHERS = {
    "make": "installs from the network: continuous integration runs it",
    ". .venv/bin/activate": "is of the shell that it is typed in",
    "python3 -m venv": "installs from the network",
    "ray": "starts a cluster: test_network.py",
    "chmod": "is of the token of a cluster",
    "cluster/": "takes a cluster: test_job_submit.py",
}
RUN = [
    line
    for line in OURS
    if line.split()[2] not in PARSED and line not in PARSED_LINES
]  # fmt: skip


def test_every_python_block_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert len(blocks) >= 4
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # One CPU, so one thread: several wait for each other where other work runs beside.
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:]),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "calibration error 0." in done.stdout and "(" in done.stdout
    last = float(done.stdout.split()[-1])
    assert last > 0.5, "the last block's network is pruned, in int8, and still better than chance"


def test_training_evaluation_and_compression_are_three_lines_each() -> None:
    for kind, block in BLOCKS:
        if kind == "python":
            code = [line for line in block.splitlines() if line and not line.startswith("from ")]
            assert len(code) <= 3, block


def test_every_shell_line_is_run_or_has_a_reason_not_to() -> None:
    for kind, block in BLOCKS:
        for line in block.splitlines() if kind == "" else ():
            if line.strip() and not line.startswith(PROGRAM):
                assert line.startswith(tuple(OTHERS)), f"{line}: is neither run nor said why not"
    assert set(PARSED_LINES) <= set(OURS), "a reason for a line that is gone"
    assert len(RUN) >= 10


@pytest.mark.parametrize("line", OURS, ids=lambda line: line.removeprefix(PROGRAM))
def test_every_command_is_one_that_the_program_reads(line: str) -> None:
    build_parser().parse_args(shlex.split(line)[2:])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the commands speak of: a search, a package, images of one's own."""
    folder = tmp_path_factory.mktemp("readme")
    made_run(folder / "runs", trials=12, epochs=3, name="first")
    record = Path("benchmarks", "results", "study")
    shutil.copytree(ROOT / record, folder / record)
    images = load_digits().test
    np.savez(folder / "mine.npz", images=images.images, labels=images.labels)
    arguments = "--data digits --limit-train 100 --epochs 1 --batch-size 32 --threads 1 --lr 0.05"
    assert tune_vgg6.main(["train", *arguments.split(), "--out", str(folder / "packed")]) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("line", RUN, ids=lambda line: line.removeprefix(PROGRAM))
def test_a_command_of_the_readme_does_what_it_is_for(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    words = shlex.split(line)[2:]
    words += ["--rounds", "1"] * (words[0] == "compress")
    assert tune_vgg6.main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out or said.err  # a table that goes into a file prints nothing
