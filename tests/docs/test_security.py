"""Nothing that a user is handed runs code, no text of it becomes markup or a command, and the key
of W&B is written nowhere."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.made.runs import made_run
from support.paths import ROOT

import tune_vgg6
from analysis.packages.package_files import write_sums
from analysis.report.gather_contents import gather
from analysis.report.summary_md import render_summary
from analysis.suggested_commands import SearchCommands
from vgg6.common.templates import fenced, plain
from vgg6.tuning.run.folder import open_run, weights_file
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.status import render, status_of

PARTS = ("cli", "vgg6", "analysis", "search_spaces", "benchmarks", ".ci")
EVIL = 'it\'s "q"; touch owned & $(touch owned) `touch owned` ..'
MARKUP = "<script>alert(1)</script>\"><img src=x onerror='alert(2)'> [/red] ```\n# not a title"


class Owned:
    """Whoever unpickles it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


# What may not be called at all. The linter's S rules forbid pickle, eval, exec and shells besides.
FORBIDDEN = {
    "torch.load", "torch.hub.load", "torch.jit.load", "joblib.load", "pd.read_pickle", "np.loads",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "os.popen",
}  # fmt: skip


def unsafe_calls(source: str) -> list[str]:
    """The calls in a Python source that could run code of what they read."""
    found = []
    for call in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)):
        keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
        name = ast.unparse(call.func)
        if name in FORBIDDEN or keywords.get("allow_pickle", "False") != "False":
            found.append(f"line {call.lineno}: {name}")
    return found


def test_no_module_calls_what_could_run_what_it_reads() -> None:
    files = [ROOT / "tune_vgg6.py", *(f for part in PARTS for f in (ROOT / part).rglob("*.py"))]
    assert len(files) > 60
    assert {str(f): c for f in files if (c := unsafe_calls(f.read_text()))} == {}
    probe = "torch.load(x)\nnp.load(x, allow_pickle=True)\nyaml.load(x, y)\nnp.load(x)"
    assert len(unsafe_calls(probe)) == 3


