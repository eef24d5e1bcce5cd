"""The code that the pages show runs: every Python block, and every command but those named here.

What is not run here is read by the real parser, and its reason names the test that runs it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made.runs import made_run
from support.paths import ROOT
from support.web.pages import PAGES, blocks, name_of, without_blocks

import tune_vgg6
from analysis.demo.onnxruntime_web import FETCH, SERVE
from cli.main import build_parser
from cli.search import read_settings
from search_spaces import load_space
from vgg6.data import load_digits

# Of all pages, each once, in the order in which they stand there.
BLOCKS = [block for page in PAGES for block in blocks(page)]
# Pages with Python, and the test that runs it.
PYTHON = {
    "docs/python.md": "test_readme_code.py",
    "docs/your-own-images.md": "test_your_own_images.py",
}
LINES = list(
    dict.fromkeys(
        line.split("  #")[0].strip()
        for kind, block in BLOCKS
        if kind == ""
        for line in block.splitlines()
        if line.strip()
    )
)
PROGRAM = "python tune_vgg6.py "
BENCHMARK = "python -m benchmarks."
SUBMIT = "cluster/submit.sh "
OURS = [line for line in LINES if line.startswith(PROGRAM)]
BENCHMARKS = [line for line in LINES if line.startswith(BENCHMARK)]
# Kinds of blocks that are no shell commands, and what is done with them.
KINDS = {
    "": "a command a line",
    "python": "run",
    "yaml": "read as a search space",
    "text": "no code: a tree or a message",
}
# What is not run here but only parsed, and why. Each is run elsewhere, as far as it can be.
PARSED = {
    "search": "takes Ray, CIFAR-10 or a cluster: test_search_command.py, test_gpu_kinds.py",
    "resume": "takes Ray: test_search_command.py",
    "train": "is half an hour of CIFAR-10: test_verify.py trains less",
    "export": "takes a search's weights: test_looks_and_export.py",
}
PARSED_LINES = {
    "python tune_vgg6.py best first --confirm": "takes Ray: test_confirm_flag.py",
    "python tune_vgg6.py best first --top 5 --confirm 3": "takes Ray: test_confirm.py",
    "python tune_vgg6.py best pets --confirm": "takes Ray: test_confirm_flag.py",
    "python tune_vgg6.py best all-sizes --front --confirm 2": "takes Ray: test_confirm_front.py",
    "python tune_vgg6.py verify pets-packed/": "takes pictures: test_your_own_images.py",
    "python tune_vgg6.py evaluate pets-packed/ --data ~/new-pets": "takes pictures:"
    " test_your_own_images.py",
    "python tune_vgg6.py report first --watch": "serves until it is stopped: test_report.py",
    "python tune_vgg6.py report first --png docs/first": "takes a browser: test_report.py",
    "python tune_vgg6.py report docs/cifar10-48 --png pictures": "takes a browser: test_report.py",
    "python tune_vgg6.py report study --study --also study_sigmoide": "takes the study's two"
    " searches: test_study.py",
}
RUN_ALL_THE_SAME = [
    "python tune_vgg6.py search --data digits --trials 8 --epochs 4 --name small --dry-run",
]
# Lines of other programs, and why they are not run.
OTHERS = {
    "make": "installs from the network: continuous integration runs it",
    ". .venv/bin/activate": "is of the shell that it is typed in",
    "python3 -m venv": "installs from the network",
    "pip install": "installs from the network",
    "ray": "starts a cluster: test_three_hosts.py",
    "sbatch": "takes Slurm: test_slurm.py",
    "cd pets-packed/": "takes pictures: test_your_own_images.py",
    FETCH: "fetches from the network: test_demo_page.py",
    SERVE: "serves until it is stopped: test_demo_page.py",
    "chmod": "is of the token of a cluster",
    "nvidia-cuda-mps-control": "takes a GPU",
    "wandb sync": "uploads to W&B",
    ".venv/bin/python -m pytest": "is what runs these tests",
    SUBMIT: "takes a cluster: test_job_submit.py",
    BENCHMARK: "takes minutes to hours: test_benchmarks.py",
}
# What takes more than two seconds, and what needs what that has made.
SLOW = ("doctor", "compress", "verify packed-int8/", "report study", "search")
RUN = [
    line
    for line in OURS
    if (line.split()[2] not in PARSED and line not in PARSED_LINES) or line in RUN_ALL_THE_SAME
]  # fmt: skip


def marked(line: str) -> Any:
    slow = line.removeprefix(PROGRAM).startswith(SLOW)
    return pytest.param(line, marks=[pytest.mark.slow] * slow)


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """One CPU, so one thread: several wait for each other where other work runs beside."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usable)[-1:])
    yield
    os.sched_setaffinity(0, usable)


