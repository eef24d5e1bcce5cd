"""How one search stands, and which there are: by their folders and who holds their locks."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from support.made.runs import made_run
from support.paths import ROOT

from vgg6.common.checks import InputError
from vgg6.tuning.run.driver_lock import announced, is_starting
from vgg6.tuning.run.folder import CONFIRMED, JOURNAL, SEARCH, RunFolder
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.status import render, status_of


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return made_run(tmp_path, trials=8, epochs=4)


def begin_again(run: RunFolder, seconds_ago: float) -> None:
    """A session that began a while ago and has run no epoch."""
    began = {"event": "session", "time": time.time() - seconds_ago, "session": "session_2"}
    run.write(JOURNAL, run.read(JOURNAL) + json.dumps(began).encode() + b"\n")


@pytest.mark.parametrize(("seconds_ago", "state"), [(5, "starting"), (40, "running")])
def test_a_search_without_an_epoch_is_starting_for_half_a_minute(
    run: RunFolder, seconds_ago: float, state: str
) -> None:
    begin_again(run, seconds_ago)
    with FileLock(run.file(".lock")):
        found = status_of(read_search(run))
    assert found.state == state
    shown = render(found)
    assert f"made on digits: {state}" in shown and " 0.0" not in shown and " 0 a " not in shown


def test_no_trial_is_said_to_run_where_no_driver_does(run: RunFolder) -> None:
    events = run.read(JOURNAL).decode().splitlines()
    run.write(JOURNAL, "\n".join(e for e in events if '"event": "end"' not in e).encode() + b"\n")
    begin_again(run, 100)
    with FileLock(run.file(".lock")):
        assert status_of(read_search(run)).by_state == {"running": 8}
    found = status_of(read_search(run))
    assert found.by_state == {"stopped": 8} and "8 stopped" in render(found)


def test_a_search_is_starting_before_it_has_a_file(tmp_path: Path, said: Any) -> None:
    coming = RunFolder(str(tmp_path / "new" / "coming"))
    with announced(coming):
        assert is_starting(coming)
        status, out, _ = said("status", "coming", "--storage", tmp_path / "new")
        assert (status, out) == (0, "coming: starting\n")
        status, out, _ = said("list", "--storage", tmp_path / "new", "--json")
        assert [(one["name"], one["state"]) for one in json.loads(out)] == [("coming", "starting")]
        with pytest.raises(InputError, match="being started by another process"), announced(coming):
            pass
    assert not list(tmp_path.iterdir()), "what it made is gone where no search began"
    assert said("status", "coming", "--storage", tmp_path / "new")[0] == 2


def test_the_lock_of_a_start_leaves_a_search_as_it_is(run: RunFolder) -> None:
    before = sorted(run.names(""))
    with announced(run):
        assert not is_starting(run), "there is a search, which says how it stands"
    assert sorted(run.names("")) == before


def test_a_slow_search_has_a_rate_that_is_not_nothing(run: RunFolder) -> None:
    facts = [json.loads(line) for line in run.read(JOURNAL).splitlines()]
    slow = [f | {"time": facts[0]["time"] + 3600.0 * i} for i, f in enumerate(facts)]
    run.write(JOURNAL, b"".join(json.dumps(f).encode() + b"\n" for f in slow[:-1]))
    with FileLock(run.file(".lock")):
        shown = render(status_of(read_search(run)))
    assert " a day\n" in shown or " an hour\n" in shown
    assert "0.0" not in shown.replace("0.01", "").replace("0.00", "")


def test_a_confirmed_search_names_the_winner_of_its_confirmation(said: Any) -> None:
    _, out, _ = said("status", ROOT / "docs" / "cifar10-48")
    confirmed = json.loads((ROOT / "docs/cifar10-48/confirmation.json").read_text())
    mean = next(c for c in confirmed["candidates"] if c["trial"] == confirmed["winner"])["mean"]
    assert f"confirmed trial {confirmed['winner']} " in out and f"{mean:.4f} over 3 fresh" in out


def test_a_confirmation_that_is_not_settled_says_so(tmp_path: Path, said: Any) -> None:
    shutil.copytree(ROOT / "docs" / "cifar10-48", tmp_path / "s")
    file = tmp_path / "s" / "confirmation.json"
    for more, open_ in ((4, True), (0, False)):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"more_seeds": more}))
        _, out, _ = said("status", tmp_path / "s")
        assert ("not settled against its rivals" in out) == open_


def test_a_search_that_is_being_confirmed_says_so(run: RunFolder) -> None:
    inner = RunFolder(run.file(CONFIRMED))
    inner.create()
    with FileLock(inner.file(".lock")):
        assert status_of(read_search(run)).state == "confirming"
    assert status_of(read_search(run)).state == "complete"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A finished search, one that runs, an interrupted one, a damaged one, and what is none."""
    for name in ("done", "going", "killed", "broken"):
        made_run(tmp_path, trials=4, epochs=2, name=name)
    begin_again(RunFolder(str(tmp_path / "going")), 100)
    begin_again(RunFolder(str(tmp_path / "killed")), 100)
    (tmp_path / "broken" / SEARCH).write_text("{}")
    shutil.rmtree(tmp_path / "broken" / ".before")
    (tmp_path / "no search").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


def test_a_confirmation_that_is_not_at_its_end_says_how_far_it_is_and_what_goes_on_with_it(
    run: RunFolder, said: Any
) -> None:
    inner = made_run(Path(run.path), trials=4, epochs=2, name=CONFIRMED)
    assert status_of(read_search(run)).confirming == "", "its last session did all"
    events = inner.read(JOURNAL).decode().splitlines()
    end = json.loads(events[-1]) | {"outcome": "interrupted"}
    for last, was in (([json.dumps(end)], "interrupted"), ([], "killed")):
        inner.write(JOURNAL, "\n".join([*events[:-2], *last]).encode() + b"\n")
        _, out, _ = said("status", run.path)
        told = next(line for line in out.splitlines() if line.startswith("  confirm "))
        assert f"{was} after 3 runs over fresh seeds ended: " in told and "--confirm" in told
    with FileLock(inner.file(".lock")):
        found = status_of(read_search(run))
    assert found.state == "confirming"
    assert "3 runs over fresh seeds ended, 1 going on" in render(found, "again", "more")


@pytest.mark.parametrize("command", ["list", "status"])
def test_every_search_of_a_storage_is_listed_with_its_state(
    storage: Path, said: Any, command: str
) -> None:
    with FileLock(storage / "going" / ".lock"):
        status, out, _ = said(command, "--storage", storage)
        _, as_json, _ = said(command, "--storage", storage, "--json")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "complete" in lines["done"] and "running" in lines["going"]
    assert "killed" in lines["killed"]
    found = {one["name"]: one for one in json.loads(as_json)}
    for name in ("done", "killed"):
        alone = json.loads(said("status", name, "--storage", storage, "--json")[1])
        assert found[name]["state"] == alone["state"], "the same word for one search"
    assert set(found) == {"done", "going", "killed", "broken"}
    best = found["done"]["incumbent"]
    for word in ("4 of 4", f"{best['best_val_acc']:.4f}", f"trial {best['trial']}"):
        assert word in lines["done"]
    assert found["done"]["age_s"] is not None and found["broken"]["problem"]
    assert "damaged" in out and "broken" in out


def test_an_empty_storage_is_no_error(tmp_path: Path, said: Any) -> None:
    assert said("list", "--storage", tmp_path / "none") == (
        0, f"no search in {tmp_path / 'none'}\n", "",
    )  # fmt: skip
