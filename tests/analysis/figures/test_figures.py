"""What the figures of a search show, from the figures themselves."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image
from support.made.runs import STARTED, made_run

from analysis.confirmation.intervals import shown_intervals
from analysis.figures.compression import compression
from analysis.figures.figure_files import (
    PNG_COLOURS,
    SCALE,
    draw_files,
    find_browser,
    shrink,
    write_figure,
)
from analysis.figures.learning_curves import (
    BEST_CURVES,
    MOST_CURVES,
    curves,
    grid_columns,
    small_multiples,
    thinned,
)
from analysis.figures.stopping_and_use import cluster, rungs, whole_ticks
from analysis.figures.trials import parallel, progress, round_ticks
from analysis.figures.winner import confirmation
from analysis.packages.compressed_networks import CompressedNetwork, on_front
from analysis.report.figure_titles import figure_titles
from analysis.report.gather_contents import gather
from analysis.results.search_tables import tables_of
from analysis.results.timeline import Rung, Timeline, timeline
from vgg6.config import ACTIVATIONS
from vgg6.tuning.run.confirmation import Confirmation
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.search import Search, read_search

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "docs" / "cifar10-48"  # four sessions, with hours between them


@pytest.fixture(scope="module")
def recorded() -> Search:
    return read_search(RunFolder(str(RECORDED)))


@pytest.fixture(scope="module")
def epochs(recorded: Search) -> pd.DataFrame:
    return tables_of(recorded).epochs


@pytest.fixture(scope="module")
def ran(recorded: Search) -> Timeline:
    return timeline(recorded.history)


def confirmed(recorded: Search) -> Confirmation:
    assert recorded.confirmation
    return recorded.confirmation


# The candidates over fresh seeds


def test_a_confirmation_shows_pooled_intervals_and_every_seed_as_a_dot(recorded: Search) -> None:
    found = confirmed(recorded)
    bounds = shown_intervals(found, 1000)
    means, seeds, _ = confirmation(found, bounds).data
    for row, x, up, down in zip(
        found.candidates, means.x, means.error_x.array, means.error_x.arrayminus, strict=True
    ):
        assert (x - down, x + up) == pytest.approx(bounds[row.trial])
        assert down > 0.001 < up
    assert sorted(seeds.x) == sorted(run.val_acc for c in found.candidates for run in c.finished)
    dropped = [c for c in found.candidates if c.eliminated_after]
    assert dropped and all(any(f"trial {c.trial}: " in y for y in seeds.y) for c in dropped)
    assert any("dropped after 2 seeds" in y for y in means.y)
    row = next(c for c in dropped if c.behind_low is not None)
    assert any(f"{row.behind_low:.3f} to {row.behind_high:.3f} behind" in y for y in means.y)


def test_an_interval_is_the_one_that_decided_or_pooled_in_older_files(recorded: Search) -> None:
    found = confirmed(recorded)
    recorded_bounds = {c.trial: (c.low, c.high) for c in found.candidates}
    assert shown_intervals(found, 1000) == recorded_bounds
    older = shown_intervals(found.model_copy(update={"margin": None}), 1000)
    # The one of the winner's three seeds is narrower than those of two seeds each.
    widths = {trial: (high or 1) - (low or 0) for trial, (low, high) in older.items()}
    assert min(widths, key=lambda trial: widths[trial]) == found.winner
    assert max(widths.values()) < 0.06, "two seeds on their own give 0.17"


def test_equal_seeds_have_an_interval_that_is_not_of_zero_width(recorded: Search) -> None:
    found = confirmed(recorded)
    rows = [
        row.model_copy(update={"runs": [r.model_copy(update={"val_acc": 0.95}) for r in row.runs]})
        for row in found.candidates
    ]
    found = found.model_copy(update={"candidates": rows, "margin": None})
    for low, high in shown_intervals(found, 1000).values():
        assert low is not None and high is not None and high - low > 0.002


def test_a_score_of_another_length_is_not_beside_the_fresh_runs(recorded: Search) -> None:
    found = confirmed(recorded)
    first, *others = found.candidates
    assert len(confirmation(found, {}).data[2].x) == 1 + len(others)
    rows = [first.model_copy(update={"optimism": None}), *others]
    found = found.model_copy(update={"candidates": rows})
    assert len(confirmation(found, {}).data[2].x) == len(others)


# The time of a search


def test_pauses_between_sessions_are_cut_out_of_the_time(recorded: Search, ran: Timeline) -> None:
    ends = [session.time for session in recorded.history.sessions]
    assert len(ran.clock.breaks) == len(ran.pauses) == 3
    assert [start for start, _ in ran.clock.breaks] == ends[:3]
    whole = (ends[-1] - ran.clock.began) / 60
    paused = sum(end - start for start, end in ran.clock.breaks) / 60
    assert ran.clock.minutes(ends[-1]) == pytest.approx(whole - paused)
    start, end = ran.clock.breaks[0]
    assert ran.clock.minutes((start + end) / 2) == ran.clock.minutes(start)


def test_a_session_that_was_killed_ends_with_its_last_epoch(tmp_path: Path) -> None:
    run = made_run(tmp_path, trials=4, epochs=3)
    journal = Path(run.file(JOURNAL))
    lines = [x for x in journal.read_text().splitlines() if '"session_end"' not in x]
    later = STARTED + 5000
    lines += [json.dumps({"event": "session", "time": later, "session": "session_2"})]
    journal.write_text("\n".join(lines) + "\n")
    history = read_search(run).history
    last = max(row.time for trial in history.trials.values() for row in trial.curve)
    assert timeline(history).clock.breaks == ((last, later),)


def test_best_so_far_rises_when_a_result_was_known(epochs: pd.DataFrame, ran: Timeline) -> None:
    figure = progress(epochs, ran)
    line = figure.data[-1]
    first = epochs.sort_values("time").iloc[0]
    assert line.x[0] == pytest.approx(ran.clock.minutes(first.time), abs=1e-3)
    assert line.x[0] > 1, "an epoch took more than a minute"
    assert list(line.y) == sorted(line.y) and line.y[-1] == epochs.val_acc.max()
    best = epochs.loc[epochs.val_acc.idxmax()]
    known = round(ran.clock.minutes(best.time), 3)
    assert any(best.val_acc in t.y and known in t.x for t in figure.data[:-1])
    assert len(figure.layout.shapes) == 3


def test_a_trial_that_diverged_is_never_the_best_so_far(
    epochs: pd.DataFrame, ran: Timeline
) -> None:
    best = epochs.loc[epochs.val_acc.idxmax()].trial
    lost = epochs.assign(state=epochs.state.where(epochs.trial != best, "infeasible"))
    line = progress(lost, ran).data[-1]
    assert line.y[-1] == epochs[epochs.trial != best].val_acc.max() < epochs.val_acc.max()
    assert list(line.y) == sorted(line.y)


def test_a_switch_shows_the_same_against_epochs_spent(epochs: pd.DataFrame, ran: Timeline) -> None:
    figure = progress(epochs, ran)
    (switch,) = figure.layout.updatemenus
    by_time, by_epochs = switch.buttons
    assert "a pause, cut out" in [trace.name for trace in figure.data]
    assert [list(x) for x in by_time.args[0]["x"]] == [list(t.x) for t in figure.data]
    spent = by_epochs.args[0]["x"]
    assert [len(x) for x in spent] == [len(t.x) for t in figure.data]
    assert spent[-1][0] == 1 and spent[-1][-1] == len(epochs)
    assert by_epochs.args[1]["shapes"] == [] != by_time.args[1]["shapes"]


def test_a_gantt_row_is_a_slot_of_a_node_through_all_sessions(
    recorded: Search, ran: Timeline
) -> None:
    workers = {row.pid for t in recorded.history.trials.values() for row in t.curve}
    assert len(workers) == 8
    figure = cluster(ran)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert {y for trace in bars for y in trace.y} == {"vm · 1", "vm · 2"}
    assert "a pause, cut out" in [trace.name for trace in figure.data]
    for slot in {span.slot for span in ran.spans}:
        own = sorted((s.start, s.end) for s in ran.spans if s.slot == slot)
        assert all(a[1] <= b[0] + 0.01 for a, b in pairwise(own))
    assert max(span.end for span in ran.spans) < 120


# Rungs, curves and axes


def test_the_cut_off_is_written_at_each_rung_and_there_is_one_scale() -> None:
    figure = rungs([Rung("epoch 1", 46, 20, 0.35), Rung("epoch 2", 0, 0, None)])
    assert list(figure.data[0].y) == ["epoch 1<br>cut-off 0.3500", "epoch 2"]
    assert list(figure.data[0].x) == [46, 0] and list(figure.data[1].x) == [20, 0]
    assert not [key for key in figure.to_dict()["layout"] if key in ("xaxis2", "yaxis2")]


@pytest.mark.parametrize("kinds", range(1, 9))
def test_small_multiples_fill_their_grid(epochs: pd.DataFrame, kinds: int) -> None:
    table = epochs.assign(activation=[ACTIVATIONS[t % kinds] for t in epochs.trial])
    figure = small_multiples(table, "activation", "optimizer")
    panels = [a.text for a in figure.layout.annotations]
    assert panels[:kinds] == list(ACTIVATIONS[:kinds])
    assert len(panels) == 1 or len(panels) % 2 == 0
    columns = grid_columns(len(panels))
    titled = [
        n for n in range(len(panels)) if figure.layout[f"xaxis{n + 1 if n else ''}"].title.text
    ]
    assert titled == list(range(len(panels) - columns, len(panels))), "the lowest row only"
    drawn = _points(figure)
    assert drawn == len(epochs) * (1 + (kinds > 1 and kinds % 2))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """A search with more trials than have a curve drawn."""
    folder = tmp_path_factory.mktemp("many")
    return read_search(made_run(folder, trials=MOST_CURVES + 1500, epochs=2))


def test_of_many_trials_the_best_and_an_even_part_of_the_others_have_curves(
    many: Search, epochs: pd.DataFrame
) -> None:
    assert thinned(epochs) is epochs, "few are all drawn"
    table = tables_of(many).epochs
    drawn = thinned(table)
    assert drawn.trial.nunique() == MOST_CURVES
    assert len(drawn) == table.trial.isin(drawn.trial).sum(), "whole curves"
    tops = table.groupby("trial").best_val_acc.max()
    assert set(tops.nlargest(BEST_CURVES).index) <= set(drawn.trial)
    others = np.setdiff1d(drawn.trial, tops.nlargest(BEST_CURVES).index)
    assert np.diff(others).max() < 12, "no stretch of the search is left out"
    assert set(drawn.optimizer) == set(table.optimizer)
    figure = curves(drawn)
    assert sum(y is None for trace in figure.data[: len(figure.data) // 4] for y in trace.y) == (
        MOST_CURVES
    ), "each line ends with a gap"


def test_the_value_of_a_single_bad_trial_among_many_has_its_curve(many: Search) -> None:
    table = tables_of(many).epochs
    worst = table.groupby("trial").best_val_acc.max().idxmin()
    rare = table.assign(activation=table.activation.where(table.trial != worst, "mish"))
    assert "mish" in set(thinned(rare).activation)


def test_what_many_trials_are_drawn_with_leaves_a_browser_its_speed(many: Search) -> None:
    ran, table = timeline(many.history), tables_of(many).epochs
    stretches = [trace for trace in cluster(ran).data if trace.name in set(table.state)]
    assert {trace.type for trace in stretches} == {"scattergl"}
    shown = [(x, y) for trace in stretches for x, y in zip(trace.x, trace.y, strict=True)]
    first = min(ran.spans, key=lambda span: span.start)
    at = shown.index((round(first.start, 3), first.row))
    assert shown[at + 1] == (round(first.end, 3), first.row) and shown[at + 2] == (None, None)
    assert sum(x is not None for x, _ in shown) == 2 * len(ran.spans)
    dots = [trace for trace in progress(table, ran).data if trace.mode == "markers"]
    assert {trace.type for trace in dots} == {"scattergl"}
    assert sum(len(trace.x) for trace in dots) == table.trial.nunique(), "each has its point"


def _points(figure: go.Figure) -> int:
    return sum(y is not None for trace in figure.data for y in trace.y)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.1, 0.717, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), (0.804, 0.977, [0.85, 0.9, 0.95]),
     (3, 3, [3]), (0, 100, [0, 20, 40, 60, 80, 100])],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    found = round_ticks(low, high)
    assert len(found) <= 6 and all(low <= tick <= high for tick in found)
    assert set(found) <= set(ticks) and len(found) >= min(3, len(ticks))


def test_counts_have_whole_ticks() -> None:
    assert whole_ticks(1)["dtick"] == whole_ticks(5)["dtick"] == 1
    assert "dtick" not in whole_ticks(40) and whole_ticks(40)["tickformat"] == "d"


def test_parallel_axes_have_round_ticks_and_the_usual_order(recorded: Search) -> None:
    trace = parallel(tables_of(recorded).trials, ["activation", "momentum"]).data[0]
    activation, momentum, *_, score = trace.dimensions
    assert list(activation.ticktext) == ["gelu", "silu", "tanh", "sigmoid", "relu"], "from below"
    assert all(len(text) <= 4 for text in (*momentum.ticktext, *score.ticktext))


# Titles and files


def test_titles_say_what_was_measured(recorded: Search, few_draws: None) -> None:
    titles = figure_titles(gather(recorded))
    assert titles["confirmation"].endswith("(3 seeds, 8 epochs each, 1,000 images of CIFAR-10)")
    assert titles["progress"].endswith("(1,000 images of CIFAR-10)")
    assert "after epoch 1," in titles["interaction"]
    assert titles["study_baseline"].endswith("(1,000 validation images of CIFAR-10)")
    assert "images" not in titles["rungs"] + titles["cluster"]


@pytest.mark.skipif(not find_browser(), reason="needs Chromium or Chrome")
def test_a_picture_has_a_title_few_colours_and_no_buttons(
    epochs: pd.DataFrame, ran: Timeline, tmp_path: Path
) -> None:
    figure, file = progress(epochs, ran), tmp_path / "progress.png"
    draw_files({file: figure}, {file: "long " * 40})
    with Image.open(file) as image:
        assert image.mode == "P" and len(image.getcolors()) <= PNG_COLOURS
        assert image.height > figure.layout.height * SCALE
        colours = {colour for _, colour in image.convert("RGB").getcolors()}
        assert {(255, 255, 255), (0x00, 0x72, 0xB2), (0xDE, 0x6D, 0x07)} <= colours, "as drawn"
    assert file.stat().st_size < 60_000
    assert figure.layout.updatemenus, "the figure itself stays as it was"


def test_fewer_colours_of_a_picture_keep_a_rare_hue(tmp_path: Path) -> None:
    pixels = np.full((200, 200, 3), 255, np.uint8)
    ramp = np.arange(200)
    pixels[:100] = np.stack([ramp // 2, ramp // 2, ramp], axis=1)  # many blues, more often
    pixels[150, :4] = [(222, 109, 7), (221, 108, 8), (220, 107, 9), (219, 106, 10)]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    shrink(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        red, green, blue = image.convert("RGB").getpixel((0, 150))
        assert len(image.getcolors()) <= PNG_COLOURS
    assert red > green + 20 and red > blue + 80, "orange still"


def test_a_figure_of_a_page_has_no_buttons_over_it(tmp_path: Path) -> None:
    write_figure(go.Figure(), tmp_path / "figure.html")
    assert '"displayModeBar": false' in (tmp_path / "figure.html").read_text()


def test_compressed_networks_are_named_beside_the_figure_not_over_error_bars() -> None:
    names = [f"variant {n}" for n in range(11)]
    networks = [
        CompressedNetwork(name, 0.7 + n / 100, 0.6, 0.85, 10**6 * (n + 1), 10, {256: 1.0 + n % 2})
        for n, name in enumerate(names)
    ]
    figure = compression(networks)
    assert not [trace for trace in figure.data if "text" in (trace.mode or "")]
    points = [t for t in figure.data if t.mode == "markers" and t.showlegend]
    assert [t.name for t in points] == names
    looks = {(t.marker.color, t.marker.symbol.removesuffix("-open")) for t in points}
    assert len(looks) == len(names), "no two look alike"
    beaten = {t.name for t in points if t.marker.symbol.endswith("-open")}
    assert beaten == {n.name for n in networks} - {n.name for n in on_front(networks)}