@pytest.mark.slow
def test_every_block_of_the_page_on_python_runs_as_it_stands(
    tmp_path: Path, one_cpu: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    code = [block for kind, block in blocks(ROOT / "docs/python.md") if kind == "python"]
    assert len(code) >= 4
    script = tmp_path / "page.py"
    script.write_text("\n".join(code))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    said = capsys.readouterr().out
    assert "calibration error 0." in said and "(" in said
    last = float(said.split()[-1])
    assert last > 0.5, "the last block's network is pruned, in int8, and still better than chance"


def test_every_page_with_python_has_a_test_that_runs_it() -> None:
    shown = {name_of(page) for page in PAGES if "python" in dict(blocks(page))}
    assert shown == set(PYTHON)


def test_training_evaluation_and_compression_are_three_lines_each() -> None:
    for kind, block in blocks(ROOT / "docs/python.md"):
        if kind == "python":
            code = [line for line in block.splitlines() if line and not line.startswith("from ")]
            assert len(code) <= 3, block


def test_every_space_that_a_page_shows_is_one_that_a_search_reads(tmp_path: Path) -> None:
    shown = [block for kind, block in BLOCKS if kind == "yaml"]
    assert shown
    for block in shown:
        (tmp_path / "shown.yaml").write_text(block)
        load_space(str(tmp_path / "shown.yaml"))


def test_the_space_that_is_shown_is_the_example() -> None:
    example = (ROOT / "search_spaces" / "example.yaml").read_text()
    (shown,) = [block for kind, block in BLOCKS if kind == "yaml"]
    assert [line for line in shown.splitlines() if line] == [
        line.split("  #")[0].rstrip()
        for line in example.splitlines()
        if line and not line.startswith("#")
    ]


def test_the_error_that_is_shown_is_what_the_program_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = [block for kind, block in blocks(ROOT / "docs" / "spaces.md") if kind == "text"]
    example = (ROOT / "search_spaces" / "example.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(example.replace("[sgd, adam]", "[sgd, adm]"))
    monkeypatch.chdir(tmp_path)
    assert tune_vgg6.main(["search", "--space", "mine.yaml", "--data", "digits"]) == 2
    assert capsys.readouterr().err.split() == shown.split()


def test_every_shell_line_is_run_or_has_a_reason_not_to() -> None:
    assert {kind for kind, _ in BLOCKS} <= set(KINDS)
    for line in LINES:
        if not line.startswith(PROGRAM):
            assert line.startswith(tuple(OTHERS)), f"{line}: is neither run nor said why not"
    assert set(PARSED_LINES) <= set(OURS), "a reason for a line that is gone"
    assert set(RUN_ALL_THE_SAME) <= set(OURS)
    for start in OTHERS:
        assert any(line.startswith(start) for line in LINES), f"{start}: no page says it"
    assert len(RUN) >= 10


def test_every_reason_names_a_test_that_is_there() -> None:
    reasons = " ".join(
        [*PARSED.values(), *PARSED_LINES.values(), *OTHERS.values(), *PYTHON.values()]
    )
    for file in re.findall(r"test_\w+\.py", reasons):
        assert list((ROOT / "tests").rglob(file)), file


@pytest.mark.parametrize("line", OURS, ids=lambda line: line.removeprefix(PROGRAM))
def test_every_command_is_one_that_the_program_reads(line: str) -> None:
    args = build_parser().parse_args(shlex.split(line)[2:])
    if args.command == "search":
        read_settings(args)
        load_space(args.space)


def test_every_submitted_command_and_every_argument_of_make_is_one_that_the_program_reads() -> None:
    submitted = [line.removeprefix(SUBMIT) for line in LINES if line.startswith(SUBMIT)]
    passed_on = [
        f"search {found[1]}" for line in LINES if (found := re.search('ARGS="(.*)"', line))
    ]
    assert submitted and passed_on
    for line in submitted + passed_on:
        build_parser().parse_args(shlex.split(line))


def test_every_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = {line.split()[1] for line in LINES if line.startswith("make ")}
    assert {"search", "check", "test"} <= said <= targets


@pytest.mark.parametrize("line", BENCHMARKS, ids=lambda line: line.removeprefix(BENCHMARK))
def test_every_benchmark_reads_its_arguments(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *words = shlex.split(line)[2:]
    real = argparse.ArgumentParser.parse_args

    class Parsed(Exception):
        """The script's own parser took the words."""

    def parse_and_stop(parser: argparse.ArgumentParser, *_: Any) -> None:
        real(parser, words)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    with pytest.raises(Parsed):
        importlib.import_module(module).main()


def test_every_flag_that_a_page_names_is_one_of_the_program() -> None:
    parser = build_parser()
    known = {flag for command in parser.subcommands() for flag in parser.flags_of(command)}
    of_ray, of_slurm = {"--num-gpus"}, {"--signal", "--time", "--chdir"}
    for page in PAGES:
        named = re.findall(r"`(--[\w-]+)[^`]*`", without_blocks(page))
        unknown = {flag.replace("_", "-") for flag in named} - known - of_ray - of_slurm
        assert not unknown - {"--your-field"}, name_of(page)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the commands speak of: a search, a package, images of one's own."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("first", "all-sizes"):
        made_run(folder / "runs", trials=12, epochs=3, name=name)
    record = Path("benchmarks", "results", "study")
    shutil.copytree(ROOT / record, folder / record)
    images = load_digits().test
    np.savez(folder / "mine.npz", images=images.images, labels=images.labels)
    arguments = "--data digits --limit-train 100 --epochs 1 --batch-size 32 --threads 1 --lr 0.05"
    assert tune_vgg6.main(["train", *arguments.split(), "--out", str(folder / "packed")]) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "line", [marked(line) for line in RUN], ids=lambda line: line.removeprefix(PROGRAM)
)
def test_a_command_of_a_page_does_what_it_is_for(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    words = shlex.split(line)[2:]
    words += ["--rounds", "1"] * (words[0] == "compress")
    assert tune_vgg6.main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out or said.err  # a table that goes into a file prints nothing
