"""The study again: its runs in pieces with their table, and its questions answered from numbers."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from support.made.studies import IMAGES, made_study

import benchmarks.study as driver
import tune_vgg6
from analysis.report.gather_contents import answer_study, gather
from analysis.report.page import TEMPLATES, render_page
from analysis.report.summary_md import render_summary
from analysis.winner.looks_at_test_set import LOOKS
from search_spaces import load_space
from search_spaces.study import BASELINE, RUNS
from search_spaces.study_sigmoide import SIGMOIDE_RUNS
from vgg6.common.templates import render
from vgg6.config import TrialConfig
from vgg6.tuning.run.folder import SEARCH, RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.usefixtures("few_draws")


def test_the_baseline_is_relu_with_sgd_and_the_only_recorded_run_is_the_studys_best() -> None:
    assert BASELINE.label == "Relu_SGD_0.01_128_30"
    recorded = [run for run in RUNS if run.figures]
    assert [run.config for run in recorded] == [TrialConfig()]
    assert recorded[0].figures["best_val_acc"] == 0.861


def test_a_sigmoide_run_keeps_all_but_its_activation() -> None:
    meant = [run for run in RUNS if run.config.activation == "sigmoid"]
    for run, trained in zip(meant, SIGMOIDE_RUNS, strict=True):
        changed = {
            name for name, value in run.config.to_dict().items()
            if trained.config.to_dict()[name] != value
        }  # fmt: skip
        assert changed == {"activation"} and trained.config.activation == "relu"


def asked(folder: Path, **given: Any) -> argparse.Namespace:
    usual = {"data": "digits", "epochs": 30, "limit_train": 100, "full": 0}
    return argparse.Namespace(**usual | given, storage=str(folder))


@pytest.mark.starts_ray
def test_a_search_of_the_study_that_was_interrupted_goes_on_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "LOOK_EVERY_S", 0.2)
    file = tmp_path / "results" / "study.csv"
    _, piece = driver.pieces(asked(tmp_path, epochs=1))
    with monkeypatch.context() as patch:  # it is time once the search has begun
        clock = SimpleNamespace(sleep=time.sleep, monotonic=lambda: float(piece.run.exists(SEARCH)))
        patch.setattr(driver, "time", clock)
        driver.advance(piece, 1.0, file)
    assert piece.outcome != "complete"
    driver.advance(piece, math.inf, file)
    driver.write_table(str(tmp_path), file)
    table = pd.read_csv(file)
    assert piece.outcome == "complete" and table.state.tolist() == ["completed"] * 7
    expected = [replace(run.config, epochs=1).label for run in SIGMOIDE_RUNS]
    assert table.label.tolist() == expected and table.best_val_acc.notna().all()


def test_the_best_at_full_size_follow_once_the_part_is_done(tmp_path: Path) -> None:
    def names(**given: Any) -> list[str]:
        return [piece.run.name for piece in driver.pieces(asked(tmp_path, **given))]

    assert names(limit_train=None) == ["study", "study_sigmoide"]
    made_study(tmp_path, [run.config for run in RUNS], name="study-100")
    assert names(full=8) == ["study-100", "study_sigmoide-100"]
    made_study(tmp_path, [run.config for run in SIGMOIDE_RUNS], name="study_sigmoide-100")
    assert names(full=0) == ["study-100", "study_sigmoide-100"]
    assert names(full=8) == ["study-100", "study_sigmoide-100", "study_best8"]
    *_, full = driver.pieces(asked(tmp_path, full=8))
    assert "--limit-train" not in full.flags
    assert len(load_space(str(tmp_path / "study_best8.yaml")).points) == 8


def test_the_table_has_the_studys_own_figure_beside_the_run_and_keeps_rows_of_lost_folders(
    tmp_path: Path,
) -> None:
    file = tmp_path / "results" / "study.csv"
    points = [run.config for run in RUNS if run.config.optimizer == "sgd"]
    part = {**IMAGES, "train_images": 300, "limit_train": 300}
    made_study(tmp_path / "a", points, name="study-300", diverged={points[1].label}, data=part)
    driver.write_table(str(tmp_path / "a"), file)
    table = pd.read_csv(file)
    assert table.label.tolist() == [c.label for c in points]
    assert table.train_images.tolist() == [300] * len(points)
    assert (table.state == "infeasible").sum() == 1
    best = table[table.study_best_val_acc.notna()]
    assert best.label.tolist() == ["Gelu_SGD_0.01_128_30"]
    assert best.study_best_val_acc.item() == 0.861
    made_study(tmp_path / "b", points[:1], name="study")
    driver.write_table(str(tmp_path / "b"), file)
    again = pd.read_csv(file)
    assert len(again) == len(table) + 1
    driver.write_table(str(tmp_path / "b"), file)
    assert len(pd.read_csv(file)) == len(again)


def test_the_best_on_a_part_become_a_space_that_a_search_evaluates(tmp_path: Path) -> None:
    points = [run.config for run in RUNS]
    gelu, silu = {"gelu": 0.1}, {"silu": 0.1}
    run = made_study(tmp_path, points, name="study-300", effects=gelu)
    file = tmp_path / "best.yaml"
    driver.write_best(file, [run], 3)
    chosen = [TrialConfig.from_mapping(p) for p in load_space(str(file)).points]
    ranked = [t.config for t in read_history(run).ranking(3)]
    assert chosen == ranked and {c.activation for c in chosen} == {"gelu"}
    other = made_study(tmp_path, points, name="other", effects=silu)
    driver.write_best(file, [other], 3)
    assert {p["activation"] for p in load_space(str(file)).points} == {"silu"}


STUDY, SIGMOIDE = ([run.config for run in runs] for runs in (RUNS, SIGMOIDE_RUNS))
GRID = [TrialConfig.from_mapping({**p, "epochs": 6}) for p in load_space("study_grid").grid()]
# Every pair of optimizers that the grid has, at few enough trials to be quick.
GRID = [c for c in GRID if c.activation in ("relu", "gelu", "tanh")]


def answers(run: RunFolder, *also: RunFolder) -> dict[str, str]:
    """The words of each answer and its tables' cells, by its id."""
    with pytest.MonkeyPatch.context() as patch:  # slow, and no part of an answer
        patch.setattr("analysis.insights.insights.importance", lambda *_: (None, "left out"))
        found = gather(read_search(run))
    answer_study(found, [read_search(other) for other in also])
    assert found.study is not None
    texts = {
        a.id: render(TEMPLATES, "answer.md", answer=a, pictures=[]) for a in found.study.answers
    }
    return {name: " ".join(text.splitlines()) for name, text in texts.items()}


