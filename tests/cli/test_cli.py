"""The command line: bad input is named before anything heavy is even imported."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.made.runs import made_run
from support.paths import ROOT

import tune_vgg6

# arguments; what the message must contain: the key, the value, and the rule or the nearest name
BAD: list[tuple[list[str], list[str]]] = [
    (["serch"], ["serch", "did you mean 'search'"]),
    (["search", "--trails", "3"], ["--trails", "did you mean '--trials'"]),
    (["search", "--trials", "many"], ["--trials", "many", "whole number"]),
    (["search", "--trials", "0"], ["--trials", "0", "[1,"]),
    (["search", "--trials", "1.5"], ["--trials", "1.5", "whole number"]),
    (["search", "--trials"], ["--trials", "expected one argument"]),
    (["search", "--epochs", "-3"], ["--epochs", "-3"]),
    (["search", "--epochs", "ten"], ["--epochs", "ten", "whole number"]),
    (["search", "--grace", "9", "--epochs", "4"], ["--grace", "9", "[1, 4]"]),
    (["search", "--reduction", "1"], ["--reduction", "1", "(1, 100]"]),
    (["search", "--reduction", "nan"], ["--reduction", "nan"]),
    (["search", "--searcher", "optune"], ["--searcher", "optune", "did you mean 'optuna'"]),
    (["search", "--scheduler", "ahsa"], ["--scheduler", "ahsa", "did you mean 'asha'"]),
    (["search", "--seed", "-1"], ["--seed", "-1"]),
    (["search", "--seed", "4294967296"], ["--seed", "4294967296"]),
    (["search", "--cpus-per-trial", "0"], ["--cpus-per-trial", "0"]),
    (["search", "--gpus-per-trial", "1.5"], ["--gpus-per-trial", "1.5", "fraction"]),
    (["search", "--gpus-per-trial", "-1"], ["--gpus-per-trial", "-1"]),
    (["search", "--device", "cuda", "--gpus-per-trial", "0"], ["--gpus-per-trial", "0", "cuda"]),
    (["search", "--max-concurrent", "0"], ["--max-concurrent", "0"]),
    (["search", "--time-budget", "soon"], ["--time-budget", "soon", "30m"]),
    (["search", "--time-budget", "0"], ["--time-budget", "0"]),
    (["search", "--patience", "0"], ["--patience", "0"]),
    (["search", "--limit-train", "5"], ["--limit-train", "5", "[100,"]),
    (["search", "--wandb", "offlin"], ["--wandb", "offlin", "did you mean 'offline'"]),
    (["search", "--device", "gpu"], ["--device", "gpu", "cuda"]),
    (["search", "--precision", "fp16"], ["--precision", "fp16", "bf16"]),
    (["search", "--data", "digit"], ["--data", "digit", "did you mean 'digits'"]),
    (["search", "--data", "{tmp}"], ["--data", "{tmp}", "parquet"]),
    (["search", "--name", "a/b"], ["--name", "a/b", "letters"]),
    (["search", "--name", ".."], ["--name", "..", "letters"]),
    (["search", "--name", "taken", "--storage", "{tmp}"], ["--name", "taken", "resume"]),
    (["search", "--data", "digits", "--storage", "{tmp}/bad.yaml"], ["--storage", "bad.yaml"]),
    (["search", "--data", "digits", "--storage", "s4://x"], ["storage", "s4://x", "pyarrow"]),
    (["search", "--space", "defalt"], ["--space", "defalt", "did you mean 'default'"]),
    (["search", "--space", "no.yaml"], ["--space", "no.yaml"]),
    (["search", "--space", "{tmp}/bad.yaml"], ["bad.yaml", "activation", "sigmoide", "'sigmoid'"]),
    (["search", "--warm-start", "takn", "--storage", "{tmp}"], ["--warm-start", "takn", "'taken'"]),
    (["search", "--warm-start", "taken", "--storage", "{tmp}"], ["--warm-start", "is missing"]),
    (["search", "--warm-start"], ["--warm-start", "at least one"]),
    (["search", "--warm-start", "taken", "--searcher", "grid", "--space", "study_grid"],
     ["--warm-start", "taken", "list of points"]),
    (["search", "--warm-start", "taken", "--space", "study"], ["--warm-start", "list of points"]),
    (["search", "--searcher", "grid"], ["lr", "grid", "choices"]),
    (["train", "--activation", "sigmoide"], ["activation", "sigmoide", "did you mean 'sigmoid'"]),
    (["train", "--optimizer", "SGD"], ["optimizer", "SGD", "did you mean 'sgd'"]),
    (["train", "--lr", "fast"], ["lr", "fast", "(0, 10]"]),
    (["train", "--lr", "0"], ["lr", "0", "(0, 10]"]),
    (["train", "--batch_size", "0"], ["batch_size", "0"]),
    (["train", "--batch-size=12.5"], ["--batch-size", "12.5", "whole number"]),
    (["train", "--optimizer", "adam", "--momentum", "0.9"], ["momentum", "0.9", "adam"]),
    (["train", "--dropout", "1"], ["dropout", "1", "[0, 1)"]),
    (["train", "--lr-rate", "3"], ["--lr-rate", "did you mean"]),
    (["resume", "takn", "--storage", "{tmp}"], ["RUN", "takn", "did you mean 'taken'"]),
    (["status", "nothing", "--storage", "{tmp}/none"], ["RUN", "nothing"]),
    (["best", "taken", "--storage", "{tmp}", "--top", "x"], ["--top", "x", "whole number"]),
    (["export", "taken"], ["--out"]),
    (["export", "taken", "--out", "{tmp}/o", "--opset", "12"], ["--opset", "12", "[13, 20]"]),
    (["train", "--opset", "latest"], ["--opset", "latest", "[13, 20]"]),
    (["train", "--threads", "0"], ["--threads", "0", "[1, 1024]"]),
    (["train", "--epochs", "2", "--stop-after", "3"], ["--stop-after", "3", "[1, 2]"]),
    (["train", "--precision", "fp16"], ["--precision", "fp16", "bf16"]),
    (["train", "--data", "digits", "--out", "{tmp}/bad.yaml/x"], ["--out", "is no folder"]),
    (["train", "--out", "{tmp}/bad.yaml"], ["--out", "bad.yaml", "is a file"]),
    (["export", "taken", "--out", "{tmp}"], ["--out", "holds other things"]),
    (["table", "taken", "--storage", "{tmp}", "--out", "t.xlsx"], ["--out", "t.xlsx", ".parquet"]),
    (["insights", "taken", "--storage", "{tmp}", "--evaluator", "anova"],
     ["--evaluator", "anova", "did you mean 'fanova'"]),
    (["convert", "taken", "--storage", "{tmp}", "--to", "tensorbord"],
     ["--to", "tensorbord", "did you mean 'tensorboard'"]),
    (["compress", "{tmp}", "--method", "prnue"], ["--method", "did you mean 'prune'"]),
    (["compress", "{tmp}", "--method", "prune", "--sparsity", "1"], ["--sparsity", "1", "0.95"]),
    (["compress", "{tmp}", "--method", "prune"], ["DIR", "{tmp}", "SHA256SUMS"]),
    (["evaluate", "{tmp}", "--part", "val"], ["--part", "'val'", "validation"]),
    (["report", "taken", "--storage", "{tmp}", "--port", "x"], ["--port", "x", "whole number"]),
]  # fmt: skip

# Runs all the cases in one process, so that what was imported can be seen at the end.
DRIVER = """
import contextlib, io, json, sys
import tune_vgg6
results = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = tune_vgg6.main(arguments)
    results.append([status, out.getvalue(), err.getvalue()])
