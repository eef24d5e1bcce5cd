"""Bad values from the six places that a user's values come from, through the real command line.

Command line, YAML spaces, environment, data folders, run folders, packages: always exit 2, a
message that holds the key, the value, the rule and the nearest valid name, and nothing written.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.made_runs import made_run
from support.paths import ROOT

import tune_vgg6
from analysis.packages.package_files import write_sums
from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import BEFORE

SEARCH = ["search", "--data", "digits", "--wandb", "disabled"]


@dataclass(frozen=True)
class Case:
    """``arguments`` and ``says`` may hold ``{at}``, the folder that ``change`` was given."""

    name: str
    arguments: list[str]
    says: list[str]
    change: Callable[[Path], object] = lambda at: None
    environment: dict[str, str] = field(default_factory=dict)


def written(name: str, content: str | bytes) -> Callable[[Path], object]:
    content = content.encode() if isinstance(content, str) else content
    return lambda at: (at / name).write_bytes(content)


# The command line

COMMAND_LINE = [
    Case("a command", ["reprot"], ["'reprot'", "did you mean 'report'"]),
    Case("a flag", [*SEARCH, "--sercher", "grid"], ["'--sercher'", "did you mean '--searcher'"]),
    Case("no cluster's address", [*SEARCH, "--address", "a b"], ["--address", "'a b'", "host"]),
    Case("a port", [*SEARCH, "--address", "h:99999"], ["--address", "'h:99999'", "1 to 65535"]),
    Case("a way to share GPUs", [*SEARCH, "--mps", "on"], ["--mps", "'on'", "auto, off"]),
    Case("a confirmation of no seed", ["best", "runs/good", "--confirm", "0"],
         ["--confirm", "0", "[1, 100]"]),
    Case("a ranking of none", ["best", "runs/good", "--top", "-1"], ["--top", "-1", "[1,"]),
    Case("a port to serve at", ["report", "runs/good", "--port", "70000"],
         ["--port", "70000", "[0, 65535]"]),
    Case("a report onto a folder", ["report", "runs/good", "--out", "{at}/runs"],
         ["--out", "runs'", "is a folder"]),
    Case("a report below a file", ["report", "runs/good", "--out", "{at}/file/r.html"],
         ["--out", "file/r.html'", "is no folder"]),
    Case("pictures into a file", ["report", "runs/good", "--png", "{at}/file"],
         ["--png", "file/summary.md'", "is no folder"]),
    Case("a table's format", ["table", "runs/good", "--out", "{at}/t.xlsx"],
         ["--out", "t.xlsx'", ".csv or .parquet"]),
    Case("a table in no folder", ["table", "runs/good", "--out", "{at}/none/t.csv"],
         ["--out", "none/t.csv'", "no folder that exists"]),
    Case("an evaluator", ["insights", "runs/good", "--evaluator", "anova"],
         ["--evaluator", "'anova'", "did you mean 'fanova'"]),
    Case("a form", ["convert", "runs/good", "--to", "tensorbord"],
         ["--to", "'tensorbord'", "did you mean 'tensorboard'"]),
    Case("a conversion below a file", ["convert", "runs/good", "--to", "optuna", "--out",
         "{at}/file"], ["--out", "file/journal.log'", "is no folder"]),
    Case("a package onto a file", ["export", "runs/good", "--out", "{at}/file"],
         ["--out", "file'", "is a file"]),
    Case("a package into a search", ["export", "runs/good", "--out", "{at}/runs/good"],
         ["--out", "runs/good'", "holds other things"]),
    Case("a package below a file", ["export", "runs/good", "--out", "{at}/file/p"],
         ["--out", "file/p'", "is no folder"]),
    Case("no package", ["verify", "runs/good"], ["DIR", "'runs/good'", "SHA256SUMS"]),
    Case("threads", ["train", "--data", "digits", "--threads", "0"],
         ["--threads", "0", "[1, 1024]"]),
    Case("an end after the end",
         ["train", "--data", "digits", "--epochs", "2", "--stop-after", "3"],
         ["--stop-after", "3", "[1, 2]"]),
    Case("a training below a file", ["train", "--data", "digits", "--out", "{at}/file/p"],
         ["--out", "file/p'", "is no folder"]),
    Case("a training onto a package", ["train", "--data", "digits", "--out", "{at}/package"],
         ["--out", "package'", "holds a package already", "--force"]),
    Case("a search's name", ["status", "god"], ["RUN", "'god'", "did you mean 'good'"]),
    Case("storage below a file", [*SEARCH, "--storage", "{at}/file/runs"],
         ["--storage", "cannot be written"]),
    Case("too many digits", ["train", "--data", "digits", "--seed", "9" * 5000],
         ["seed", "999", "whole number in [0, 4294967295]"]),
]  # fmt: skip

# YAML spaces; tests/search_spaces/test_search_spaces.py has fifty more, through the loader


def space(name: str, content: str | bytes, *says: str) -> Case:
    arguments = [*SEARCH, "--space", "{at}/mine.yaml"]
    return Case(name, arguments, ["mine.yaml", *says], written("mine.yaml", content))


BOMB = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
SPACES = [
    space("a parameter's name", "parameters: {optimiser: {choices: [sgd]}}",
          "'optimiser'", "did you mean 'optimizer'"),
    space("a choice", "parameters: {optimizer: {choices: [adm]}}",
          "parameters.optimizer.choices[0]", "'adm'", "did you mean 'adam'"),
    space("a word for a number", "parameters: {lr: {low: small, high: 1}}",
          "parameters.lr.low", "'small'", "(0, 10]"),
    space("not a number", "parameters: {lr: {low: .nan, high: 1}}", "parameters.lr.low", "nan"),
    space("a range upside down", "parameters: {lr: {low: 1, high: 0.1}}",
          "parameters.lr.high", "0.1", "not above low"),
    space("a Python object", "parameters: !!python/object/apply:os.mkdir [owned]",
          "line 1", "python/object", "tag"),
    space("a bomb of aliases", BOMB, "line", "anchor or alias"),
    space("a bomb of brackets", "[" * 60_000, "levels of nesting"),
    space("no YAML", "parameters: {lr: [", "line", "not valid YAML"),
    space("no text", b"\xff\xfe\x00\xd8parameters", "not valid YAML"),
    space("a file too large", "#" * 70_000, "65536"),
    space("nothing", "", "is empty"),
    Case("a folder", [*SEARCH, "--space", "{at}/mine.yaml"], ["mine.yaml", "cannot be read"],
         lambda at: (at / "mine.yaml").mkdir()),
]  # fmt: skip

# The environment


def variable(name: str, value: str, *says: str, arguments: list[str] | None = None) -> Case:
    words = arguments or ["search", "--data", "digits"]
    return Case(f"{name}={value}", words, [name, value, *says], environment={name: value})


ENVIRONMENT = [
    variable("WANDB_MODE", "ofline", "did you mean 'offline'"),
    variable("WANDB_BASE_URL", "api.wandb.ai", "no URL such as https://"),
    variable("WANDB_BASE_URL", "http://[", "no URL"),
    variable("RAY_ADDRESS", "head node", "host[:port]"),
    variable("RAY_ADDRESS", "head:port", "host[:port]"),
    variable("RAY_ADDRESS", "head:70000", "1 to 65535"),
    variable("RAY_TMPDIR", "/no/such/folder", "not a folder that can be written"),
    variable("CUDA_VISIBLE_DEVICES", "0,one", "'one'", "0,1"),
    variable("CUDA_VISIBLE_DEVICES", "cuda:0", "0,1", arguments=["train", "--data", "digits"]),
    variable("CIFAR10_DIR", "/no/such/folder", "cifar-10-batches-py", arguments=["search"]),
    variable("CIFAR10_DIR", "{at}/file", "cifar-10-batches-py", arguments=["train"]),
    variable("CIFAR10_DIR", "{at}/runs", "train-*.parquet", arguments=["search", "--data", "auto"]),
    variable("XDG_CACHE_HOME", "{at}/file", "cannot be written",
             arguments=["train", "--data", "{at}/data"]),
    variable("BROWSER_PATH", "/no/chrome", "no program",
             arguments=["report", "runs/good", "--png", "{at}/pictures"]),
]  # fmt: skip

# Data folders


def png() -> bytes:
    file = BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def images(folder: Path, name: str, count: int, cells: dict[int, Any] | None = None) -> None:
    """A parquet file of ``count`` black images with labels 0 to 9; ``cells``: other ones' labels
    (numbers), or other ones' images (bytes)."""
    pictures, labels = [png()] * count, [i % 10 for i in range(count)]
    for row, cell in (cells or {}).items():
        (labels if isinstance(cell, int) else pictures)[row] = cell
    packed = pa.array([{"bytes": p, "path": "x"} for p in pictures])
    pq.write_table(pa.table({"img": packed, "label": labels}), folder / f"{name}-0.parquet")


