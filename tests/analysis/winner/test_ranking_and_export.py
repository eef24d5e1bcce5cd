"""The table, the ranking and the package, from a run folder of really trained trials."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from support.made.runs import search_facts
from support.paths import ROOT

from analysis.demo.page import sha
from analysis.packages.package import check_package, read_package
from analysis.packages.package_files import DEMO, ONNX, check_out
from analysis.results.search_tables import epochs_table, trials_table, write_tables
from analysis.suggested_commands import train_command
from analysis.winner.export import export_best
from analysis.winner.ranking import summary
from analysis.winner.render_ranking import CURVE_WIDTH, render, sparkline
from cli.main import build_parser
from vgg6.checkpoint import weights_bytes
from vgg6.common.checks import InputError
from vgg6.config import FIELD_NAMES, TrialConfig, parse_value
from vgg6.data import TrialData, data_facts, load_digits, split
from vgg6.hardware.runtime import Runtime
from vgg6.run_record import DataFacts, RuntimeFacts
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import JOURNAL, SEARCH, RunFolder, weights_file
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import (
    COMPLETED,
    FAILED,
    INFEASIBLE,
    METRICS,
    PRUNED,
    RUNNING,
    TrialRecord,
    scored,
)

LIMIT = 200
RUNTIME = Runtime.resolve("cpu", threads=1)
CONFIGS = [
    TrialConfig(activation="relu", optimizer="adam", lr=1e-3, batch_size=32, epochs=3, width=0.25),
    TrialConfig(
        activation="silu",
        optimizer="nesterov",
        lr=0.0123456789,
        batch_size=50,
        epochs=3,
        width=0.25,
    ),
    TrialConfig(activation="tanh", optimizer="nadam", lr=5e-4, batch_size=40, epochs=3, width=0.25),
]


@pytest.fixture(scope="module")
def data() -> TrialData:
    return split(load_digits(), limit_train=LIMIT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, data: TrialData) -> Path:
    """A finished search of three trials; the second was stopped after two of its epochs."""
    folder = tmp_path_factory.mktemp("runs") / "made"
    run = RunFolder(str(folder))
    run.create()
    facts = data_facts("digits", load_digits(), data, split_seed=42, limit_train=LIMIT)
    run.write_json(
        SEARCH,
        search_facts("made", 3, data=facts.to_dict(), runtime=RUNTIME.to_dict()),
    )
    journal = Journal(run)
    journal.write("session", session="session_1")
    for number, config in enumerate(CONFIGS):
        journal.write("trial", trial=number, config=config.to_dict(), params={})
        state = TrainState(config, RUNTIME)
        for metrics in fit(state, data, stop_after=2 if number == 1 else None):
            journal.write("epoch", trial=number, node="here", pid=1, **metrics.to_dict())
        run.write(weights_file(number), weights_bytes(state.best.weights, config))
        ended = PRUNED if number == 1 else COMPLETED
        journal.write("end", trial=number, state=ended, reason="")
    journal.write("session_end", session="session_1", outcome="complete")
    journal.close()
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    """A copy of that search to do things to."""
    shutil.copytree(made, tmp_path / "made")
    return RunFolder(str(tmp_path / "made"))


@pytest.fixture(scope="module")
def packed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    export_best(read_search(RunFolder(str(made))), out, look_at_test=False)
    return out


@pytest.fixture
def exported(packed: Path, tmp_path: Path) -> Path:
    """A copy of that search's package to do things to."""
    shutil.copytree(packed, tmp_path / "exported")
    return tmp_path / "exported"


def append(run: RunFolder, *lines: str) -> None:
    with open(run.file(JOURNAL), "a") as file:
        file.writelines(lines)


def test_the_table_has_every_epoch_once_even_where_the_journal_repeats_it(run: RunFolder) -> None:
    epoch = next(x for x in Path(run.file(JOURNAL)).read_text().splitlines() if '"epoch"' in x)
    append(run, epoch + "\n", epoch + "\n", '{"event": "epo')
    table = epochs_table(read_search(run))
    assert list(zip(table.trial, table.epoch, strict=True)) == [
        (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3),
    ]  # fmt: skip
    assert set(FIELD_NAMES) < set(table.columns)
    assert set(table.data) == {"digits"}
    assert table.best_val_acc.equals(table.groupby("trial").val_acc.cummax())
    history = read_history(run)
    assert (history.repeated_rows, history.torn_lines) == (2, 1)


def test_a_torn_line_in_the_middle_is_an_error_that_names_it(run: RunFolder) -> None:
    lines = Path(run.file(JOURNAL)).read_text().splitlines(keepends=True)
    lines[3] = lines[3][:25] + "\n"
    Path(run.file(JOURNAL)).write_text("".join(lines))
    with pytest.raises(InputError, match="line 4.*damaged"):
        epochs_table(read_search(run))


