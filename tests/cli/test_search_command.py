"""Searches as they are started from a shell: interrupted, resumed, joined, planned, packed."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from support.paths import NARROW, ROOT
from support.wandb_files import read_runs

from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE, STOPPED


def command(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tune_vgg6.py"), *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def wait_for(path: Path, text: str, count: int) -> None:
    for _ in range(1500):
        if path.exists() and path.read_text().count(text) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{count} x {text} never appeared in {path}")


pytestmark = pytest.mark.starts_ray
SEARCH = (
    "search", "--data", "digits", "--limit-train", "100", "--trials", "6", "--epochs", "4",
    "--name", "s", "--wandb", "offline", "--address", "local", "--scheduler", "none",
)  # fmt: skip
SMALL = (*SEARCH, "--space", str(NARROW))
UNTRACKED = (*SMALL, "--wandb", "disabled")


@pytest.mark.slow
def test_a_search_interrupted_by_each_signal_is_resumed_to_its_whole(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = tmp_path / "runs" / "s" / "journal.jsonl"
    run = RunFolder(str(journal.parent))
    arguments: tuple[str, ...] = (*SMALL, "--epochs", "30")  # more than it is given until killed
    for count, how in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL), 1):
        process = command(*arguments, cwd=tmp_path)
        wait_for(journal, '"event": "epoch"', 5 * count)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(how)
        sent = time.time()
        if how == signal.SIGKILL:
            process.wait(60)
        else:
            _, err = ended(process, 130)
            assert "incomplete" in err and "resume s" in err
        before = read_history(run)
        assert len(before.arrivals) >= 5 * count
        if how != signal.SIGKILL:
            assert before.sessions[-1].outcome == "interrupted"
            assert before.sessions[-1].time - sent < 30, "the state is saved soon"
        psutil.wait_procs(children, timeout=120)  # what goes to W&B is sent to the end
        left = [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
        assert not left, "a process of the search outlived it"
        status, out, _ = said("status", "s")
        assert status == 0
        assert ("killed" if how == signal.SIGKILL else "interrupted") in out
        arguments = ("resume", "s", "--address", "local")

    status, _, err = said(*arguments)
    assert status == 0, err
    after = read_history(run)
    assert sorted(after.trials) == list(range(6))
    assert all(t.state in (COMPLETED, INFEASIBLE) for t in after.trials.values())
    assert after.arrivals[: len(before.arrivals)] == before.arrivals, "no finished epoch is lost"
    assert after.repeated_rows == 0
    sessions = len(after.sessions)
    monkeypatch.setattr("ray.init", None)  # to start Ray would be a TypeError
    status, out, err = said("resume", "s")
    assert status == 0 and "nothing is left to run" in err and "packed in" in out, err
    assert "all 6 trials ended" in out
    assert len(read_history(run).sessions) == sessions
    # A resumed trial goes on in the W&B run that it began in. One killed as it began has no id yet.
    runs = [r for r in read_runs(journal.parent) if r.id and r.name != "s summary"]
    assert len({r.id for r in runs}) == 6
    for number, record in after.trials.items():
        logged = [row["epoch"] for r in runs if r.config["trial"] == number for row in r.history]
        assert sorted(set(logged)) == sorted(record.rows)


@pytest.mark.slow
def test_the_exported_train_command_gives_the_exported_numbers(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = ended(
        command(*SMALL, "--scheduler", "asha", "--trials", "4", "--epochs", "2", cwd=tmp_path), 0
    )
    assert "digits (not CIFAR-10)" in out and "Results:" in out
    progress = [line for line in err.splitlines() if re.match(r"\d+:\d\d  ", line)]
    # What is said only where other work runs beside the tests.
    busy = [line for line in err.splitlines() if line.startswith(("beside ", "trials trained "))]
    ours = len(progress) + len(busy)
    assert len(err.splitlines()) - ours <= 4, f"Ray's own noise came through:\n{err}"
    assert "incumbent trial" in progress[0], "no terminal here: it says so at the first score"
    monkeypatch.chdir(tmp_path)
    status, best, _ = said("best", "s", "--json")
    assert status == 0
    winner = json.loads(best)["winner"]
    assert not (tmp_path / "runs" / "s" / "test_looks.jsonl").exists(), "a search never looks"
    assert said("export", "s", "--out", "packed")[0] == 0
    packed = tmp_path / "runs" / "s" / "best"
    for name in ("config.yaml", "weights.safetensors", "history.csv", "model.onnx"):
        assert (tmp_path / "packed" / name).read_bytes() == (packed / name).read_bytes()
    assert "test" not in json.loads((packed / "metrics.json").read_text()), "export looked, once"
    exported = json.loads((tmp_path / "packed" / "metrics.json").read_text())
    assert exported["val_acc"] == winner["best_val_acc"]
    arguments = shlex.split(winner["train_command"])[2:]
    # A package travels: its command names no path of this machine.
    told = shlex.join(["python", "tune_vgg6.py", *arguments])
    assert told in (tmp_path / "packed" / "README.md").read_text()
    assert said(*arguments, "--out", "again")[0] == 0
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["val_acc"] == exported["val_acc"]
    weights = [load_file(tmp_path / f / "weights.safetensors") for f in ("packed", "again")]
    assert all((weights[0][k] == weights[1][k]).all() for k in weights[0])
    histories = [
        [
            {
                k: v
                for k, v in zip(header.split(","), line.split(","), strict=True)
                if k != "seconds"
            }
            for header, *lines in [(tmp_path / f / "history.csv").read_text().splitlines()]
            for line in lines
        ]
        for f in ("packed", "again")
    ]
    assert len(histories[0]) == len(histories[1])
    for a, b in zip(*histories, strict=True):
        assert all(a[k] == b[k] for k in a.keys() & b.keys())


@pytest.mark.slow
def test_a_time_budget_ends_a_search_with_the_best_so_far_packed(
    tmp_path: Path, ray_here: None, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [*UNTRACKED, "--epochs", "4000", "--time-budget", "20s", "--trials", "2"]
    status, out, err = said(*arguments)
    assert status == 0, err
    assert "time budget of 20 s is used up" in out and "packed in" in out
    history = read_history(RunFolder(str(tmp_path / "runs" / "s")))
    assert {t.state for t in history.trials.values()} == {STOPPED}
    best = history.ranking()[0]
    assert said("export", "s", "--out", "packed")[0] == 0
    readme = (tmp_path / "packed" / "README.md").read_text()
    assert f"--stop-after {best.epoch}" in readme


@pytest.mark.slow
def test_a_second_driver_on_one_search_is_refused(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = command(*UNTRACKED, "--epochs", "400", cwd=tmp_path)
    wait_for(tmp_path / "runs" / "s" / "journal.jsonl", '"event": "epoch"', 1)
    status, out, _ = said("status", "s")
    assert status == 0 and "running" in out
    status, _, err = said("resume", "s", "--address", "local")
    assert status == 2 and "another process" in err
    first.send_signal(signal.SIGINT)
    ended(first, 130)


def test_a_dry_run_shows_the_plan_and_starts_nothing(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray.init", None)  # to start Ray would be a TypeError
    status, out, err = said(*SEARCH, "--dry-run")
    assert status == 0, err
    for part in (
        "6 of up to 4 epochs",
        "planned for  this machine",
        "concurrency",
        "estimate",
        "when optimizer is sgd or nesterov",
        "schedule      constant, cosine, onecycle",
        "in every trial: label_smoothing 0, dropout 0.5, init torch",
        "digits",
    ):
        assert part in out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("no_ray_here")
def test_a_search_joins_a_running_cluster(tmp_path: Path) -> None:
    port = "20399"  # above what Ray gives its workers, and below what others choose
    head = subprocess.Popen(
        [str(Path(sys.executable).parent / "ray"), "start", "--head", "--port", port, "--block",
         "--num-cpus", "2", "--include-dashboard", "false", "--disable-usage-stats"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert head.stdout is not None
        assert any("Ray runtime started" in line for line in head.stdout)
        search = [*UNTRACKED, "--trials", "2", "--epochs", "1", "--address"]
        _, err = ended(command(*search, f"127.0.0.1:{port}", cwd=tmp_path), 0)
        assert f"cluster at 127.0.0.1:{port}" in err
        out, _ = ended(command(*search, "auto", "--name", "auto", "--dry-run", cwd=tmp_path), 0)
        assert "the Ray cluster at" in out and f":{port}" in out
    finally:
        # Not `ray stop`: that ends every Ray on this machine, the one of these tests too.
        family = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
        head.terminate()
        _, left = psutil.wait_procs(family, timeout=20)
        for process in left:
            process.kill()
