"""The tables as parquet and CSV, and stock Ray Tune's folders through the same analysis."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from made_runs import made_run

import tune_vgg6
from analysis.insights import insights
from analysis.ray_results import is_ray_experiment, ray_history, ray_table
from analysis.results import load_table, load_trials, write_table
from vgg6.config import InputError
from vgg6.tuning import journal as j
from vgg6.tuning.run_folder import RunFolder

STOCK = """
import sys
import ray
from ray import tune

def trial(config):
    import os, time
    for i in range(1, 4):
        if config["net"]["width"] == 3 and i == 3:
            raise ValueError("no such luck")
        tune.report({"mean_accuracy": config["net"]["lr"] * i, "loss": 1 / i})

ray.init(address="local", include_dashboard=False, num_cpus=2)
space = {"net": {"lr": tune.grid_search([0.1, 0.2, 0.3]), "width": tune.grid_search([1, 2, 3, 4])},
         "activation": tune.choice(["relu"])}
run = tune.RunConfig(storage_path=sys.argv[1], name="stock", verbose=0)
tune.Tuner(trial, param_space=space, run_config=run,
           tune_config=tune.TuneConfig(reuse_actors=True)).fit()
"""


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stock experiment with all of Ray's loggers on: twelve trials, of which three crashed."""
    folder = tmp_path_factory.mktemp("ray")
    ours = ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_GLOBAL_CHECKPOINT_S", "RAY_ADDRESS")
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    script = folder / "stock.py"
    script.write_text(STOCK)
    subprocess.run(
        [sys.executable, str(script), str(folder)], env=environment, check=True, timeout=300,
        capture_output=True,
    )  # fmt: skip
    return folder / "stock"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_read_back_as_they_were_written(tmp_path: Path, form: str) -> None:
    run = made_run(tmp_path, trials=14, epochs=3)
    write_table(run)
    read = pd.read_csv if form == "csv" else pd.read_parquet
    for name, table in (("results", load_table(run)), ("trials", load_trials(run))):
        again = read(run.file(f"{name}.{form}"))
        assert list(again.columns) == list(table.columns)
        for column in ("trial", "lr", "activation", "state"):
            assert list(again[column]) == list(table[column])
    assert list(read(run.file(f"results.{form}")).val_acc) == list(load_table(run).val_acc)


def test_the_table_command_writes_what_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path, trials=6, epochs=3)
    assert tune_vgg6.main(["table", run.path, "--out", str(tmp_path / "t.parquet")]) == 0
    assert pd.read_parquet(tmp_path / "t.parquet").equals(load_table(run))
    assert tune_vgg6.main(["table", run.path, "--trials"]) == 0
    assert capsys.readouterr().out == load_trials(run).to_csv(index=False)
    assert tune_vgg6.main(["table", run.path, "--out", str(tmp_path / "t.xlsx")]) == 2
    assert "parquet" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stock_experiment_is_read_into_the_same_kind_of_table(stock: Path) -> None:
    run = RunFolder(str(stock))
    assert is_ray_experiment(run) and not is_ray_experiment(RunFolder(str(stock.parent)))
    table = ray_table(run)
    assert {"trial", "epoch", "state", "config/net/lr", "config/activation", "time"} <= {*table}
    assert table.groupby(["trial", "epoch"]).ngroups == len(table) == 9 * 3 + 3 * 2
    done, failed = (table[table.state == s] for s in (j.COMPLETED, j.FAILED))
    assert set(done.groupby("trial").epoch.max()) == {3} and done.trial.nunique() == 9
    assert set(failed["config/net/width"]) == {3} and failed.trial.nunique() == 3
    assert (table.mean_accuracy == table["config/net/lr"] * table.epoch).all()


@pytest.mark.slow
def test_a_stock_experiment_goes_through_the_insights(
    stock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = insights(RunFolder(str(stock)))
    assert found["data"] == "mean_accuracy" and found["trials"] == 12
    assert next(iter(found["importance"]["values"])) == "net/lr"
    assert tune_vgg6.main(["insights", str(stock), "--metric", "mean_acuracy"]) == 2
    assert "mean_accuracy" in capsys.readouterr().err, "the nearest name is offered"


@pytest.mark.slow
def test_less_is_better_for_a_loss(stock: Path) -> None:
    history, metric = ray_history(RunFolder(str(stock)), "loss", None)
    assert metric == "loss"
    assert history.trials[0].best_val_acc == -1 / 3


@pytest.mark.slow
def test_no_pickle_is_needed_and_a_torn_last_line_is_passed_over(
    stock: Path, tmp_path: Path
) -> None:
    shutil.copytree(stock, tmp_path / "stock")
    for pickle in (tmp_path / "stock").rglob("*.pkl"):
        pickle.write_bytes(b"\\x80not a pickle")
    results = sorted((tmp_path / "stock").glob("*/result.json"))
    whole = results[0].read_text()
    results[0].write_text(whole + '{"mean_acc')
    before = ray_table(RunFolder(str(stock)))
    assert ray_table(RunFolder(str(tmp_path / "stock"))).equals(before)
    lines = whole.splitlines(keepends=True)
    results[0].write_text(lines[0][:30] + "\n" + "".join(lines[1:]))
    with pytest.raises(InputError, match="result.json line 1.*damaged"):
        ray_table(RunFolder(str(tmp_path / "stock")))
