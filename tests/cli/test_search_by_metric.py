"""Searches by another metric than accuracy, from uneven pictures to a verified package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from vgg6.metric import ACCURACY, BALANCED_ACCURACY, VAL_LOSS
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import Search, read_search
from vgg6.tuning.run.trials import COMPLETED

pytestmark = pytest.mark.xdist_group("ray")
COUNTS = {"few": (40, (8,)), "some": (300, (1, 3)), "many": (600, (0, 2, 4, 6))}
SEARCH = (
    "search", "--image-size", "8", "--name", "s", "--wandb", "disabled", "--address", "local",
    "--searcher", "random", "--precision", "fp32", "--space", "small.yaml",
)  # fmt: skip
SPACE = {
    "name": "small",
    "parameters": {
        "activation": {"choices": ["relu", "tanh"]},
        "lr": {"low": 0.0003, "high": 0.01, "log": True},
    },
    "fixed": {
        "optimizer": "adam",
        "batch_size": 64,
        "width": 0.125,
        "norm": "batch",
        "dropout": 0.0,
    },
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("small.yaml").write_text(yaml.safe_dump(SPACE))
    return tmp_path


def write_uneven(folder: Path) -> None:
    """scikit-learn's digits as PNG files: 40, 300 and 600 of three classes."""
    digits = load_digits()
    for name, (count, wanted) in COUNTS.items():
        (folder / name).mkdir(parents=True)
        images = digits.images[[label in wanted for label in digits.target]][:count]
        assert len(images) == count
        for number, image in enumerate(images):
            Image.fromarray((image * 15).astype("uint8")).save(folder / name / f"{number}.png")


def ranked(search: Search, metric: Any) -> list[int]:
    """The numbers of the trials, the best first by the epoch that is best by ``metric``."""
    done = [t for t in search.history.trials.values() if t.state == COMPLETED]
    best = {t.number: max(metric.gain(metric.of(row)) for row in t.curve) for t in done}
    return sorted(best, key=lambda number: (-best[number], number))


@pytest.mark.slow
def test_a_search_by_balanced_accuracy_of_uneven_pictures_to_a_verified_package(
    here: Path, ray_here: None, said: Any
) -> None:
    write_uneven(here / "pictures")
    status, out, err = said(
        *SEARCH, "--data", "pictures", "--metric", "balanced_accuracy", "--trials", "8",
        "--epochs", "3", "--scheduler", "none", "--seed", "3",
    )  # fmt: skip
    assert status == 0, err
    assert "balanced validation accuracy" in err and "val_balanced_acc" in out
    search = read_search(RunFolder("runs/s"))
    assert search.metric == BALANCED_ACCURACY
    counts = search.facts.data.val_by_class
    assert counts and len(counts) == 3 and max(counts) > 10 * min(counts)
    order = ranked(search, BALANCED_ACCURACY)
    assert order != ranked(search, ACCURACY), "else the search shows nothing"
    assert sorted(order) == list(range(8))
    assert search.winner and search.winner.number == order[0]
    winner = search.winner.curve
    assert search.winner.best_epoch == 1 + max(
        range(len(winner)), key=lambda i: BALANCED_ACCURACY.of(winner[i])
    )

    status, out, err = said("best", "s", "--top", "2", "--confirm", "2", "--wandb", "disabled")
    assert status == 0, err
    confirmed = read_search(search.folder).confirmation
    assert confirmed and confirmed.metric == "balanced_accuracy"
    assert {c.trial for c in confirmed.candidates} == set(order[:2])
    means = {c.trial: c.mean or 0.0 for c in confirmed.candidates}
    assert f"val_balanced_acc {means[confirmed.winner]:.4f}" in out
    assert "mean balanced validation accuracy over" in confirmed.why
    assert ", balanced test accuracy " in " ".join(out.split())

    status, out, err = said("export", "s", "--out", "packed")
    assert status == 0, err
    assert out.count("balanced validation accuracy") >= 2
    metrics = json.loads(Path("packed/metrics.json").read_text())
    assert metrics["metric"] == "balanced_accuracy"
    run = confirmed.representative
    assert (metrics["score"], metrics["best_epoch"]) == (run.result, run.best_epoch)
    assert metrics["val_acc"] == run.val_acc != metrics["score"]
    assert yaml.safe_load(Path("packed/config.yaml").read_text())["metric"] == "balanced_accuracy"
    card = Path("packed/README.md").read_text()
    assert f"| balanced validation accuracy | {metrics['score']:.4f} |" in card
    assert "--metric balanced_accuracy" in card
    low, high = metrics["score_interval"]["low"], metrics["score_interval"]["high"]
    assert high - low > 1.5 * (
        metrics["val_acc_interval"]["high"] - metrics["val_acc_interval"]["low"]
    ), "the few count for much"

    status, out, err = said("verify", "packed", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert (found["verdict"], found["metric"]) == ("bit-identical", "balanced_accuracy")
    status, out, err = said("verify", "packed", "--quick", "--json")
    pair = json.loads(out)["scores"]["validation"]["balanced_accuracy"]
    assert status == 0 and pair["recorded"] == metrics["score"] == pytest.approx(pair["again"])
    status, out, _ = said("evaluate", "packed")
    assert status == 0 and f"balanced {metrics['score']:.4f}" in out
    assert "chosen by balanced_accuracy" in out


@pytest.mark.slow
def test_a_search_by_loss_keeps_and_packs_the_least(here: Path, ray_here: None, said: Any) -> None:
    status, out, err = said(
        *SEARCH, "--data", "digits", "--limit-train", "100", "--metric", "val_loss",
        "--trials", "4", "--epochs", "2",
    )  # fmt: skip
    assert status == 0, err
    search = read_search(RunFolder("runs/s"))
    history = search.history
    assert search.winner and history.incumbent
    losses = [row.val_loss for trial in history.trials.values() for row in trial.rows.values()]
    assert history.incumbent.score == min(losses)
    assert f"val_loss {search.winner.score:.4f}" in out
    packed = json.loads(Path("runs/s/best/metrics.json").read_text())
    assert packed["metric"] == "val_loss" and packed["score"] == search.winner.score
    assert "score_interval" in packed and packed["score_interval"] is None
    status, out, err = said("verify", "runs/s/best")
    assert status == 0 and out.startswith("bit-identical"), (out, err)
    # It goes on, and by the same.
    status, out, err = said("resume", "s", "--trials", "5", "--address", "local")
    assert status == 0, err
    longer = read_search(search.folder)
    assert longer.metric == VAL_LOSS and len(longer.history.trials) == 5
    assert longer.history.incumbent and longer.history.incumbent.score <= min(losses)  # type: ignore[operator]
