"""What a search says where nobody watches: a line a minute, and one at each new incumbent."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from support.made.runs import made_run

from vgg6.tuning.run import progress
from vgg6.tuning.run.history import History
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.progress import Best, LineSchedule, Progress, Standing


def test_a_line_is_due_each_minute_and_at_each_new_incumbent() -> None:
    lines, first, third = LineSchedule(100.0, None), Best(0, 0.3), Best(3, 0.4)
    told = [
        (100.5, None), (103.0, first), (104.0, first), (162.9, first), (163.1, first),
        (164.0, third), (224.0, third),
    ]  # fmt: skip
    assert [lines.is_due(now, best) for now, best in told] == [
        False, True, False, False, True, True, True,
    ]  # fmt: skip
    resumed = LineSchedule(0.0, third)
    assert not resumed.is_due(1.0, third), "an incumbent of the session before is not new"


def test_a_trial_that_only_equals_the_incumbent_is_no_new_one() -> None:
    lines = LineSchedule(0.0, None)
    # The incumbent is the first of equals by number, whichever reported first.
    told = [Best(1, 0.1), Best(0, 0.1), Best(0, 0.2), Best(0, 0.3), Best(1, 0.3), Best(1, 0.4)]
    assert [lines.is_due(1.0, best) for best in told] == [True, False, True, False, False, True]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return read_history(made_run(tmp_path_factory.mktemp("runs"), trials=8, epochs=4))


def test_a_line_has_the_counts_the_incumbent_the_epochs_and_what_is_left(history: History) -> None:
    best, epochs = history.incumbent, len(history.arrivals)
    assert best is not None
    line = Standing(history, 16, elapsed=120.0, epochs=epochs).line()
    assert line.startswith("2:00  8 of 16 trials ended (")
    assert "completed, " in line and ", 0 running; " in line
    assert f"; {epochs} epochs, " in line and " a minute; " in line
    assert f"incumbent trial {best.number} {best.config.label}" in line
    assert line.endswith("; about 2 minutes left"), "as many again are to come"


def test_a_confirmation_counts_runs_and_names_candidates_as_the_search_does(tmp_path: Path) -> None:
    found = read_history(made_run(tmp_path, trials=6, epochs=2))
    for trial in found.trials.values():
        trial.params = {"candidate": 40 + trial.number // 2, "seed": trial.number % 2}
    best = found.incumbent
    assert best is not None
    line = Standing(found, 6, 120.0, 20).line()
    assert line.startswith("2:00  6 of 6 runs ended (")
    assert f"; best run trial {40 + best.number // 2} seed {best.number % 2} " in line


def test_a_time_budget_bounds_what_is_left(history: History) -> None:
    assert "about 30 seconds left" in Standing(history, 16, 120.0, 20, budget=150.0).line()
    assert Standing(History(), 16, 10.0, 0, budget=100.0).left == "about 90 seconds left"


def test_before_the_first_epoch_nothing_is_guessed() -> None:
    line = Standing(History(), 1, 2.0, 0).line()
    assert line == "0:02  0 of 1 trial ended, 0 running; 0 epochs; no score yet"


class Stream(io.StringIO):
    """A log file's end, or a terminal's; counts how often it was flushed."""

    terminal, flushes = False, 0

    def isatty(self) -> bool:
        return self.terminal

    def flush(self) -> None:
        self.flushes += 1


def test_lines_go_to_standard_error_at_once_and_not_where_there_is_a_terminal(
    history: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = read_history(made_run(tmp_path, trials=2, epochs=2))
    log = Stream()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with Progress("made", 2, shown) as live:
        live.refresh()
    assert log.getvalue().count("incumbent trial") == 1 and log.flushes >= 1
    terminal = Stream()
    terminal.terminal = True
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("made", 2, shown) as live:
        assert live.lines is None


def test_a_terminal_that_cannot_be_drawn_on_again_gets_lines(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Stream()
    terminal.terminal = True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setenv("TERM", "dumb")
    with Progress("made", 2, history) as shown:
        shown.refresh()
        assert "incumbent trial" in terminal.getvalue()