def data(name: str, change: Callable[[Path], object], *says: str) -> Case:
    arguments = ["search", "--data", "{at}/data", "--name", "fresh", "--wandb", "disabled"]
    return Case(name, arguments, ["--data", *says], lambda at: change(at / "data"))


def cut(file: str) -> Callable[[Path], object]:
    def change(at: Path) -> None:
        content = (at / file).read_bytes()
        (at / file).write_bytes(content[: len(content) // 2])

    return change


def batches(at: Path) -> None:
    """torchvision's folder, of which no file has the published checksum."""
    (at / "cifar-10-batches-py").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (at / "cifar-10-batches-py" / name).write_bytes(pickle.dumps({"data": b"", "labels": []}))


DATA = [
    data("a file cut short", cut("train-0.parquet"), "train-0.parquet", "cannot be read"),
    data("no parquet", written("test-0.parquet", "text"), "test-0.parquet", "cannot be read"),
    data("no training images", lambda at: (at / "train-0.parquet").unlink(), "data'",
         "train-*.parquet"),
    data("label 10", lambda at: images(at, "train", 200, {7: 10}),
         "data'", "one training image of the class '10'", "train, val"),
    data("label -1", lambda at: images(at, "test", 50, {7: -1}), "test-0.parquet", "-1",
         "0 or more"),
    data("an image of text", lambda at: images(at, "test", 50, {9: b"text"}), "row 9", "no image"),
    data("too few of a class", lambda at: images(at, "train", 19), "data'", "the class '9'"),
    data("checksums", batches, "cifar-10-batches-py", "checksum"),
    data("an image of a file in a file", lambda at: (at / "train-0.parquet").unlink()
         or (at / "train-0.parquet").mkdir(), "train-0.parquet", "cannot be read"),
]  # fmt: skip

# Run folders


def keyed(file: str, keys: str, value: Any) -> Callable[[Path], object]:
    """Set one key (``a/0/b``), or remove it where ``value`` is KeyError, in a JSON file."""

    def change(at: Path) -> None:
        content = json.loads((at / file).read_text())
        *path, last = [int(k) if k.isdigit() else k for k in keys.split("/")]
        inner = content
        for key in path:
            inner = inner[key]
        if value is KeyError:
            del inner[last]
        else:
            inner[last] = value
        (at / file).write_text(json.dumps(content))

    return change


def run(name: str, change: Callable[[Path], object], *says: str, command: str = "best") -> Case:
    words = [command, "{at}/runs/good"]
    words += ["--out", "{at}/out.csv"] if command == "table" else []

    def altered(at: Path) -> None:
        shutil.rmtree(at / "runs" / "good" / BEFORE, ignore_errors=True)  # it would be used instead
        change(at / "runs" / "good")

    return Case(name, words, list(says), altered)


def warm(name: str, change: Callable[[Path], object], *says: str) -> Case:
    arguments = [*SEARCH, "--warm-start", "{at}/runs/good"]
    return replace(run(name, change, "--warm-start", *says), arguments=arguments)


def asked(keys: str, value: Any, *says: str, command: str = "best") -> Case:
    shown = "no " + keys if value is KeyError else f"{keys}={str(value)[:20]}"
    change = keyed("search.json", keys, value)
    return run(f"search.json {shown}", change, "search.json", *says, command=command)


def confirmed(keys: str, value: Any, *says: str) -> Case:
    change = keyed("confirmation.json", keys, value)
    return run(f"confirmation.json {keys}={value}", change, "confirmation.json", *says)


def told(name: str, change: dict[str, Any], *says: str) -> Case:
    """A trial that a search was told of when it began, as its search.json has it."""
    trial = {"trial": 0, "config": {}, "scores": [0.5], "state": "pruned"} | change
    altered = keyed("search.json", "warm_start", {"sources": [], "told": [trial]})
    return run(name, altered, "search.json", f"warm_start.told[0].{says[0]}", *says[1:],
               command="resume")  # fmt: skip


def line(number: int, **changes: Any) -> Callable[[Path], object]:
    """Change keys of one line of the journal."""

    def change(at: Path) -> None:
        lines = (at / "journal.jsonl").read_text().splitlines()
        event = {
            k: v for k, v in (json.loads(lines[number - 1]) | changes).items() if v is not KeyError
        }
        lines[number - 1] = json.dumps(event)
        (at / "journal.jsonl").write_text("\n".join(lines) + "\n")

    return change


def event(name: str, number: int, *says: str, command: str = "best", **changes: Any) -> Case:
    where = ("journal.jsonl", f"line {number}:", *says)
    return run(f"journal {name}", line(number, **changes), *where, command=command)


def journal_text(old: str, new: str) -> Callable[[Path], object]:
    def change(at: Path) -> None:
        file = at / "journal.jsonl"
        file.write_text(file.read_text().replace(old, new, 1))

    return change


# Line 1 begins the session, line 2 a trial, lines 3 and 4 are its epochs, line 5 its end.
RUNS = [
    run("search.json no JSON", written("search.json", "{"), "search.json", "not JSON"),
    run("search.json nested", written("search.json", "[" * 100_000), "search.json", "not JSON"),
    run("search.json a list", written("search.json", "[1, 2]"), "search.json", "no JSON object"),
    asked("format", 4, "format", "4", "later version"),
    asked("format", "1", "format", "'1'", "whole number"),
    asked("trials", KeyError, "'trials' is missing", command="status"),
    asked("trials", -4, "trials", "-4", "[0,"),
    asked("name", {"a": 1}, "name", "{'a': 1}", "not text", command="report"),
    asked("data/fingerprint", KeyError, "data", "'fingerprint' is missing", command="table"),
    asked("data/split_seed", "42", "data.split_seed", "'42'", "whole number"),
    asked("data/argument", "a\0b", "data.argument", "null byte", command="report"),
    asked("data", None, "data", "None", "not a mapping", command="insights"),
    asked("runtime/precision", "bf61", "runtime.precision", "'bf61'", "did you mean 'bf16'"),
    asked("runtime/threads", 10**30, "runtime.threads", "[1, 1024]"),
    asked("settings/scheduler", "ahsa", "settings.scheduler", "'ahsa'", "did you mean 'asha'"),
    asked("settings/epochs", 2.5, "settings.epochs", "2.5", "whole number", command="resume"),
    asked("settings/seed", None, "settings.seed", "None", "whole number"),
    asked("settings/reduction", float("nan"), "settings.reduction", "nan", "(1, 100]"),
    asked("settings/patience", "2", "settings.patience", "'2'", "number", command="resume"),
    asked("settings/tirals", 3, "settings", "'tirals'", "did you mean 'trials'"),
    asked("settings/storage", 3, "settings.storage", "3", "not text", command="report"),
    asked("space/parameters", 7, "space", "parameters", "7", "list"),
    asked("space/parameters/0/choices/0", "rleu", "choices[0]", "'rleu'", "did you mean 'relu'"),
    asked("space/parameters/0/chioces", [1], "parameters[0]", "'chioces'", "'choices'"),
    run("a torn middle", journal_text('"trial": 0, "epoch": 1', '"trial": 0, "epo\n'),
        "journal.jsonl line 3", "is damaged"),
    run("bytes that are no text", lambda at: (at / "journal.jsonl").write_bytes(b"\xff\xfe\n{}\n"),
        "journal.jsonl line 1", "is damaged"),
    run("a line that is a list", journal_text('{"event": "session"', '[1]\n{"event": "session"'),
        "line 1", "[1]", "not a mapping"),
    event("an unknown event", 3, "event", "'epohc'", "did you mean 'epoch'", event="epohc"),
    event("an epoch of an unknown trial", 3, "trial", "99", "has not begun", trial=99),
    event("a trial twice", 6, "trial", "0", "begins twice", trial=0),
    event("no score", 3, "epoch", "'val_acc' is missing", val_acc=KeyError, command="table"),
    event("a score that is NaN", 3, "val_acc", "nan", "[0, 1]", val_acc=float("nan")),
    event("a score above 1", 3, "best_val_acc", "1.5", "[0, 1]", best_val_acc=1.5),
    event("a loss that is infinite", 3, "val_loss", "inf", val_loss=float("inf"), command="report"),
    event("a huge epoch", 3, "epoch", "100000000000", "[1, 10000]", epoch=10**11),
    event("text for a time", 3, "time", "'noon'", "number", time="noon", command="status"),
    event("a huge time", 3, "time", "1e+300", time=1e300),
    event("text for a trial", 3, "trial", "'0'", "whole number", trial="0"),
    event("a bad configuration", 2, "config.lr", "-1", "(0, 10]",
          config=TrialConfig().to_dict() | {"lr": -1}),
    event("a misspelt field", 2, "config", "'batchsize'", "did you mean 'batch_size'",
          config={"batchsize": 1}),
    event("a state", 5, "state", "'complete'", "did you mean 'completed'", state="complete"),
    event("a session outside", 1, "session", "'../..'", "session_1", session="../..",
          command="resume"),
    run("parameters outside the space", line(2, params={"activation": "relu"}), "trial 0", "params",
        "is missing", command="resume"),
    confirmed("winner", 77, "winner", "77", "none of the candidates"),
    confirmed("representative_seed", 5, "representative_seed", "5", "no completed run"),
    confirmed("candidates", {}, "candidates", "{}", "list"),
    confirmed("candidates/0/mean", "0.8", "candidates[0].mean", "'0.8'", "number"),
    confirmed("candidates/0/runs/0/history/0/val_acc", 7, "history[0].val_acc", "7", "[0, 1]"),
    run("looks", written("test_looks.jsonl", '{"time": 1}\n'), "test_looks.jsonl line 1"),
    run("looks of text", written("test_looks.jsonl", json.dumps(
        {"time": 1, "what": "x", "weights": "y", "accuracy": "1", "loss": 1, "images": 1}) + "\n"),
        "test_looks.jsonl line 1", "accuracy", "'1'"),
    warm("a warm start from a damaged journal", line(3, val_acc=1.5), "journal.jsonl line 3",
         "val_acc", "1.5", "[0, 1]"),
    warm("a warm start from a later version", keyed("search.json", "format", 4), "search.json",
         "format", "4", "later version"),
    warm("a warm start from a winner that is none", keyed("confirmation.json", "winner", 77),
         "confirmation.json", "winner", "77"),
    warm("a warm start from no score", lambda at: (at / "journal.jsonl").write_text(""),
         "'{at}/runs/good'", "no trial with a score"),
    Case("a warm start twice", [*SEARCH, "--warm-start", "good", "runs/good"],
         ["--warm-start", "'runs/good'", "twice"]),
    told("a told trial of a bad configuration", {"config": {"lr": -1}}, "config.lr", "-1",
         "(0, 10]"),
    told("a told trial outside the space", {"config": {"norm": "batch"}}, "config", "outside"),
    told("a told trial that was pruned without a score", {"scores": []}, "scores", "empty"),
    asked("warm_start", {"sources": 3, "told": []}, "warm_start.sources", "3", "list",
          command="report"),
    Case("a run that is a file", ["best", "{at}/file"], ["RUN", "file'", "is a file"]),
    Case("a search.json that is a folder", ["best", "{at}/runs/good"],
         ["search.json", "cannot be read", "directory"],
         lambda at: (at / "runs/good/search.json").unlink()
         or (at / "runs/good/search.json").mkdir()),
]  # fmt: skip

# Packages


def package(name: str, change: Callable[[Path], object], *says: str) -> Case:
    """A package that was altered and then given true checksums."""

    def altered(at: Path) -> None:
        change(at / "package")
        write_sums(at / "package")

    return Case(name, ["verify", "{at}/package", "--quick"], list(says), altered)


def yaml_text(old: str, new: str) -> Callable[[Path], object]:
    def change(at: Path) -> None:
        text = (at / "config.yaml").read_text()
        assert old in text
        (at / "config.yaml").write_text(text.replace(old, new, 1))

    return change


def sums(text: str) -> Callable[[Path], object]:
    def change(at: Path) -> None:
        with open(at / "package" / "SHA256SUMS", "a") as file:
            file.write(f"{'0' * 64}  {text}\n")

    return change


HUGE_HEADER = struct.pack("<Q", 2**40) + b"{}"
PACKAGES = [
    package("a Python object", yaml_text("config:", "x: !!python/object/apply:os.mkdir [owned]\n"
            "config:"), "config.yaml", "python/object"),
    package("a bomb of aliases", written("config.yaml", BOMB), "config.yaml", "alias"),
    package("a key too many", yaml_text("config:", "confg: 1\nconfig:"),
            "config.yaml", "'confg'", "did you mean 'config'"),
    package("a field too many", yaml_text("  lr:", "  lrr: 1\n  lr:"),
            "config.yaml", "'lrr'", "did you mean 'lr'"),
    package("a value out of range", yaml_text("  batch_size: 32", "  batch_size: -32"),
            "config.yaml", "config.batch_size", "-32", "[1, 4096]"),
    package("an integer too long to write", yaml_text("  seed: 42", "  seed: 0x" + "f" * 9000),
            "config.yaml", "config.seed", "integer of 36000 bits", "[0, 4294967295]"),
    package("a type", yaml_text("stop_after: null", "stop_after: soon"),
            "config.yaml", "stop_after", "'soon'", "whole number"),
    package("no arithmetic", yaml_text("precision: ", "precisoin: "),
            "config.yaml", "runtime", "'precisoin'", "did you mean 'precision'"),
    package("no mapping", written("config.yaml", "- 1\n"), "config.yaml", "not a mapping"),
    package("numbers as text", keyed("metrics.json", "val_acc", "0.5"),
            "metrics.json", "val_acc", "'0.5'", "number"),
    package("no JSON", written("metrics.json", "{"), "metrics.json", "cannot be read"),
    package("versions as text", keyed("environment.json", "versions", "all"),
            "environment.json", "versions", "'all'", "not a mapping"),
    package("a history without scores", written("history.csv", "epoch,lr\n1,0.1\n"),
            "history.csv", "is missing"),
    package("a history with a gap", lambda at: written("history.csv", "epoch,val_acc\n1,\n")(at),
            "history.csv", "[0]"),
    package("weights that are a pickle", written("weights.safetensors", pickle.dumps([1])),
            "weights.safetensors", "damaged"),
    package("weights with a huge header", written("weights.safetensors", HUGE_HEADER),
            "weights.safetensors", "damaged"),
    Case("sums above the package", ["verify", "{at}/package"], ["SHA256SUMS", "'../evil'"],
         sums("../evil")),
    Case("sums of an absolute path", ["verify", "{at}/package"], ["SHA256SUMS", "'/etc/passwd'"],
         sums("/etc/passwd")),
    Case("a file altered", ["verify", "{at}/package"], ["load_model.py", "altered"],
         written("package/load_model.py", "import os\n")),
    Case("a file missing", ["verify", "{at}/package"], ["model.onnx", "missing"],
         lambda at: (at / "package" / "model.onnx").unlink()),
]  # fmt: skip

SOURCES = {
    "command line": COMMAND_LINE,
    "yaml": SPACES,
    "environment": ENVIRONMENT,
    "data": DATA,
    "run": RUNS,
    "package": PACKAGES,
}
CASES = [(source, case) for source, cases in SOURCES.items() for case in cases]


def test_there_are_sixty_bad_values_and_six_of_every_source() -> None:
    assert len(CASES) >= 60 and all(len(cases) >= 6 for cases in SOURCES.values())
    assert len({(source, case.name) for source, case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nothing is wrong with: a search with its confirmation, a package, a data folder."""
    folder = tmp_path_factory.mktemp("whole")
    made_run(folder / "runs", trials=4, epochs=2, name="good")
    found = json.loads((ROOT / "docs" / "cifar10-48" / "confirmation.json").read_text())
    winner = next(c for c in found["candidates"] if c["trial"] == found["winner"])
    found |= {"candidates": [winner | {"trial": 0}], "winner": 0, "ties": [0]}
    (folder / "runs" / "good" / "confirmation.json").write_text(json.dumps(found))
    arguments = "--data digits --limit-train 100 --epochs 1 --batch-size 32 --threads 1"
    assert tune_vgg6.main(["train", *arguments.split(), "--out", str(folder / "package")]) == 0
    (folder / "data").mkdir()
    images(folder / "data", "train", 200)
    images(folder / "data", "test", 50)
    (folder / "file").write_text("no folder")
    # Every machine that has run this once has it; whatever is decoded would lie in it.
    (folder / "cache" / "tune_vgg6").mkdir(parents=True)
    return folder


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, and of files the size and the time of the last change."""
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*")}
    return {
        name: (0, 0) if p.is_dir() else (p.stat().st_size, p.stat().st_mtime_ns)
        for name, p in found.items()
    }


def prepared(case: Case, whole: Path, at: Path) -> tuple[list[str], dict[str, str], list[str]]:
    """``at`` with the fault in it: the arguments, the environment and what the message must say."""
    for entry in whole.iterdir():
        (shutil.copytree if entry.is_dir() else shutil.copy)(entry, at / entry.name)
    case.change(at)
    environment = {"XDG_CACHE_HOME": "{at}/cache", "HOME": "{at}"} | case.environment
    filled = [[w.replace("{at}", str(at)) for w in words] for words in (case.arguments, case.says)]
    return filled[0], {k: v.replace("{at}", str(at)) for k, v in environment.items()}, filled[1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone after the test: a package is 20 MB."""
    yield (at := tmp_path / "at")
    shutil.rmtree(at)


@pytest.mark.parametrize(("source", "case"), CASES, ids=lambda x: getattr(x, "name", x))
def test_it_is_refused_by_key_value_and_rule_and_nothing_is_written(
    source: str, case: Case, whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    place.mkdir()
    arguments, environment, says = prepared(case, whole, place)
    for name in ("WANDB_MODE", "RAY_ADDRESS", "CIFAR10_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place)
    before = tree(place)
    status = tune_vgg6.main(arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (2, ""), err
    last = err[err.index("error: ") :]  # before it may stand that images are being decoded
    for part in says:
        assert part in last
    assert "Traceback" not in err and len(last) < 3000
    assert tree(place) == before


# Fresh processes: nothing heavy is imported for what needs none of it, and nothing is written.
LIGHT = [COMMAND_LINE[1], SPACES[0], ENVIRONMENT[0], RUNS[0], RUNS[5]]
PROGRAM = """
import sys, tune_vgg6
status = tune_vgg6.main(sys.argv[1:])
print(status, [m for m in ("ray", "torch", "wandb", "optuna") if m in sys.modules])
"""


@pytest.mark.parametrize("case", LIGHT, ids=lambda case: case.name)
def test_a_process_of_its_own_ends_before_it_imports_what_is_heavy(
    case: Case, whole: Path, place: Path
) -> None:
    place.mkdir()
    arguments, environment, says = prepared(case, whole, place)
    arguments[0] = {"best": "status"}.get(arguments[0], arguments[0])
    before = tree(place)
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, *arguments], cwd=place, capture_output=True,
        text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert done.stdout == "2 []\n", done.stderr
    assert all(part in done.stderr for part in says)
    assert tree(place) == before