def test_the_linter_forbids_pickle_eval_exec_and_shells(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import os\nimport pickle\nimport subprocess\n\npickle.loads(b'')\neval('1')\nexec('1')\n"
        "os.system('x')\nsubprocess.run('x', shell=True)\n"
    )
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise"]
    command += ["--config", str(ROOT / "pyproject.toml"), str(probe)]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    assert all(rule in said for rule in ("S301", "S307", "S102", "S605", "S602")), said


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A search every binary file of which is a pickle that would make ``owned``."""
    run = made_run(tmp_path / "runs", trials=4, epochs=2)
    bomb = pickle.dumps(Owned(tmp_path / "owned"))
    for name in (
        *(weights_file(n) for n in range(4)), "searcher-state.pkl", "session_1/tuner.pkl",
        "session_1/searcher-state-1.pkl", "session_1/search_gen_state.json", ".lock",
        "checkpoints/trial_00000/epoch_1/state.safetensors", "results.parquet", "trials.parquet",
        "checkpoints/trial_00000/epoch_1/state.json", "best/weights.safetensors",
        "best/config.yaml",
    ):  # fmt: skip
        run.write(name, bomb)
    return Path(run.path)


def test_a_run_folder_full_of_pickles_runs_nothing(trapped: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for words, status in (
        (["status"], 0), (["best"], 0), (["table", "--out", f"{out}.csv"], 0), (["insights"], 0),
        (["report"], 0), (["export", "--out", out], 2), (["convert", "--to", "optuna"], 0),
    ):  # fmt: skip
        assert tune_vgg6.main([words[0], str(trapped), *words[1:]]) == status, words
    assert not (tmp_path / "owned").exists()
    pickle.loads((trapped / "searcher-state.pkl").read_bytes())  # noqa: S301
    assert (tmp_path / "owned").exists(), "it would have"


@pytest.mark.slow
def test_a_packages_own_code_is_not_run_by_verify(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "package"
    arguments = "--data digits --limit-train 100 --epochs 1 --batch-size 32 --threads 1"
    assert tune_vgg6.main(["train", *arguments.split(), "--out", str(package)]) == 0
    trap = f"import os\nos.mkdir({str(tmp_path / 'owned')!r})\n"
    for name in ("load_model.py", "conftest.py", "yaml.py", "torch.py", "sitecustomize.py"):
        (package / name).write_text(trap)
        write_sums(package)
        # As a user who stands inside it and has it first on the path would run it.
        done = subprocess.run(
            [sys.executable, str(ROOT / "tune_vgg6.py"), "verify", ".", "--quick"], cwd=package,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if name == "load_model.py":
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 2 and name in done.stderr
            (package / name).unlink()
        assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_a_compressed_packages_files_run_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, small = tmp_path / "whole", tmp_path / "whole-int8"
    arguments = "--data digits --limit-train 100 --epochs 1 --batch-size 32 --threads 1"
    assert tune_vgg6.main(["train", *arguments.split(), "--out", str(whole)]) == 0
    assert tune_vgg6.main(["compress", str(whole), "--method", "int8", "--rounds", "1"]) == 0
    (small / "load_model.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'owned')!r})\n")
    write_sums(small)
    for command in (["verify", "--quick"], ["evaluate"]):
        assert tune_vgg6.main([*command, str(small)]) == 0
    bomb = pickle.dumps(Owned(tmp_path / "owned"))
    for name in (*(p.name for p in small.iterdir() if p.name != "SHA256SUMS"), "SHA256SUMS"):
        content = (small / name).read_bytes()
        (small / name).write_bytes(bomb)
        if name != "SHA256SUMS":
            write_sums(small)
        capsys.readouterr()
        # What nothing reads may hold anything; everything else is refused by its name.
        unread = name in ("load_model.py", "README.md")
        for command in (["verify", "--quick"], ["evaluate"]):
            status = tune_vgg6.main([*command, str(small)])
            assert status == (0 if unread else 2), (name, command)
            assert unread or name in capsys.readouterr().err
        (small / name).write_bytes(content)
        write_sums(small)
    assert not (tmp_path / "owned").exists()


def test_a_space_that_names_python_objects_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    for tag in ("object/apply:os.mkdir", "object/new:os.mkdir"):
        text = f"parameters: !!python/{tag} ['{tmp_path}/owned']\n"
        file.write_text(text)
        assert tune_vgg6.main(["search", "--data", "digits", "--space", str(file)]) == 2
        assert not (tmp_path / "owned").exists()
    yaml.load(text.replace("new", "apply"), Loader=yaml.UnsafeLoader)  # noqa: S506
    assert (tmp_path / "owned").exists(), "it would have"


def test_texts_of_a_run_are_no_markup_on_a_terminal_nor_in_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path, trials=4, epochs=2, name="made", command=f"search {MARKUP}")
    facts = run.read_json("search.json")
    run.write_json(
        "search.json", facts | {"name": MARKUP, "data": facts["data"] | {"name": MARKUP}}
    )
    for command in ("best", "status", "insights"):
        assert tune_vgg6.main([command, run.path]) == 0
        assert "<script>alert(1)</script>" in capsys.readouterr().out
    text = render_summary(gather(read_search(run)), [])
    outside, *_ = text.split("\n````\n")
    assert "<script" not in outside.replace("\\<script", "") and "\n# not a title" not in outside
    assert plain(MARKUP).count("\n") == 0
    assert fenced(["a ``` b"]).splitlines()[0] == "````"


def test_printed_commands_hold_a_name_as_one_word(tmp_path: Path) -> None:
    made_run(tmp_path, trials=4, epochs=2, name=EVIL)
    search = read_search(open_run(EVIL, str(tmp_path)))
    for words, command in gather(search).commands:
        if "resume" in command or " best " in command or "export" in command:
            assert EVIL in shlex.split(command), words
    resume = SearchCommands(search.folder).resume()
    stopped = render(replace(status_of(search), state="interrupted"), resume)
    assert EVIL in shlex.split(stopped.split("to go on")[1])
    done = subprocess.run(  # and a shell makes the same of it
        ["/bin/sh", "-c", f"printf '%s\\n' {shlex.quote(EVIL)}"], capture_output=True, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == EVIL + "\n" and not (tmp_path / "owned").exists()


# A real search: in a folder with such a name, with a key that must not be written anywhere.
KEY, NETRC_KEY = "0123456789abcdef" * 2 + "feedface", "fedcba9876543210" * 2 + "cafebabe"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder of a short name: Ray's sockets allow no long one."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.starts_ray
def test_a_search_in_a_folder_of_any_name_works_and_the_key_of_wandb_is_in_no_file(
    tmp_path: Path, scratch: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    netrc = home / ".netrc"
    netrc.write_text(f"machine api.wandb.ai\n  login user\n  password {NETRC_KEY}\n")
    netrc.chmod(0o600)
    work = tmp_path / f"{EVIL}\nline"
    work.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "RAY"))}
    environment |= {"HOME": str(home), "WANDB_API_KEY": KEY, "RAY_TMPDIR": str(scratch)}
    run = f"{work}/runs/s"
    arguments = [
        ["search", "--data", "digits", "--limit-train", "100", "--trials", "2", "--epochs", "1",
         "--wandb", "offline", "--address", "local", "--storage", f"{work}/runs", "--name", "s",
         "--verbose"],
        ["best", run], ["export", run, "--out", f"{work}/p"], ["report", run], ["status", run],
        ["table", run, "--out", f"{work}/t.csv"], ["verify", f"{work}/p", "--quick"],
    ]  # fmt: skip
    program = "import json, sys, tune_vgg6\nfor words in json.loads(sys.argv[1]):\n"
    program += "    status = tune_vgg6.main(words)\n    assert status == 0, (words, status)\n"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(arguments)], cwd=work, capture_output=True,
        text=True, timeout=400, env=environment | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout + done.stderr
    assert not list(tmp_path.rglob("owned")), "no part of the name was run"
    assert (work / "runs" / "s" / "report.html").exists() and (work / "t.csv").exists()
    files = [f for place in (tmp_path, scratch) for f in place.rglob("*") if f.is_file()]
    assert any("session_" in str(f) and f.suffix == ".log" for f in files), "Ray's logs are there"
    assert any(f.suffix == ".wandb" for f in files)
    for key in (KEY, NETRC_KEY):
        assert key not in said
        holding = [str(f) for f in files if f != netrc and key.encode() in f.read_bytes()]
        assert holding == []
