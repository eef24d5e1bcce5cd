"""Every command that is printed or written runs as it stands, from where the user is."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run, search_facts
from support.paths import ROOT

from analysis.packages.package_files import SUMS
from analysis.suggested_commands import (
    RECORDED,
    SearchCommands,
    again,
    command,
    pip_command,
    unused,
)
from cli.doctor import PINNED
from cli.main import build_parser
from cli.search import finish, read_settings
from cli.session import typed_command
from search_spaces import load_space
from vgg6.checkpoint import weights_bytes
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import data_facts, load_digits, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import RunFolder, new_run, open_run, weights_file
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import COMPLETED
from vgg6.tuning.session.session_outcome import Outcome
from vgg6.tuning.settings import Settings

LIMIT, EPOCHS = 100, 1
PORTABLE = " ".join(RECORDED)
TYPED = "python tune_vgg6.py search --data digits --name 'a name' --space study_grid"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interrupted search of three trials that were really trained."""
    run = RunFolder(str(tmp_path_factory.mktemp("trained") / "made"))
    run.create()
    data, runtime = split(load_digits(), limit_train=LIMIT), Runtime.resolve("cpu", threads=1)
    facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=LIMIT)
    run.write_json(
        "search.json",
        search_facts(
            "made",
            3,
            data=facts.to_dict(),
            runtime=runtime.to_dict(),
            command=TYPED,
            settings=Settings(name="made", trials=3, epochs=EPOCHS, data="digits").to_dict(),
        ),
    )
    journal = Journal(run)
    journal.write("session", session="session_1")
    for number, activation in enumerate(("relu", "tanh")):
        params = {"activation": activation, "optimizer": "adam", "batch_size": 64, "lr": 0.001}
        config = TrialConfig(**params, epochs=EPOCHS, width=0.25)
        journal.write("trial", trial=number, config=config.to_dict(), params=params)
        state = TrainState(config, runtime)
        for metrics in fit(state, data):
            journal.write("epoch", trial=number, node="here", pid=1, **metrics.to_dict())
        run.write(weights_file(number), weights_bytes(state.best.weights, config))
        journal.write("end", trial=number, state=COMPLETED, reason="")
    journal.write("session_end", session="session_1", outcome="interrupted")
    journal.close()
    return Path(run.path)


# Where the search lies, from where it is asked for, and how.
GROUNDS = {
    "a name in the default storage": ("here/runs/second", "here", ["second"]),
    "a storage with a space outside": (
        "my runs/second", "elsewhere", ["second", "--storage", "../my runs"],
    ),
    "a folder of another name, copied since": ("kept/copy of it", "kept", ["copy of it"]),
    "the path of a folder": ("far/away/second", "here", ["../far/away/second"]),
    "a storage that looks like a flag": ("here/-x/second", "here", ["second", "--storage=-x"]),
}  # fmt: skip


@pytest.fixture
def ground(
    request: pytest.FixtureRequest, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, list[str]]]:
    """The run folder, and its words on the command line. This process stands where the user is."""
    place, here, words = GROUNDS[request.param]
    shutil.copytree(trained, tmp_path / place)
    (tmp_path / here).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / here)
    monkeypatch.setattr("analysis.report.summary_md.find_browser", lambda: None)
    yield tmp_path / place, words


def printed(said: Any, folder: Path, words: list[str]) -> list[str]:
    """Everything that the commands on a search print or write."""
    texts: list[str] = []
    for line in (
        ["status", *words],
        ["best", *words],
        ["best", *words, "--json"],
        ["export", *words, "--out", "packed here"],
        ["report", *words, "--study", "--png", "pictures", "--out", "a report.html"],
    ):
        status, out, err = said(*line)
        assert status == 0, err
        texts += [out, err]
    files = ["pictures/summary.md", "a report.html"]
    texts += [without_scripts(Path(name).read_text()) for name in files]
    card = Path("packed here/README.md").read_text()
    assert str(ROOT) not in card and sys.executable not in card, "a package travels"
    return [*texts, card.replace(f"\n{PORTABLE} ", f"\n{command()} ")]


def without_scripts(text: str) -> str:
    """The text of a page, without what is no text for a person."""
    markup = r"<(script|style)\b.*?</\1>|</?(code|pre)\b[^>]*>"
    plain = re.sub(r"</?span\b[^>]*>", "", text)  # of a flag that is not broken in two
    return html.unescape(re.sub(markup, "\n", plain, flags=re.DOTALL))


def commands_in(text: str) -> list[str]:
    """All commands that name this program, and each must name this Python before it."""
    found = [line.partition(command())[2] for line in text.splitlines() if command() in line]
    named = [line for line in text.splitlines() if "tune_vgg6.py" in line]
    assert len(found) == len(named), f"a command that names no Python, or not this: {named}"
    return [line.replace('",', "").replace('\\"', '"') for line in found]


def args_of(line: str) -> Any:
    return build_parser().parse_args(shlex.split(line, comments=True))


