"""Bad values in run folders: search.json, the journal, a confirmation, looks at the test set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.bad_values.case import SEARCH, Case, keyed, written

from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import BEFORE


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
