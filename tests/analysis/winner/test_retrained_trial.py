"""A trial exported by its number: with the weights that were kept, or those of its run again."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import search_facts

import tune_vgg6
from analysis.winner.looks_at_test_set import looks
from vgg6.checkpoint import weights_bytes
from vgg6.config import TrialConfig
from vgg6.data import data_facts, load_digits, split
from vgg6.hardware.runtime import Runtime
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import SEARCH, RunFolder, weights_file
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE

LIMIT = 120
RUNTIME = Runtime.resolve("cpu", threads=1)
CONFIGS = [
    TrialConfig(activation=a, batch_size=40, epochs=2, width=0.25) for a in ("relu", "tanh", "silu")
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of three trials: only the second one's weights were kept, the third diverged."""
    run = RunFolder(str(tmp_path_factory.mktemp("runs") / "made"))
    run.create()
    data = split(load_digits(), limit_train=LIMIT)
    facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=LIMIT)
    run.write_json(SEARCH, search_facts("made", 3, data=facts.to_dict(), runtime=RUNTIME.to_dict()))
    journal = Journal(run)
    journal.write("session", session="session_1")
    for number, config in enumerate(CONFIGS):
        journal.write("trial", trial=number, config=config.to_dict(), params={})
        state = TrainState(config, RUNTIME)
        for metrics in fit(state, data):
            journal.write("epoch", trial=number, node="here", pid=1, **metrics.to_dict())
        if number == 1:
            run.write(weights_file(number), weights_bytes(state.best.weights, config))
        ended = INFEASIBLE if number == 2 else COMPLETED
        journal.write("end", trial=number, state=ended, reason="nan" if number == 2 else "")
    journal.write("session_end", session="session_1", outcome="complete")
    journal.close()
    return Path(run.path)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(made, tmp_path / "made")
    return RunFolder(str(tmp_path / "made"))


def exported(run: RunFolder, *arguments: str) -> tuple[int, dict[str, Any]]:
    out = Path(run.path).parent / "out"
    status = tune_vgg6.main(["export", run.path, "--out", str(out), *arguments])
    file = out / "metrics.json"
    return status, json.loads(file.read_text()) if file.exists() else {}


@pytest.mark.slow
def test_a_named_trial_is_packed_and_its_look_at_the_test_images_is_recorded(
    run: RunFolder,
) -> None:
    status, metrics = exported(run, "--trial", "1")
    assert status == 0 and metrics["packed"] == "trial 1"
    assert "selected_from" not in metrics and "asked for by its number" in metrics["note"]
    (look,) = looks(run)
    assert (look.what, look.accuracy) == ("trial 1", metrics["test"]["accuracy"])


@pytest.mark.slow
def test_a_trial_without_weights_is_refused_with_the_command_that_makes_them(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(run, "--trial", "0") == (2, {})
    said = capsys.readouterr().err
    assert looks(run) == [] and "--trial: 0 has no weights left" in said
    command = shlex.split(said.partition("tune_vgg6.py ")[2].splitlines()[0])
    assert tune_vgg6.main(command) == 0
    status, metrics = exported(run, "--trial", "0")
    assert status == 0 and metrics["packed"] == "trial 0, trained again"
    journal = read_history(run).trials[0]
    assert metrics["val_acc"] == journal.best_val_acc, "the same run to the last bit"
    assert [look.what for look in looks(run)] == ["trial 0, trained again"]


@pytest.mark.slow
def test_a_run_that_is_not_that_trial_again_is_refused(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(run, "--trial", "1")
    again = Path(run.path) / "again" / "trial_00000"
    shutil.copytree(Path(run.path).parent / "out", again)
    assert tune_vgg6.main(["export", run.path, "--trial", "0", "--out", f"{again}-x"]) == 2
    assert "is not trial 0 again: other configuration" in capsys.readouterr().err
    (again / "metrics.json").write_text("{}")
    assert tune_vgg6.main(["export", run.path, "--trial", "0", "--out", f"{again}-x"]) == 2
    assert "metrics.json' has been altered" in capsys.readouterr().err
    assert len(looks(run)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "rule"),
    [("7", "7 is no trial of made, which has 0 to 2"), ("2", "2 has no weights to give"),
     ("-1", "-1 is not in [0,"), ("one", "'one' is not a whole number")],
)  # fmt: skip
def test_a_trial_that_cannot_be_packed_is_named_and_nothing_is_written(
    run: RunFolder, capsys: pytest.CaptureFixture[str], number: str, rule: str
) -> None:
    assert exported(run, "--trial", number) == (2, {})
    assert f"--trial: {rule}" in capsys.readouterr().err
    assert not (Path(run.path).parent / "out").exists()
