"""Verifying a package: trained again, or scored again."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.made.digits_packages import CONFIG, RUNTIME, SEEDS, rewrite, trained

import tune_vgg6
from analysis.packages.package import read_package
from analysis.packages.weights import package_weights
from analysis.verification import verify as v
from analysis.verification.comparison import FirstDifference, compare_score
from vgg6.common.intervals import wilson


@pytest.mark.slow
def test_a_package_of_train_is_verified_bit_for_bit(package: Path, said: Any) -> None:
    status, out, err = said("verify", package)
    assert status == 0
    assert out.startswith("bit-identical: all 14 tensors and every value of 3 epochs")
    assert out.count("\n") == 1 and "epoch   3/3" in err, "progress is no result"
    status, out, _ = said("verify", package, "--json")
    found = json.loads(out)
    assert (status, found["verdict"], found["differs"]) == (0, "bit-identical", [])


def test_one_bit_of_one_weight_is_seen(package: Path) -> None:
    weights = package_weights(package, CONFIG)
    bias = weights["fc2.bias"].numpy().view(np.uint32)
    bias[3] ^= 1
    rewrite(package, weights=weights)
    found = v.verify(package)
    assert (found.verdict, found.tensors_differing) == ("within the seed spread", 1)
    assert found.first_difference is None
    assert found.score and found.score.difference == 0


def test_the_last_bit_of_one_value_of_the_history_is_seen(package: Path) -> None:
    history = [row.to_dict() for row in read_package(package).history]
    history[1]["train_loss"] = math.nextafter(history[1]["train_loss"], math.inf)
    rewrite(package, history=history)
    found = v.verify(package)
    assert found.verdict == "within the seed spread" and found.tensors_differing == 0
    assert isinstance(found.first_difference, FirstDifference)
    assert found.first_difference.epoch == 2
    assert found.first_difference.column == "train_loss"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sd", "verdict", "exit_status"),
    [(0.9, "within the seed spread", 0), (1e-9, "not reproduced", 1)],
)
def test_another_seed_is_measured_by_the_spread_of_the_confirmed_seeds(
    package: Path, said: Any, sd: float, verdict: str, exit_status: int
) -> None:
    metrics = read_package(package).metrics.to_dict()
    metrics["confirmed"] = {
        "seeds": list(SEEDS), "sd": sd, "mean": 0.5, "low": 0.4, "high": 0.6,
        "search_score": 0.5, "optimism": 0.0, "why": "",
    }  # fmt: skip
    rewrite(package, config=replace(CONFIG, seed=7), metrics=metrics)
    status, out, _ = said("verify", package, "--json")
    found = json.loads(out)
    other = max(row["val_acc"] for row in trained(replace(CONFIG, seed=7))[1])
    assert other != metrics["val_acc"], "the seeds were chosen to differ"
    compared = found["val_acc"]
    assert (status, found["verdict"]) == (exit_status, verdict)
    assert (compared["recorded"], compared["again"]) == (metrics["val_acc"], other)
    assert compared["sds"] == pytest.approx(abs(other - metrics["val_acc"]) / (sd * 2**0.5))
    assert "3 confirmed seeds" in found["why"]


def test_without_a_confirmation_the_spread_is_the_binomial_error_of_two_scores(
    package: Path,
) -> None:
    metrics = read_package(package).metrics
    found = compare_score(metrics, 0.5, images=100)
    p = metrics.val_acc
    assert found.sd_of_difference == pytest.approx(((p * (1 - p) + 0.25) / 100) ** 0.5)
    assert "binomial" in found.sd_from


def test_a_retraining_that_diverges_is_not_a_reproduction(package: Path) -> None:
    rewrite(package, config=replace(CONFIG, optimizer="sgd", momentum=0.9, lr=10.0))
    found = v.verify(package)
    assert found.verdict == "not reproduced" and "diverged" in found.why


def test_the_packed_weights_score_what_is_recorded(package: Path, said: Any) -> None:
    status, out, _ = said("verify", package, "--quick")
    assert (status, out.split(":")[0]) == (0, "as recorded")


def test_other_weights_than_the_recorded_scores_had_do_not_pass_the_quick_check(
    package: Path, said: Any
) -> None:
    state, _ = trained(replace(CONFIG, seed=8))
    rewrite(package, weights=state.best.weights)
    status, out, _ = said("verify", package, "--quick")
    assert status == 1 and out.startswith("not reproduced: validation ")


def test_a_loss_that_is_not_the_recorded_one_does_not_pass_though_the_accuracy_is(
    package: Path, said: Any
) -> None:
    weights = package_weights(package, CONFIG)
    for name in ("fc2.weight", "fc2.bias"):  # the same order of the logits, more certain of itself
        weights[name] = weights[name] * 100
    rewrite(package, weights=weights)
    status, out, _ = said("verify", package, "--quick", "--json")
    scores = json.loads(out)["scores"]["validation"]
    assert abs(scores["accuracy"]["again"] - scores["accuracy"]["recorded"]) <= 0.01
    assert status == 1 and json.loads(out)["why"].startswith("validation loss ")


def test_a_machine_without_the_recorded_device_says_so_and_goes_on(
    package: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rewrite(package, runtime=RUNTIME.to_dict() | {"device": "cuda"})
    status, out, err = said("verify", package, "--quick", "--json")
    assert status == 0 and "trained on cuda" in json.loads(out)["differs"][0]
    assert "note: trained on cuda, of which there is none here: cpu" in err


def test_the_data_is_looked_for_where_it_was_and_refused_if_it_is_other_data(
    package: Path, said: Any
) -> None:
    data = read_package(package).data.to_dict()
    rewrite(package, data=data | {"argument": "/nowhere/images"})
    status, _, err = said("verify", package, "--quick")
    assert status == 2 and "--data" in err and "/nowhere/images" in err
    assert said("verify", package, "--quick", "--data", "digits")[0] == 0
    rewrite(package, data=data | {"fingerprint": "0123456789ab"})
    status, _, err = said("verify", package, "--quick")
    assert status == 2 and "0123456789ab" in err


@pytest.mark.slow
def test_an_interrupted_verify_exits_130(package: Path, python_path: None) -> None:
    row = read_package(package).history[0].to_dict()
    config = replace(CONFIG, epochs=5000)
    history = [row | {"epoch": e} for e in range(1, 5001)]
    metrics = {"val_acc": row["val_acc"], "best_epoch": 1, "epochs_run": 5000,
               "val_acc_interval": wilson(row["val_acc"], 100)}  # fmt: skip
    rewrite(package, config=config, history=history, metrics=metrics)
    process = subprocess.Popen(
        [sys.executable, tune_vgg6.__file__, "verify", str(package)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Tests that a shell runs in the background inherit that it ignores this signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch   2/5000"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "") and err.endswith("interrupted\n")
