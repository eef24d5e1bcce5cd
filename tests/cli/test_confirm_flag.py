"""``--confirm`` of ``best``, ``search`` and ``resume``: what it asks for, and what it leaves."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import made_run
from support.paths import NARROW, ROOT

from cli.confirm import Confirming, confirm_after, to_tell
from cli.exit_codes import DONE, FAILED
from cli.main import build_parser, main
from vgg6.common.checks import InputError
from vgg6.tuning.cluster.connect import HERE
from vgg6.tuning.run.folder import open_run
from vgg6.tuning.run.history import History
from vgg6.tuning.run.search import read_search
from vgg6.tuning.session.callbacks import StopRule
from vgg6.tuning.session.session_outcome import COMPLETE, Outcome
from vgg6.tuning.settings import Settings

SEARCH = (
    "search --data digits --limit-train 100 --trials 2 --epochs 1 --wandb disabled --name whole "
    f"--space {NARROW}"
)


def asked(line: str) -> Confirming | None:
    return Confirming.read(build_parser().parse_args(shlex.split(line)))


def test_without_a_number_it_goes_on_in_rounds_and_with_one_it_runs_so_many_seeds() -> None:
    assert asked("best first") is None
    assert asked("best first --confirm") == Confirming(None, 0.005)
    assert asked("best first --confirm 3 --margin 0.01") == Confirming(3, 0.01)
    assert asked("search --confirm") == asked("resume first --confirm") == Confirming(None, 0.005)
    for line, field in (("--confirm 0", "confirm"), ("--confirm --margin 2", "margin")):
        with pytest.raises(InputError) as error:
            asked(f"search {line}")
        assert error.value.field == field


def test_the_help_says_what_bounds_the_rounds() -> None:
    for command in ("best", "search", "resume"):
        text = " ".join(build_parser().subcommands()[command].format_help().split())
        assert "rival or shown to be within --margin of it, 10 at most" in text


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (-1.0, "the time budget is used up"),
        (4.2, "a run of 2 epochs takes about 19 seconds, and the time budget is used up in 4 s"),
    ],
)
def test_where_no_time_is_left_to_confirm_the_command_that_goes_on_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left: float, why: str
) -> None:
    settings = Settings(name="made", trials=3, data="digits", time_budget=60.0)
    made_run(tmp_path, 3, 2, settings=settings.to_dict())  # an epoch took 9.5 s
    words = ["resume", "made", "--storage", str(tmp_path), "--confirm", "4", "--margin", "0.01"]
    args = build_parser().parse_args(words)
    run = open_run("made", str(tmp_path))
    want = Confirming.read(args)
    assert want is not None
    assert confirm_after(run, args, want, time.monotonic() + left) == FAILED
    err = capsys.readouterr().err
    assert f"confirmation incomplete: {why}" in err
    line = err.partition("To go on: ")[2].strip()
    goes_on = build_parser().parse_args(shlex.split(line.partition("tune_vgg6.py ")[2]))
    assert (goes_on.command, goes_on.run, goes_on.storage) == ("best", "made", str(tmp_path))
    assert Confirming.read(goes_on) == want


@pytest.mark.slow
@pytest.mark.parametrize("budget", [["--time-budget", "4m"], ["--trials", "auto"]])
def test_a_search_keeps_a_third_of_its_time_budget_for_the_confirmation(
    said: Any, budget: list[str]
) -> None:
    small = ("--limit-train", "100", "--space", NARROW)
    words = ("search", "--data", "digits", *small, *budget, "--dry-run")
    assert "4 minutes at most" in said(*words)[1]
    status, out, _ = said(*words, "--confirm")
    assert status == DONE and "2.7 minutes at most" in out
    assert "confirmed    in what is left of 4 minutes" in out


@pytest.mark.parametrize("command", ["search", "resume"])
def test_the_start_of_ray_takes_nothing_from_the_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The search's share of the budget begins with the command, and its Ray stays for the rest."""
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []

    @contextmanager
    def connected(*args: object) -> Iterator[str]:
        time.sleep(0.2)
        yield HERE
        seen.append("Ray has ended")

    def started(*args: Any) -> Outcome:
        stop = StopRule(History(), 0.1, None, began=args[-1])
        seen.append("its time is up" if stop.stop_all() else "it has time")
        return Outcome(COMPLETE, "", "", 0.0)

    monkeypatch.setattr("cli.search.connected", connected)
    monkeypatch.setattr("vgg6.tuning.session.start.start_search", started)
    monkeypatch.setattr("vgg6.tuning.session.start.resume_search", started)
    monkeypatch.setattr("cli.search.finish", lambda *args: DONE)
    monkeypatch.setattr("cli.search.confirm_after", lambda *args: seen.append("confirmed") or DONE)
    words = shlex.split(SEARCH)
    if command == "resume":
        made_run(tmp_path / "runs", 3, 2)
        monkeypatch.setattr("cli.search.load_recorded", lambda data: (None, None))
        words = ["resume", "made", "--trials", "9"]
    assert main([*words, "--time-budget", "60s", "--confirm"]) == DONE
    assert seen == ["its time is up", "confirmed", "Ray has ended"]
    seen.clear()
    assert main([*words, "--time-budget", "60s"]) == DONE
    assert seen == ["it has time", "Ray has ended"]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_one_command_leads_from_nothing_to_a_confirmed_winner(
    tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = said(*shlex.split(SEARCH), "--confirm", "--margin", "0.5")
    assert status == DONE, err
    found = read_search(open_run("whole", "runs"))
    assert found.confirmation is not None and found.confirmation.more_seeds == 0
    assert found.confirmation.why in " ".join(out.split())
    assert "search whole: " in err and "confirmation of whole: at most " in err
    assert "the only look at the test images" in out
    assert (tmp_path / "runs" / "whole" / "best" / "SHA256SUMS").is_file()
    seeds = [run.seed for run in found.confirmation.chosen.runs]
    assert len(seeds) == 2, "no more rounds than were needed"


def test_where_the_winner_is_not_settled_the_command_with_so_many_seeds_is_printed(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "docs" / "cifar10-48", tmp_path / "shown")
    search = read_search(open_run("shown", str(tmp_path)))
    assert search.confirmation is not None
    assert to_tell(search, Confirming(None, 0.005)) == "", "it is settled"
    found = search.confirmation.model_copy(update={"more_seeds": 4})
    line = to_tell(replace(search, confirmation=found), Confirming(3, 0.01))
    args = build_parser().parse_args(shlex.split(line.partition("tune_vgg6.py ")[2]))
    assert (args.command, args.run, args.storage) == ("best", "shown", str(tmp_path))
    assert (args.top, args.confirm, args.margin) == ("3", "7", "0.01")
    line = to_tell(replace(search, confirmation=found), Confirming(None, 0.005))
    assert line.endswith("--top 3 --confirm"), "rounds whose time was used up go on as rounds"
    hopeless = search.confirmation.model_copy(update={"more_seeds": 100})
    line = to_tell(replace(search, confirmation=hopeless), Confirming(3, 0.01))
    assert "100 seeds are not likely to" in line and "To go on" not in line
    guessing = [one.model_copy(update={"mean": 0.1}) for one in found.candidates]
    found = found.model_copy(update={"candidates": guessing})
    at_chance = replace(search, confirmation=found)
    assert to_tell(at_chance, Confirming(None, 0.005)) == "", "seeds do not mend a search"


def test_a_confirmation_of_an_earlier_version_opens_and_shows_what_it_holds(
    tmp_path: Path, said: Any
) -> None:
    shutil.copytree(ROOT / "docs" / "cifar10-48", tmp_path / "shown")
    file = tmp_path / "shown" / "confirmation.json"
    found = json.loads(file.read_text())
    for name in ("margin", "more_seeds"):
        del found[name]
    for candidate in found["candidates"]:
        for name in ("cost", "behind", "behind_low", "behind_high", "stands"):
            candidate.pop(name, None)
    file.write_text(json.dumps(found))
    status, out, err = said("best", "shown", "--storage", tmp_path)
    assert status == DONE, err
    assert found["why"] in " ".join(out.split()) and "dropped" in out