heavy = {"ray", "torch", "wandb", "pandas", "scipy", "plotly", "optuna"} & set(sys.modules)
print(json.dumps({"results": results, "heavy": sorted(heavy)}))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "taken").mkdir()
    (folder / "taken" / "search.json").write_text("{}")
    (folder / "bad.yaml").write_text("parameters:\n  activation: {choices: [relu, sigmoide]}\n")
    cases = [[a.replace("{tmp}", str(folder)) for a in arguments] for arguments, _ in BAD]
    before = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(cases), capture_output=True, text=True, cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == before, "nothing is written"
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("index", range(len(BAD)), ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_exits_2_and_names_key_value_and_rule(
    outcome: tuple[Path, dict], index: int
) -> None:
    folder, found = outcome
    status, out, err = found["results"][index]
    assert status == 2, err
    assert out == ""
    assert err.startswith("error: ") and "Traceback" not in err
    for part in BAD[index][1]:
        assert part.replace("{tmp}", str(folder)) in err


def test_bad_input_is_found_before_ray_torch_and_wandb_are_imported(
    outcome: tuple[Path, dict],
) -> None:
    assert outcome[1]["heavy"] == []


def test_both_spellings_of_a_flag_are_read() -> None:
    from cli.main import build_parser

    parser = build_parser()
    for flag in ("--batch-size", "--batch_size"):
        assert parser.parse_args(["train", flag, "64"]).batch_size == "64"
        assert parser.parse_args(["train", f"{flag}=64"]).batch_size == "64"
    assert parser.parse_args(["search", "--space", "my_space.yaml"]).space == "my_space.yaml"


def test_times_may_be_given_in_seconds_minutes_and_hours() -> None:
    from vgg6.common.quantities import read_duration

    got = [read_duration("time_budget", text) for text in ("90", "90s", "1.5m", "2h")]
    assert got == [90, 90, 90, 7200]


def test_help_shows_every_command_and_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tune_vgg6.main(["search", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for flag in (
        "--space",
        "--trials",
        "--gpus-per-trial",
        "--dry-run",
        "--patience",
        "--warm-start",
    ):
        assert flag in text


TRAIN = ("train", "--data", "digits", "--limit-train", "100", "--threads", "1", "--epochs", "1")


def test_a_training_that_diverges_exits_1_and_saves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "package"
    diverging = ["--lr", "10", "--activation", "relu", "--batch-size", "32", "--out", str(out)]
    assert tune_vgg6.main([*TRAIN, *diverging]) == 1
    assert "nothing was saved" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("trials", [1, 300])
def test_a_command_whose_reader_has_gone_exits_1_and_says_nothing(
    tmp_path: Path, trials: int
) -> None:
    made_run(tmp_path, trials=trials, epochs=10, name="made")
    program = [sys.executable, str(ROOT / "tune_vgg6.py")]
    command = [*program, "table", "made", "--storage", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (1, "")


def test_a_command_ended_by_sigterm_exits_130(tmp_path: Path) -> None:
    made_run(tmp_path, trials=2, epochs=2, name="short")
    command = [sys.executable, str(ROOT / "tune_vgg6.py"), "report", "short", "--storage",
               str(tmp_path), "--watch", "--port", "0"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.splitlines()[-1] == "interrupted"