def grid_run(folder: Path, **given: Any) -> RunFolder:
    return made_study(folder, GRID, space="study_grid", **given)


@pytest.mark.slow
def test_the_sentence_on_activations_follows_the_numbers_and_flips_with_them(
    tmp_path: Path,
) -> None:
    up = answers(grid_run(tmp_path / "a", effects={"gelu": 0.05}))["study-2a"]
    assert "Gelu is more accurate than relu and tanh; nothing is shown to beat gelu." in up
    assert "Not told apart: tanh and relu" in up
    down = answers(grid_run(tmp_path / "b", effects={"gelu": -0.05}))["study-2a"]
    assert "gelu scores 0.04" in down and "less by epoch 6 than relu" in down
    assert "nothing is shown to beat gelu" not in down
    same = answers(grid_run(tmp_path / "c", noise=0.01))["study-2a"]
    assert "No difference is shown between any two values with enough pairs." in same


@pytest.mark.slow
def test_convergence_and_stability_are_told_apart_from_accuracy(tmp_path: Path) -> None:
    # Soon at its end, which is lower: the areas under the curves and the scores disagree.
    fast = answers(grid_run(tmp_path / "a", speed={"adam": 3.0}, effects={"adam": -0.03}))
    accuracy, _, convergence = fast["study-2b"].partition("### Convergence")
    assert "Adam converges faster than" in convergence
    assert "adam scores" in accuracy and "less by epoch 6 than sgd" in accuracy
    rough = answers(grid_run(tmp_path / "b", rough={"rmsprop": 0.03}))["study-2b"]
    stability = rough.partition("### Stability")[2]
    assert "and so is less stable, than sgd" in stability
    assert "nothing is shown to beat rmsprop" not in stability
    calm = answers(grid_run(tmp_path / "c", rough={"sgd": 0.03}))["study-2b"]
    assert "rmsprop jumps by" in calm and "and so is more stable, than sgd" in calm