def checked(line: str, folder: Path) -> Any:
    """The command as the program reads it. It names the search that it was printed for."""
    args = args_of(line)
    if args.command == "search":
        load_space(args.space)
        settings = read_settings(args)
        new_run(settings.name, settings.storage)
    elif hasattr(args, "run"):
        assert Path(open_run(args.run, args.storage).path).samefile(folder)
    elif hasattr(args, "package"):
        assert (Path(args.package) / SUMS).exists() or args.package.startswith("packed")
    return args


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("ground", GROUNDS, indirect=True)
def test_every_printed_command_names_what_it_was_printed_for(
    ground: tuple[Path, list[str]], said: Any
) -> None:
    folder, words = ground
    lines = [line for text in printed(said, folder, words) for line in commands_in(text)]
    names = [checked(line, folder).command for line in lines]
    for name in ("search", "resume", "best", "export", "verify", "train", "report"):
        assert name in names
    resumed = next(line for line in lines if line.strip().startswith("resume"))
    assert shlex.split(resumed)[1:] == words, "as it was typed"


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("ground", ["a storage with a space outside"], indirect=True)
def test_every_printed_command_that_takes_no_ray_runs(
    ground: tuple[Path, list[str]], said: Any
) -> None:
    folder, words = ground
    lines = {line for text in printed(said, folder, words) for line in commands_in(text)}
    takes_ray = {"search", "resume"}
    order = ["status", "best", "train", "export", "verify", "report"]
    todo = [(args_of(line), line) for line in lines if "--confirm" not in line]
    assert len(todo) >= 8
    for args, line in sorted(
        ((a, t) for a, t in todo if a.command not in takes_ray),
        key=lambda pair: order.index(pair[0].command),
    ):
        status, _, err = said(*shlex.split(line, comments=True))
        assert status == 0, (line, args, err)


