"""The front of accuracy against size, and the best trial of at most a size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.made.runs import DATA, made_run

from analysis.figures.sizes import sizes
from analysis.packages.compressed_networks import CompressedNetwork
from analysis.winner.ranking import summary
from analysis.winner.size_front import best_within, size_front, sized_trials
from vgg6.architecture import count_parameters
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.footprint.int8_size import int8_bytes
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.search import Search, read_search
from vgg6.tuning.session.trial_end import worth_keeping

WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)
IMAGES = {"mean": [0.4] * 3, "std": [0.2] * 3, "classes": list("0123456789")}


def made_of_widths(folder: Path) -> Search:
    """A made-up search of 24 trials, whose networks take turns in five widths."""
    run = made_run(folder, 24, 4, data=DATA | IMAGES)
    file = Path(run.path) / JOURNAL
    events = [json.loads(line) for line in file.read_text().splitlines()]
    for event in events:
        if event["event"] == "trial":
            event["config"]["width"] = WIDTHS[event["trial"] % len(WIDTHS)]
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    return read_search(RunFolder(run.path))


def test_the_front_holds_each_completed_trial_that_no_smaller_or_equal_one_beats(
    tmp_path: Path,
) -> None:
    search = made_of_widths(tmp_path)
    front = summary(search, top=3).size_front
    rows = sized_trials(search.history.ranking(), search.facts.data)
    assert len(front) > 1 and {one.trial for one in front} <= {row.trial for row in rows}
    for row in rows:
        beaten = any(
            other.parameters <= row.parameters and other.best_val_acc >= row.best_val_acc
            and other.trial != row.trial
            for other in rows
        )  # fmt: skip
        assert (row.trial in {one.trial for one in front}) == (not beaten)
        config = search.history.trials[row.trial].config
        assert row.parameters == count_parameters(config) and row.width == config.width
        assert row.int8_bytes == int8_bytes(config, search.facts.data.completed(search.facts.data))  # type: ignore[arg-type]
    drawn = sizes(rows, front)
    assert sorted(drawn.data[1].x) == sorted(one.parameters for one in front)


def test_best_shows_the_front_only_where_several_widths_were_tried(
    tmp_path: Path, said: Any
) -> None:
    search = made_of_widths(tmp_path / "wide")
    status, out, _ = said("best", search.folder.path)
    assert status == 0 and "the most accurate for their size" in out and "as int8" in out
    plain = made_run(tmp_path / "plain", 12, 4, data=DATA | IMAGES)
    status, out, _ = said("best", plain.path)
    assert status == 0 and "as int8" not in out


def test_the_best_of_a_size_is_the_first_of_the_ranking_that_is_as_small(tmp_path: Path) -> None:
    search = made_of_widths(tmp_path)
    most = count_parameters(TrialConfig(width=0.5))
    found = search.history.trials[best_within(search, most)]
    small = [t for t in search.history.ranking() if t.config.width <= 0.5]
    assert found is small[0]
    assert search.history.trials[best_within(search, 10**7 * 2)] is search.history.ranking()[0]
    with pytest.raises(InputError, match="the smallest has 42,418"):
        best_within(search, 42_000)
    kept = worth_keeping(search.history.trials.values(), keep=1)
    for width in WIDTHS:  # the weights that it needs are there
        assert best_within(search, count_parameters(TrialConfig(width=width))) in kept


def test_the_report_draws_means_times_and_compressed_networks_on_one_front(tmp_path: Path) -> None:
    search = made_of_widths(tmp_path)
    rows = sized_trials(search.history.ranking(), search.facts.data)
    front = size_front(search.history.ranking(), search.facts.data)
    assert len(sizes(rows, front).layout.updatemenus) == 0
    known = [
        replace(one, seeds=2, mean=one.score - 0.01, low=one.score - 0.02, high=one.score,
                latency=1e-9 * one.parameters, latency_low=0.0, latency_high=1.0)
        for one in front
    ]  # fmt: skip
    best = front[0]
    whole = CompressedNetwork(
        "as trained", best.score, None, None, 4 * best.parameters + 9_000, 0, {}
    )
    int8 = CompressedNetwork("int8", best.score - 0.001, 0.1, 0.9, best.parameters + 20_000, 0, {})
    bad = CompressedNetwork("pruned", 0.01, 0.0, 0.1, 10**9, 0, {})
    drawn = sizes(rows, known, packed=[whole, int8, bad])
    names = [trace.name for trace in drawn.data]
    assert names[:2] == ["completed trials", "no other beats these"] and len(names) == 4
    assert list(drawn.data[2].y) == [one.mean for one in known[::-1]]
    by_size, by_file, by_time = drawn.layout.updatemenus[0].buttons
    assert (by_size.label, by_file.label, by_time.label) == (
        "by parameters", "by file size", "by time",
    )  # fmt: skip
    file, text = by_file.args[0], by_file.args[0]["text"]
    assert "int8: " in " ".join(text[1]) and "pruned" not in " ".join(text[1]), "it is beaten"
    assert [round(1e3 * x) for x in file["x"][3]] == [whole.bytes, int8.bytes, bad.bytes]
    assert file["error_y"][3]["arrayminus"][1] == pytest.approx(int8.score - 0.1)
    times = by_time.args[0]["x"]
    assert times[0] == [] and times[2] == pytest.approx([1e-6 * one.parameters for one in known])
    assert times[1] == sorted(times[1])


def test_where_all_are_of_one_width_only_the_best_few_keep_their_weights(tmp_path: Path) -> None:
    history = read_search(made_run(tmp_path, 20, 4)).history
    best = {t.number for t in history.ranking(first=5)}
    assert worth_keeping(history.trials.values(), 5) == best


def test_export_takes_a_trial_or_a_size(tmp_path: Path, said: Any) -> None:
    search, out = made_of_widths(tmp_path), str(tmp_path / "out")
    status, _, err = said("export", search.folder.path, "--out", out, "--at", "1k")
    assert status == 2 and "--at: 1000 parameters are fewer" in err
    both = ("--at", "300k", "--trial", "1")
    status, _, err = said("export", search.folder.path, "--out", out, *both)
    assert status == 2 and "cannot stand beside --trial" in err
    status, _, err = said("export", search.folder.path, "--out", out, "--at", "300k")
    assert status == 2 and "with at most 300,000 parameters" in err and "weights" in err