def test_standing_still_at_chance_is_not_called_stable(tmp_path: Path) -> None:
    still = [c.label for c in GRID if c.optimizer == "rmsprop"]
    shaky = {name: 0.03 for name in ("sgd", "nesterov", "adam", "adagrad", "nadam")}
    said = answers(grid_run(tmp_path, rough=shaky, dead=still))["study-2b"]
    stability = said.partition("### Stability")[2]
    assert f"{len(still)} that stayed at chance are in no pair" in stability
    assert "rmsprop" not in stability.lower() and "sgd" in stability.lower()
    assert "rmsprop scores" in said, "it is compared by accuracy all the same"


@pytest.mark.slow
def test_batch_size_and_rate_are_compared_alone_where_pairs_differ_in_one_only(
    tmp_path: Path,
) -> None:
    said = answers(grid_run(tmp_path / "a", effects={128: 0.03, 0.1: -0.1}))["study-2c"]
    assert "Batch 128 is more accurate than batch 64" in said
    assert "Lr 0.001 is more accurate than lr 0.1; lr 0.01 is more accurate than lr 0.1" in said
    assert "changed together" not in said and "both settings at once" not in said
    other = answers(grid_run(tmp_path / "b", effects={64: 0.03}))["study-2c"]
    assert "Batch 64 is more accurate than batch 128" in other


def test_the_studys_own_rows_cannot_part_rate_from_batch_size_and_the_text_says_so(
    tmp_path: Path,
) -> None:
    said = answers(made_study(tmp_path, STUDY, effects={0.1: -0.05}))["study-2c"]
    assert "Cannot be told: no two values have 4 matched pairs." in said
    assert "which of the two makes the difference cannot be told" in said
    assert "Lr 0.01, batch 128 is more accurate than lr 0.1, batch 64" in said
    assert "of the 6 comparisons" in said, "three rates by two sizes, where both differ"


@pytest.mark.parametrize(("growth", "words"), [(0.004, "they have not yet overfitted"),
                                               (-0.004, "the runs overfit")])  # fmt: skip
def test_more_epochs_are_judged_from_each_runs_own_beginning(
    tmp_path: Path, growth: float, words: str
) -> None:
    said = answers(made_study(tmp_path, STUDY, growth=growth))["study-2c"]
    ten = [c for c in STUDY if c.epochs >= 20]
    assert f"{len(ten)} runs)" in said.partition("From epoch 10 to 20")[2]
    assert words in said.partition("From epoch 10 to 20")[2]


def test_a_run_that_crashed_is_taken_from_a_later_search_that_has_it(tmp_path: Path) -> None:
    run = made_study(tmp_path, STUDY)
    broken = SIGMOIDE[4].label
    parts = made_study(tmp_path, SIGMOIDE, name="a", space="study_sigmoide", crashed=[broken])
    again = made_study(tmp_path, [SIGMOIDE[4]], name="b", space="study_sigmoide")
    six, seven = answers(run, parts), answers(run, parts, again)
    assert "on average over 6 of them" in six["study-4"] and "6 pairs" in six["study-2a"]
    assert "on average over 7 of them" in seven["study-4"] and "7 pairs" in seven["study-2a"]
    assert "1 diverged or crashed" in six["study-2a"], "it is counted, and once"
    assert "diverged or crashed" not in seven["study-2a"]
    assert "41 of 41 trials" in seven["study-2a"]


def test_sigmoid_is_compared_once_the_seven_runs_as_relu_are_beside_it(tmp_path: Path) -> None:
    run = made_study(tmp_path, STUDY, effects={"sigmoid": -0.2})
    alone = answers(run)
    assert "sigmoid and relu (1)" in alone["study-2a"]
    assert "does not have both of any such run" not in alone["study-4"], "one is in the study"
    other = made_study(
        tmp_path, SIGMOIDE, name="study_sigmoide", space="study_sigmoide", effects={"sigmoid": -0.2}
    )
    both = answers(run, other)
    assert "sigmoid scores 0.1" in both["study-2a"] or "sigmoid scores 0.2" in both["study-2a"]
    assert "41 of 41 trials" in both["study-2a"], "35 and 7, of which one is the same"
    assert "7 pairs" in both["study-2a"] and "sigmoid is lower in 7" in both["study-4"]
    assert "1 configuration ran in two of the searches: 1 with the same" in both["study-4"]