@pytest.mark.parametrize("ground", ["a storage with a space outside"], indirect=True)
def test_the_end_of_a_search_names_commands_that_go_on_from_it(
    ground: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, words = ground
    settings = replace(
        read_settings(args_of("search --name second")), storage=words[-1], wandb="disabled"
    )
    run = open_run(*words[::2])
    to_go_on = SearchCommands(run).resume()
    for outcome in ("complete", "incomplete"):
        finish(run, Outcome(outcome, "it is over", [], 0.0), settings, to_go_on)
    lines = commands_in("".join(capsys.readouterr()))
    found = [checked(line, folder) for line in lines]
    assert {args.command for args in found} >= {"best", "export", "resume", "train"}


@pytest.mark.parametrize("ground", ["a storage with a space outside"], indirect=True)
def test_a_shell_runs_a_printed_command(ground: tuple[Path, list[str]]) -> None:
    _, words = ground
    line = SearchCommands(open_run(*words[::2])).resume().replace(" resume ", " status ")
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "interrupted" in done.stdout, done.stderr


def test_a_name_that_is_taken_is_answered_with_the_command_that_goes_on(
    trained: Path, said: Any
) -> None:
    status, _, err = said("search", "--name", trained.name, "--storage", trained.parent)
    assert status == 2
    assert checked(commands_in(err)[0], trained).command == "resume"


def test_a_folder_that_is_taken_is_not_named_for_a_new_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unused("packed") == "packed/"
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed-2").touch()
    assert unused("packed") == "packed-3/"


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("ground", ["a storage with a space outside"], indirect=True)
def test_a_report_of_two_searches_names_both_in_its_command(
    ground: tuple[Path, list[str]], said: Any
) -> None:
    folder, words = ground
    shutil.copytree(folder, folder.parent / "third")
    report = ["report", *words, "--study", "--also", "third"]
    status, _, err = said(*report, "--out", "page.html")
    assert status == 0, err
    lines = commands_in(without_scripts(Path("page.html").read_text()))
    (again_line,) = [line for line in lines if " --study" in line]
    args = args_of(again_line)
    assert checked(again_line, folder).also == ["third"]
    assert Path(open_run(args.also[0], args.storage).path).samefile(folder.parent / "third")


def test_doctor_names_the_requirements_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    python, *words = shlex.split(pip_command(PINNED))
    assert words[:-1] == ["-m", "pip", "install", "-r"] and Path(words[-1]).samefile(PINNED)
    assert Path(shutil.which(python) or "").samefile(sys.executable)


def test_a_viewer_that_is_not_there_is_named_with_what_installs_it(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_run(tmp_path, 3, 2)
    monkeypatch.setenv("PATH", str(tmp_path))
    convert = ("convert", tmp_path / "made", "--to", "optuna", "--out")
    status, text, _ = said(*convert, tmp_path / "first")
    assert status == 0 and text.endswith(" -m pip install optuna-dashboard\n")
    (tmp_path / "optuna-dashboard").touch(0o755)
    status, text, _ = said(*convert, tmp_path / "second")
    assert status == 0 and "pip install" not in text


def test_python_is_called_by_its_path_where_the_shell_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment's Python is a link to the one that it was made from."""
    venv, own = tmp_path / "venv", tmp_path / "usr"
    for folder in (venv, own):
        folder.mkdir()
    (own / "python").symlink_to(sys.executable)
    (venv / "python").symlink_to(own / "python")
    (venv / "python3").symlink_to("python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(venv / "python3"))
    monkeypatch.setenv("PATH", str(own))
    assert command("best").startswith("venv/python3 ")
    monkeypatch.setenv("PATH", f"{venv}:{own}")
    assert command("best").startswith("python ")


def test_the_program_is_named_from_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, program in ((ROOT, "tune_vgg6.py"), (ROOT / "docs", "../tune_vgg6.py")):
        monkeypatch.chdir(folder)
        assert shlex.split(command("doctor"))[1:] == [program, "doctor"]


def test_a_recorded_search_is_begun_again_under_a_name_of_its_own() -> None:
    assert again(TYPED) == command("search", "--data", "digits", "--space", "study_grid")
    assert again("python tune_vgg6.py search --name=x --trials 3") == command(
        "search", "--trials", "3"
    )


def test_a_space_and_images_of_ones_own_are_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "it's here", tmp_path / "there"
    for folder in (here, there, here / "images"):
        folder.mkdir()
    shutil.copy(ROOT / "search_spaces/example.yaml", here / "mine.yaml")
    monkeypatch.chdir(here)
    for words in ("--space mine.yaml --data images", "--space=mine.yaml --data=images"):
        recorded = typed_command(args_of(f"search {words}"))
        with monkeypatch.context() as moved:
            moved.chdir(there)
            args = args_of(again(recorded).partition(command())[2])
            assert load_space(args.space) == load_space(str(here / "mine.yaml"))
            assert Path(args.data) == here / "images"
    assert typed_command(args_of("search --data digits --space study_grid")).endswith(
        "search --data digits --space study_grid"
    )


def test_a_search_is_seen_to_start_before_its_images_are_read(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str, str]] = []

    def read(data: str, how: Any) -> Any:
        seen.append(said("status", "coming", "--storage", tmp_path))
        raise InputError("data", data, "is not there")

    monkeypatch.setattr("cli.search.load_source", read)
    search = ("search", "--name", "coming", "--storage", tmp_path, "--address", "local")
    assert said(*search)[0] == 2
    assert [out for _, out, _ in seen] == ["coming: starting\n"]
    assert not (tmp_path / "coming").exists()


@pytest.mark.parametrize("ground", ["a storage with a space outside"], indirect=True)
def test_a_winner_whose_weights_are_gone_is_trained_again_as_a_package(
    ground: tuple[Path, list[str]], said: Any
) -> None:
    folder, words = ground
    for file in (folder / "weights").iterdir():
        file.unlink()
    status, _, err = said("export", *words, "--out", "packed")
    assert status == 2 and "as a package of its own" in err
    (line,) = commands_in(err)
    assert said(*shlex.split(line))[0] == 0
    (package,) = Path("runs").iterdir()
    assert (package / SUMS).exists() and not list((folder / "weights").iterdir())


def test_a_storage_and_earlier_searches_are_found_from_another_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "made", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    shutil.copytree(trained, here / "runs" / "made")
    shutil.copytree(trained, here / "runs" / "other")
    monkeypatch.chdir(here)
    typed = "search --name made --warm_start made runs/other --storage=../made/runs"
    recorded = typed_command(args_of(typed))
    assert "--name made " in recorded, "no path, though a folder is called so"
    monkeypatch.chdir(there)
    args = args_of(again(recorded).partition(command())[2])
    assert Path(args.storage).samefile(here / "runs")
    for name, earlier in zip(("made", "other"), args.warm_start, strict=True):
        assert Path(open_run(earlier, args.storage).path).samefile(here / "runs" / name)
    uris = "search --storage s3://bucket/runs"
    assert typed_command(args_of(uris)).endswith(uris)


@pytest.mark.usefixtures("ray_here", "few_draws")
@pytest.mark.parametrize("ground", ["a storage with a space outside"], indirect=True)
def test_the_printed_commands_that_train_on_ray_run(
    ground: tuple[Path, list[str]], said: Any
) -> None:
    """Flags that come last make them short. All before is as it was printed."""
    folder, words = ground
    lines = [line for text in printed(said, folder, words) for line in commands_in(text)]
    short = {
        "resume": [],
        "best": ["--top", "1", "--confirm", "1"],
        "search": ["--name", "new", "--trials", "1", "--epochs", "1", "--limit-train", "100"],
    }
    for name, more in short.items():
        line = next(
            line
            for line in lines
            if checked(line, folder).command == name and (name != "best" or "--confirm" in line)
        )
        status, out, err = said(*shlex.split(line, comments=True), *more)
        assert status == 0, (line, err)
        for text in (out, err):
            for found in commands_in(text):
                args_of(found)
    assert open_run(*words[::2]).exists("confirmation.json")
    assert open_run("new", "runs").exists("search.json")