def test_written_tables_read_back_with_trials_that_never_finished_an_epoch(run: RunFolder) -> None:
    config = str(CONFIGS[0].to_dict()).replace("'", '"').replace("None", "null")
    append(
        run,
        f'{{"event": "session", "time": 9, "session": "session_2"}}\n'
        f'{{"event": "trial", "time": 9, "trial": 3, "config": {config}, "params": {{}}}}\n'
        f'{{"event": "end", "time": 10, "trial": 3, "state": "infeasible", "reason": "nan"}}\n',
    )
    write_tables(read_search(run))
    epochs = pd.read_csv(run.file("results.csv"))
    trials = pd.read_csv(run.file("trials.csv"))
    assert len(epochs) == 8
    assert list(trials.state) == ["completed", "pruned", "completed", "infeasible"]
    assert list(trials.epochs_run) == [3, 2, 3, 0]
    assert np.isnan(trials.best_val_acc[3])
    assert trials_table(read_search(run)).lr[1] == trials.lr[1] == 0.0123456789


def test_a_search_without_a_trial_has_tables_that_read_back(run: RunFolder) -> None:
    run.delete(JOURNAL)
    write_tables(read_search(run))
    for name in ("results.csv", "trials.csv"):
        table = pd.read_csv(run.file(name))
        assert len(table) == 0 and set(FIELD_NAMES) < set(table.columns)
    with pytest.raises(InputError, match="none has begun"):
        summary(read_search(run), top=1)


