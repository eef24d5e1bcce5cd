"""The search that the docs show: its numbers and tables are those of the committed journal."""

from __future__ import annotations

import ast
import html
import json
import re

import pandas as pd
import pytest
from support.paths import ROOT
from support.web.readme_picture import COMMAND, LAST, PICTURE, draw

import tune_vgg6
from analysis.winner.ranking import summary
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search

SHOWN = ROOT / "docs" / "cifar10-48"


@pytest.mark.parametrize(("name", "flags"), [("results.csv", ()), ("trials.csv", ("--trials",))])
def test_the_committed_tables_are_those_of_the_committed_journal(
    name: str, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune_vgg6.main(["table", str(SHOWN), *flags]) == 0
    assert capsys.readouterr().out == (SHOWN / name).read_text()


def test_the_docs_say_of_their_search_what_the_journal_says() -> None:
    page = " ".join((ROOT / "docs" / "reports.md").read_text().split())
    found = summary(read_search(RunFolder(str(SHOWN))), top=3).to_dict()
    best, winner = found["confirmation"]["candidates"][0], found["winner"]
    rows = pd.read_csv(SHOWN / "results.csv")
    facts = json.loads((SHOWN / "search.json").read_text())
    sessions = read_history(RunFolder(str(SHOWN))).sessions
    length = facts["settings"]["epochs"]
    for said in (
        f"{facts['trials']} trials of up to {length} epochs on {facts['data']['train_images']:,}",
        f"resumed {['', 'once', 'twice', 'three times'][len(sessions) - 1]}",
        f"ASHA ran {len(rows)} of {facts['trials'] * length} epochs",
        f"scored {best['search_score']:.3f} in the search and {best['mean']:.3f} (95 %"
        f" {best['low']:.3f} to {best['high']:.3f}) over three fresh seeds",
        f"On the test images it has {found['test']['accuracy']:.3f}",
    ):
        assert said in page, said
    assert (winner["config"]["activation"], winner["config"]["optimizer"]) == ("gelu", "adam")


def test_readmes_picture_is_what_the_command_in_it_prints_today(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = (ROOT / PICTURE).read_text()
    assert shown == draw(), "PYTHONPATH=tests python -m support.web.readme_picture"
    monkeypatch.chdir(ROOT)
    assert tune_vgg6.main(COMMAND.split()[2:]) == 0
    printed = capsys.readouterr().out.partition(LAST)[0].split()
    drawn = [html.unescape(re.sub("<.*?>", "", t)) for t in re.findall("<text.*?</text>", shown)]
    assert " ".join(printed) in " ".join(" ".join(drawn).split()), "cut off before the last lines"
    assert len(shown) < 150_000 and 'url("http' not in shown


def test_every_fault_names_tests_that_exist() -> None:
    rows = re.findall(r"^\| \d+ \|.*$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)::(\w+)`", row)
        assert named, f"no test is named: {row}"
        for file, test in named:
            (found_file,) = (ROOT / "tests").rglob(file)
            tree = ast.parse(found_file.read_text())
            found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert test in found, f"{file} has no {test}"
    assert len(rows) > 20