@pytest.mark.slow
def test_what_the_study_wrote_is_contradicted_or_found_again(tmp_path: Path) -> None:
    wrote = next(run.figures["best_val_acc"] for run in RUNS if run.figures)
    far = answers(made_study(tmp_path / "a", STUDY, effects={"silu": 0.1}))["study-4"]
    assert "The study is contradicted: the best validation accuracy of Gelu" in far
    assert "This contradicts the study" in far
    near = {"gelu": wrote - 0.63, "sgd": 0.01, 128: 0.02, 0.1: -0.2}
    close = answers(made_study(tmp_path / "b", STUDY, effects=near))["study-4"]
    assert "the best validation accuracy of Gelu" not in close.partition("Allowed for")[0]
    assert "The study's best, Gelu_SGD_0.01_128_30, is the best of 35 here too" in close
    part = {**IMAGES, "train_images": 10_000, "limit_train": 10_000}
    said = answers(made_study(tmp_path / "c", STUDY, data=part))
    assert "10,000 images of cifar10: no score here confirms or contradicts" in said["study-4"]
    assert "each on 10,000 training images" in said["study-2a"]


def test_the_baselines_test_accuracy_is_the_recorded_look_or_the_way_to_it(tmp_path: Path) -> None:
    run = made_study(tmp_path, STUDY)
    before = answers(run)["study-1"]
    assert "Its test accuracy is not known" in before
    assert f"export {run.path} --trial 0" in before
    assert not run.exists(LOOKS), "a report never looks"
    look = {"time": 1.0, "what": "trial 0", "weights": "0", "accuracy": 0.8123, "loss": 0.6,
            "images": 10_000}  # fmt: skip
    run.write(LOOKS, (json.dumps(look) + "\n").encode())
    after = answers(run)["study-1"]
    assert "Test accuracy 0.8123 (95 % 0.80" in after and "the only look" in after


def test_a_search_without_the_studys_pairs_says_what_cannot_be_asked(tmp_path: Path) -> None:
    configs = [replace(c, epochs=2) for c in STUDY[7:14]]
    said = answers(made_study(tmp_path, configs))
    assert "No trial of this search is the baseline" in said["study-1"]
    assert "no two values of the activation have a score" in said["study-2a"]
    assert "Convergence and stability need 4 epochs" in said["study-2b"]
    assert "needs trials above chance, with a constant learning rate" in said["study-2c"]
    empty = made_study(tmp_path, [], name="empty")
    assert "No trial has a validation score yet" in answers(empty)["study-4"]


@pytest.mark.parametrize("evil", ["<script>window.broken=1</script>", "a | b `c` *d*"])
def test_the_page_and_the_summary_show_a_runs_texts_as_text(tmp_path: Path, evil: str) -> None:
    run = made_study(tmp_path, STUDY[:9], command=evil, versions={"torch": evil}, gpus=[evil])
    run.write_json(SEARCH, run.read_json(SEARCH) | {"name": evil})
    found = gather(read_search(run))
    answer_study(found, [])
    page = render_page(found)
    assert 'id="study-2b"' in page and "<script>window.broken" not in page
    table = render_summary(found, []).partition("5 To do it again")[2].partition("The search:")[0]
    assert evil not in table and "torch" in table and "| GPUs |" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--also", "other"], ["--also", "--study"]),
        (["--study", "--also", "othr"], ["RUN", "othr", "did you mean 'other'"]),
        (["--study", "--also", "other"], ["--also", "other", "other images", "300 of cifar10"]),
        (["--study", "--also", "wide"], ["--also", "wide", "other parameters"]),
        (["--study", "--watch"], ["--study", "--watch", "live"]),
    ],
)
def test_a_search_that_cannot_be_compared_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: list[str]
) -> None:
    made_study(tmp_path, STUDY[:2])
    made_study(tmp_path, STUDY[:2], name="other", data={**IMAGES, "train_images": 300,
                                                        "fingerprint": "1" * 12})  # fmt: skip
    made_study(tmp_path, [], name="wide", space="wide")
    out = tmp_path / "r.html"
    asked = ["report", "study", "--storage", str(tmp_path), "--out", str(out), *arguments]
    assert tune_vgg6.main(asked) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in said) and not out.exists()