# Says how much memory the table took, so that the test can bound it.
READ = """
import sys
from pathlib import Path
from analysis.results.search_tables import epochs_table
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import read_search
table = epochs_table(read_search(RunFolder(sys.argv[1])))
status = Path("/proc/self/status").read_text()  # getrusage counts what this was forked from too
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(len(table), table.groupby(["trial", "epoch"]).ngroups, peak)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_journal_of_300_000_rows_is_read_in_bounded_memory(run: RunFolder) -> None:
    trials, epochs = 10_000, 30
    config = json.dumps(replace(CONFIGS[0], epochs=epochs).to_dict())
    facts = dict.fromkeys(METRICS, 0.123456789) | {"best_epoch": 1}
    metrics = json.dumps(facts)[1:-1]
    lines = ['{"event": "session", "time": 1.5, "session": "session_1"}']
    lines += [
        f'{{"event": "trial", "time": 1.5, "trial": {t}, "config": {config}, "params": {{}}}}'
        for t in range(trials)
    ]
    lines += [
        f'{{"event": "epoch", "time": 1.5, "trial": {t}, "epoch": {e}, {metrics}, "node": "n"}}'
        for e in range(1, epochs + 1)
        for t in range(trials)
    ]  # interleaved, as concurrent trials report
    lines.insert(trials + 7, lines[-1])  # and one of them twice
    run.write(JOURNAL, "\n".join(lines).encode())
    done = subprocess.run(
        [sys.executable, "-c", READ, run.path],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=True,
    )  # fmt: skip
    rows, pairs, peak = map(int, done.stdout.split())
    assert rows == pairs == trials * epochs
    assert peak < 2 * 2**30


def row(number: int, scores: list[float], state: str = COMPLETED) -> TrialRecord:
    rows = {e: scored(e, s, s) for e, s in enumerate(scores, start=1)}
    return TrialRecord(number, CONFIGS[0], {}, 0.0, rows, state)


def test_the_best_epoch_counts_even_when_it_is_not_the_last() -> None:
    history = History({0: row(0, [0.1, 0.8, 0.3]), 1: row(1, [0.5, 0.6, 0.7])})
    assert [t.number for t in history.ranking()] == [0, 1]


def test_of_equals_the_cheaper_wins_and_a_diverged_or_crashed_trial_never_does() -> None:
    history = History(
        {
            0: row(0, [0.9], INFEASIBLE),
            1: row(1, [0.9], FAILED),
            2: row(2, [0.2, 0.7, 0.7]),
            3: row(3, [0.2, 0.7], PRUNED),
            4: row(4, [0.2, 0.7], RUNNING),
            5: row(5, []),
        }
    )
    assert [t.number for t in history.ranking()] == [3, 4, 2]


def test_where_nothing_scored_the_first_reason_is_shown(run: RunFolder) -> None:
    run.delete(JOURNAL)
    journal = Journal(run)
    journal.write("session", session="session_1")
    journal.write("trial", trial=0, config=CONFIGS[0].to_dict(), params={})
    journal.write("end", trial=0, state=INFEASIBLE, reason="training loss is nan")
    journal.close()
    with pytest.raises(InputError, match="score: 1 infeasible; .*trial 0: training loss is nan"):
        summary(read_search(run), top=3)


def test_the_summary_says_what_the_score_is_and_of_which_data(run: RunFolder) -> None:
    found = summary(read_search(run), top=2)
    assert found.complete and len(found.ranking) == 2
    text = render(found)
    assert "digits (not CIFAR-10)" in text and "optimistic" in text
    assert found.winner.train_command in text
    assert found.winner.in_search.best_val_acc == epochs_table(read_search(run)).val_acc.max()
    assert all(len(line) <= 100 for line in text.splitlines()[:-1])


def test_a_curve_is_a_line_of_bars_however_long_the_run_was() -> None:
    assert sparkline([0.1, 0.1]) == "▁▁" and sparkline([0, 1]) == "▁█"
    long = sparkline([float(i) for i in range(1000)])
    assert len(long) == CURVE_WIDTH and long[0] == "▁" and long[-1] == "█"
    assert list(long) == sorted(long)


def test_a_search_is_complete_when_all_trials_ended_though_the_driver_did_not_say_so(
    run: RunFolder,
) -> None:
    lines = Path(run.file(JOURNAL)).read_text().splitlines(keepends=True)
    assert '"session_end"' in lines[-1] and '"end"' in lines[-2]
    Path(run.file(JOURNAL)).write_text("".join(lines[:-1]))
    assert summary(read_search(run), top=1).complete
    Path(run.file(JOURNAL)).write_text("".join(lines[:-2]))
    found = summary(read_search(run), top=1)
    assert not found.complete and "not complete" in render(found)
    stopped = lines[-2].replace("completed", "stopped")
    Path(run.file(JOURNAL)).write_text("".join([*lines[:-2], stopped]))
    assert not summary(read_search(run), top=1).complete


@pytest.mark.parametrize("config", CONFIGS)
def test_the_train_command_reads_back_as_the_same_configuration(
    config: TrialConfig, made: Path
) -> None:
    facts = RunFolder(str(made)).read_json(SEARCH)
    words = shlex.split(
        train_command(config, DataFacts(**facts["data"]), RuntimeFacts(**facts["runtime"]), 2)
    )
    assert Path(words[0]).name.startswith("python") and words[1] == "tune_vgg6.py"
    args = build_parser().parse_args(words[2:])
    given = {k: v for k in FIELD_NAMES if (v := getattr(args, k)) is not None}
    assert TrialConfig(**{k: parse_value(k, v) for k, v in given.items()}) == config
    assert (args.data, args.limit_train, args.threads, args.stop_after) == (
        "digits", str(LIMIT), "1", "2",
    )  # fmt: skip


def test_the_train_command_keeps_every_digit_and_quotes_a_folder() -> None:
    config = TrialConfig(
        optimizer="rmsprop", lr=0.1 + 0.2, momentum=1 / 3, weight_decay=1e-7, dropout=0.0,
        label_smoothing=0.1, schedule="onecycle", init="xavier", norm="group", seed=2**32 - 1,
    )  # fmt: skip
    facts = DataFacts(
        name="cifar10", argument="/data/o'clock; $(rm) x", fingerprint="", train_images=1,
        val_images=1, split_seed=7, limit_train=None,
    )  # fmt: skip
    words = shlex.split(train_command(config, facts, RuntimeFacts(**RUNTIME.to_dict()), None))
    args = build_parser().parse_args(words[2:])
    assert TrialConfig.from_strings({k: getattr(args, k) for k in FIELD_NAMES}) == config
    assert (args.data, args.split_seed) == (facts.argument, "7")
    assert args.limit_train is args.stop_after is None


@pytest.mark.slow
def test_the_exported_weights_score_what_the_search_recorded(
    run: RunFolder, tmp_path: Path
) -> None:
    torch.set_num_threads(RUNTIME.threads + 1)
    metrics = export_best(read_search(run), tmp_path / "out").to_dict()
    assert torch.get_num_threads() == RUNTIME.threads, "scored on the runtime of the search"
    assert metrics.pop("out") == str(tmp_path / "out")
    assert "warning" not in metrics
    assert metrics["val_acc"] == epochs_table(read_search(run)).val_acc.max()
    assert metrics["test"]["images"] == 359 and 0 < metrics["test"]["accuracy"] <= 1
    assert metrics["selected_from"] == 3 and "the highest of 3 scores" in metrics["note"]
    package = read_package(tmp_path / "out")
    assert package.metrics.to_dict() == metrics
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md", "SHA256SUMS", "config.yaml", "environment.json", "history.csv",
        "load_model.py", "metrics.json", "model.onnx", "weights.safetensors",
    ]  # fmt: skip


@pytest.mark.slow
def test_weights_that_are_not_those_of_the_score_are_called_out(
    run: RunFolder, tmp_path: Path
) -> None:
    winner = read_history(run).ranking()[0]
    other = TrainState(winner.config, RUNTIME).model.state_dict()
    content = weights_bytes(other, winner.config)
    run.write(weights_file(winner.number), content)
    metrics = export_best(read_search(run), tmp_path / "out").to_dict()
    assert metrics["val_acc_again"] < metrics["val_acc"] == winner.best_val_acc
    assert f"{metrics['val_acc_again']:.4f} on the validation images here" in metrics["warning"]
    assert read_package(tmp_path / "out").metrics.warning == metrics["warning"]


@pytest.mark.slow
def test_a_package_trained_again_gives_its_history_and_weights_bit_for_bit(
    exported: Path, data: TrialData
) -> None:
    package = read_package(exported)
    state = TrainState(package.config, Runtime(**package.runtime.to_dict()))
    again = [m.to_dict() for m in fit(state, data, stop_after=package.stop_after)]
    assert len(again) == len(package.history)
    for a, b in zip(again, package.history, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"}.items() <= b.to_dict().items()
    weights = load_file(exported / "weights.safetensors")
    assert all(torch.equal(weights[k], v) for k, v in state.best.weights.items())


@pytest.mark.slow
def test_export_writes_a_page_beside_the_network_where_it_is_asked_for(
    run: RunFolder, exported: Path, tmp_path: Path, said: Any
) -> None:
    out = tmp_path / "out"
    status, _, err = said("export", run.path, "--out", out, "--demo")
    assert status == 0 and f"cd {out} && python -m http.server" in err
    check_package(out)
    assert sha((out / ONNX).read_bytes(), 256) in (out / DEMO).read_text()
    assert "http.server" in (out / "README.md").read_text()
    assert not (exported / DEMO).exists()
    assert "demo" not in (exported / "README.md").read_text()


def test_an_export_is_whole_or_not_at_all(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "mine"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="out.*holds other things"):
        export_best(read_search(run), full)
    assert [p.name for p in full.iterdir()] == ["thesis.txt"]

    out = tmp_path / "out"
    export_best(read_search(run), out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.packages.package_writer.save_weights", fails)
    with pytest.raises(OSError, match="No space"):
        export_best(read_search(run), out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "mine", "out"]
    monkeypatch.undo()
    export_best(read_search(run), out)  # an earlier package is replaced


def test_an_earlier_package_with_something_of_mine_in_it_is_not_replaced(
    run: RunFolder, exported: Path
) -> None:
    (exported / "__pycache__").mkdir()
    check_out(exported)  # what importing load_model.py leaves is nobody's
    (exported / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="out.*notes.txt"):
        export_best(read_search(run), exported)
    assert (exported / "notes.txt").read_text() == "mine"


def test_bytes_that_are_no_text_are_refused_by_the_name_of_the_file(exported: Path) -> None:
    (exported / "config.yaml").write_bytes(b"config: \xff\xfe")
    with pytest.raises(InputError, match="config.yaml.*cannot be read"):
        read_package(exported)


def test_an_empty_folder_may_be_named_by_a_dot(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_best(read_search(run), Path("."))
    assert read_package(tmp_path / "here").config in CONFIGS


def test_other_data_than_the_search_had_is_refused(run: RunFolder, tmp_path: Path) -> None:
    facts = run.read_json(SEARCH)
    facts["data"]["fingerprint"] = "0123456789ab"
    run.write_json(SEARCH, facts)
    with pytest.raises(InputError, match="not the data of this search.*0123456789ab"):
        export_best(read_search(run), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_answered_with_the_command_that_makes_them(
    run: RunFolder, tmp_path: Path
) -> None:
    shutil.rmtree(run.file("weights"))
    with pytest.raises(InputError, match="trial_0000.*python tune_vgg6.py train"):
        export_best(read_search(run), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "config: ["),
        ("config.yaml", "a: 1"),
        ("metrics.json", "{"),
        ("README.md", ""),
        ("config.yaml", "config: {lr: -1}"),
        ("config.yaml", "config: {lrr: 1}"),
        ("config.yaml", "- 1"),
        ("history.csv", "\n"),
    ],
)
def test_a_damaged_package_is_refused_by_the_name_of_the_file(
    exported: Path, name: str, content: str
) -> None:
    (exported / name).write_text(content)
    if not content:
        (exported / name).unlink()
    with pytest.raises(InputError, match=name):
        read_package(exported)


def test_a_yaml_that_would_run_code_is_refused(exported: Path, tmp_path: Path) -> None:
    bad = f"config: !!python/object/apply:os.mkdir ['{tmp_path}/owned']\n"
    (exported / "config.yaml").write_text(bad)
    with pytest.raises(InputError, match="config.yaml"):
        read_package(exported)
    assert not (tmp_path / "owned").exists()
