"""A search of two trials on digits, its confirmation, and a package."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.made.digits_packages import CONFIG, FACTS, LIMIT, OTHER, RUNTIME, SEEDS, trained
from support.made.runs import search_facts

import tune_vgg6
from vgg6.checkpoint import weights_bytes
from vgg6.tuning.run.folder import CONFIRMATION, SEARCH, RunFolder, confirmed_file, weights_file
from vgg6.tuning.run.journal import Journal
from vgg6.tuning.run.trials import COMPLETED


@pytest.fixture(scope="session")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of two trials, the first of which was confirmed over three seeds."""
    run = RunFolder(str(tmp_path_factory.mktemp("runs") / "made"))
    run.create()
    run.write_json(
        SEARCH,
        search_facts(
            "made",
            2,
            data=FACTS.to_dict(),
            runtime=RUNTIME.to_dict(),
            versions={"torch": torch.__version__},
        ),
    )
    journal = Journal(run)
    journal.write("session", session="session_1")
    for number, config in enumerate((CONFIG, OTHER)):
        state, history = trained(config)
        journal.write("trial", trial=number, config=config.to_dict(), params={})
        for row in history:
            journal.write("epoch", trial=number, node="here", pid=1, **row)
        journal.write("end", trial=number, state=COMPLETED, reason="")
        run.write(weights_file(number), weights_bytes(state.best.weights, config))
    journal.write("session_end", session="session_1", outcome="complete")
    journal.close()
    return Path(run.path)


@pytest.fixture
def run(search: Path, tmp_path: Path) -> RunFolder:
    """A copy of that search to do things to."""
    shutil.copytree(search, tmp_path / "made")
    return RunFolder(str(tmp_path / "made"))


@pytest.fixture(scope="session")
def confirmation(search: Path) -> tuple[dict[str, Any], bytes]:
    """Trial 0 over fresh seeds, as ``best --confirm`` writes it, and the weights that it keeps."""
    runs, weights = [], {}
    for seed in SEEDS:
        state, history = trained(replace(CONFIG, seed=seed))
        weights[seed] = weights_bytes(state.best.weights, state.config)
        runs.append(
            {"seed": seed, "val_acc": state.best.val_acc, "best_epoch": state.best.epoch,
             "epochs_run": 3, "seconds": 1.0, "state": "completed", "reason": "",
             "history": history}
        )  # fmt: skip
    scores = [r["val_acc"] for r in runs]
    mean, sd = float(np.mean(scores)), float(np.std(scores, ddof=1))
    middle = sorted(runs, key=lambda r: r["val_acc"])[1]["seed"]
    candidate = {
        "trial": 0, "label": CONFIG.label, "config": CONFIG.to_dict(),
        "fingerprint": CONFIG.fingerprint, "search_score": 0.9, "mean": mean, "sd": sd,
        "low": mean - 0.1, "high": mean + 0.1, "optimism": 0.9 - mean, "eliminated_after": None,
        "tied": True, "parameters": 1, "epoch_seconds": 1.0, "runs": runs,
    }  # fmt: skip
    found = {
        "format": 1, "created": "now", "command": "", "top": 2, "seeds": list(SEEDS), "epochs": 3,
        "level": 0.95, "candidates": [candidate], "winner": 0, "ties": [0], "why": "It is best.",
        "representative_seed": middle,
    }  # fmt: skip
    return found, weights[middle]


@pytest.fixture
def confirmed(run: RunFolder, confirmation: tuple[dict[str, Any], bytes]) -> RunFolder:
    found, weights = confirmation
    run.write_json(CONFIRMATION, found)
    run.write(confirmed_file(0, found["representative_seed"]), weights)
    return run


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a run outside any search."""
    folder = tmp_path_factory.mktemp("packed")
    arguments = ["train", "--data", "digits", "--limit-train", str(LIMIT), "--threads", "1",
                 "--out", str(folder / "out")]  # fmt: skip
    for name, value in CONFIG.to_dict().items():
        if value is not None:
            arguments += [f"--{name}", str(value)]
    assert tune_vgg6.main(arguments) == 0
    return folder / "out"


@pytest.fixture
def package(packed: Path, tmp_path: Path) -> Path:
    """A copy of that package to do things to."""
    shutil.copytree(packed, tmp_path / "package")
    return tmp_path / "package"
