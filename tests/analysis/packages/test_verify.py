"""Packages: whole, honest about the test images, loadable without this project, verified."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from support.made_runs import search_facts
from torch import Tensor

import tune_vgg6
from analysis.packages import verify as v
from analysis.packages.comparison import FirstDifference, compare_score
from analysis.packages.loader_code import torch_loader
from analysis.packages.package import read_package
from analysis.packages.package_files import PACKAGE, SUMS, check_sums, write_sums
from analysis.packages.weights import package_weights, read_weights
from analysis.winner.export import export_best
from analysis.winner.looks_at_test_set import LOOKS, looks
from analysis.winner.score_test_set import look
from vgg6.architecture import WIDTHS
from vgg6.augment import Normalizer
from vgg6.checkpoint import save_weights, weights_bytes
from vgg6.common.checks import InputError
from vgg6.common.intervals import wilson
from vgg6.config import ACTIVATIONS, NORMS, TrialConfig
from vgg6.data import data_facts, load_digits, split
from vgg6.evaluation import evaluate
from vgg6.hardware.runtime import Runtime
from vgg6.model import VGG6
from vgg6.onnx_export.onnx_file import onnx_bytes
from vgg6.training import TrainState, fit
from vgg6.tuning.run.folder import CONFIRMATION, SEARCH, RunFolder, confirmed_file, weights_file
from vgg6.tuning.run.journal import Journal, read_history
from vgg6.tuning.run.search import read_search
from vgg6.tuning.run.trials import COMPLETED

LIMIT = 100
RUNTIME = Runtime.resolve("cpu", threads=1)
CONFIG = TrialConfig(activation="silu", optimizer="adam", lr=1e-3, batch_size=32, epochs=3)
OTHER = replace(CONFIG, activation="tanh")
SEEDS = (101, 102, 103)
DATA = split(load_digits(), limit_train=LIMIT)
FACTS = data_facts("digits", load_digits(), DATA, split_seed=42, limit_train=LIMIT)
# Every activation, and every kind of norm with activations of both kinds of pooling order.
NETWORKS = [
    TrialConfig(activation=name, norm=NORMS[i % 3], optimizer="adam", lr=1e-3)
    for i, name in enumerate(ACTIVATIONS)
]


def trained(config: TrialConfig) -> tuple[TrainState, list[dict[str, Any]]]:
    state = TrainState(config, RUNTIME)
    return state, [m.to_dict() for m in fit(state, DATA)]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
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


def rewrite(package: Path, **changes: Any) -> None:
    """Change what a package holds, and give it true checksums again."""
    sections = yaml.safe_load((package / "config.yaml").read_text())
    config = changes.get("config", CONFIG)
    sections |= {k: changes[k] for k in ("data", "runtime", "stop_after") if k in changes}
    (package / "config.yaml").write_text(yaml.safe_dump(sections | {"config": config.to_dict()}))
    weights = changes.get("weights") or load_file(package / "weights.safetensors")
    save_weights(package / "weights.safetensors", weights, config)
    if "history" in changes:
        pd.DataFrame(changes["history"]).to_csv(package / "history.csv", index=False)
    if "metrics" in changes:
        (package / "metrics.json").write_text(json.dumps(changes["metrics"]))
    write_sums(package)


# Checksums


def test_sha256sum_agrees_with_the_sums_of_all_other_files(package: Path) -> None:
    listed = {line[66:] for line in (package / SUMS).read_text().splitlines()}
    assert listed == set(PACKAGE) == {p.name for p in package.iterdir()} - {SUMS}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", SUMS], cwd=package, check=True, capture_output=True)
    (package / "metrics.json").write_text("{}")
    write_sums(package)
    assert hashlib.sha256(b"{}").hexdigest() in (package / SUMS).read_text()


@pytest.mark.parametrize("name", [*PACKAGE, SUMS])
def test_a_package_with_one_byte_changed_in_any_file_is_refused_by_its_name(
    package: Path, said: Any, name: str
) -> None:
    content = bytearray((package / name).read_bytes())
    place = len(content) // 2
    content[place] ^= 1
    (package / name).write_bytes(content)
    status, out, err = said("verify", package, "--quick")
    assert (status, out) == (2, "")
    assert name in err and err.startswith("error: DIR: ") and err.count("\n") == 1


@pytest.mark.parametrize("name", [*PACKAGE, SUMS])
def test_a_package_without_one_of_its_files_is_refused_by_its_name(
    package: Path, said: Any, name: str
) -> None:
    (package / name).unlink()
    status, out, err = said("verify", package)
    assert (status, out) == (2, "") and name in err


def test_no_byte_of_the_sums_can_be_changed_unseen(tmp_path: Path) -> None:
    names = ("a.txt", "b.txt")
    for name in names:
        (tmp_path / name).write_text(name)
    write_sums(tmp_path)
    check_sums(tmp_path, names)
    content = (tmp_path / SUMS).read_bytes()
    for place in range(len(content)):
        for bit in (1, 4, 7, 32):  # 1, 4 and 7 make other line ends of a line feed
            changed = bytearray(content)
            changed[place] ^= bit
            (tmp_path / SUMS).write_bytes(changed)
            with pytest.raises(InputError, match=r"SHA256SUMS|a\.txt|b\.txt"):
                check_sums(tmp_path, names)
    for changed in (content[:-1], content + b"\n", content + content, b""):
        (tmp_path / SUMS).write_bytes(changed)
        with pytest.raises(InputError, match="SHA256SUMS"):
            check_sums(tmp_path, names)


@pytest.mark.parametrize("name", ["evil.py", "../other", "/etc/passwd"])
def test_sums_of_a_file_that_no_package_has_are_refused(
    package: Path, said: Any, name: str
) -> None:
    with open(package / SUMS, "a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    status, _, err = said("verify", package, "--quick")
    assert status == 2 and repr(name) in err


# Reading a package


def test_every_digit_of_the_history_is_read_back(package: Path) -> None:
    draw = random.Random(0)
    rows = [row.to_dict() for row in read_package(package).history]
    history = [row | {"train_loss": draw.random() * 10.0 ** draw.randint(-9, 3)} for row in rows]
    history = [row | {"val_loss": draw.random() / 3} for row in history * 300]
    rewrite(package, history=history)
    assert [row.to_dict() for row in read_package(package).history] == history


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"fc2.bias": torch.zeros(11)}, r"fc2.bias must be float32 \(10,\) and is float32 \(11,\)"),
        ({"fc2.bias": torch.zeros(10, dtype=torch.float16)}, "fc2.bias.*is float16"),
        ({"fc3.bias": torch.zeros(1)}, "fc3.bias must be absent"),
        ({"fc2.bias": None}, "fc2.bias.*is absent"),
    ],
)
def test_weights_that_do_not_fit_the_configuration_are_refused_by_name(
    package: Path, changed: dict[str, Tensor | None], problem: str
) -> None:
    weights = package_weights(package, CONFIG) | changed
    save_weights(
        package / "weights.safetensors", {k: w for k, w in weights.items() if w is not None}, CONFIG
    )
    write_sums(package)
    with pytest.raises(InputError, match=f"weights.safetensors.*{problem}"):
        v.verify(package, quick=True)


def test_weights_of_another_configuration_are_refused(package: Path) -> None:
    weights = package_weights(package, CONFIG)
    save_weights(package / "weights.safetensors", weights, OTHER)
    write_sums(package)
    with pytest.raises(InputError, match=f"weights.safetensors.*{OTHER.label}"):
        v.verify(package, quick=True)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "no safetensors", "a folder"])
def test_damaged_weights_are_named(package: Path, damage: str) -> None:
    path = package / "weights.safetensors"
    content = path.read_bytes()
    path.unlink()
    damaged = {"empty": b"", "cut short": content[:-100], "no safetensors": b"\x80\x05" * 99}
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(damaged[damage])
    with pytest.raises(InputError, match="weights.safetensors.*is damaged"):
        read_weights(path)


class Owned:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_in_place_of_the_weights_is_refused_and_not_run(
    package: Path, tmp_path: Path
) -> None:
    content = pickle.dumps(Owned(tmp_path / "owned"))
    (package / "weights.safetensors").write_bytes(content)
    write_sums(package)
    with pytest.raises(InputError, match="weights.safetensors.*damaged"):
        v.verify(package, quick=True)
    assert not (tmp_path / "owned").exists()
    pickle.loads(content)  # noqa: S301
    assert (tmp_path / "owned").exists(), "it would have"


def test_a_yaml_that_would_run_code_is_refused_though_its_checksum_is_right(
    package: Path, tmp_path: Path
) -> None:
    bad = f"config: !!python/object/apply:os.mkdir ['{tmp_path}/owned']\n"
    (package / "config.yaml").write_text(bad)
    write_sums(package)
    with pytest.raises(InputError, match="config.yaml"):
        v.verify(package, quick=True)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("name", "changes"),
    [("config.yaml", {"stop_after": 2}), ("metrics.json", {"metrics": {"val_acc": 0.999}})],
)
def test_a_package_that_contradicts_itself_is_refused(
    package: Path, name: str, changes: dict[str, Any]
) -> None:
    if "metrics" in changes:
        changes = {"metrics": read_package(package).metrics.to_dict() | changes["metrics"]}
    rewrite(package, **changes)
    with pytest.raises(InputError, match=name):
        v.verify(package, quick=True)


# Verifying


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
        weights[name] = weights[name] * 3
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


# ONNX and plain PyTorch


def network(config: TrialConfig) -> VGG6:
    """A network with statistics of its own in its batch norms."""
    torch.manual_seed(0)
    model = VGG6(config)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 32, 32) * 2 + 1)
    return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def logits_of(model: VGG6, images: Tensor) -> Tensor:
    """The project's own logits in fp32 of uint8 (N, 3, 32, 32)."""
    normalize = Normalizer(DATA.mean, DATA.std, torch.device("cpu"))
    with torch.inference_mode():
        return model(normalize(images.permute(0, 2, 3, 1).contiguous()))


@pytest.mark.slow
@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: f"{c.activation}-{c.norm}")
def test_onnxruntime_gives_the_logits_of_torch_for_any_number_of_images(
    config: TrialConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    model = network(config)
    content = onnx_bytes(config, model.state_dict(), FACTS)
    assert capfd.readouterr().out == "", "the exporter's own messages are no result"
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (1, 33):
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
        (got,) = session.run(None, {"images": images.numpy()})
        expected = logits_of(model, images).numpy()
        assert got.shape == (count, 10) and got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)
        assert (got.argmax(1) == expected.argmax(1)).all()


def test_the_onnx_file_of_a_package_refuses_images_it_would_misread(packed: Path) -> None:
    session = onnxruntime.InferenceSession(
        packed / "model.onnx", providers=["CPUExecutionProvider"]
    )
    images = torch.from_numpy(DATA.val.images[:40]).permute(0, 3, 1, 2).contiguous()
    (got,) = session.run(None, {"images": images.numpy()})
    model = VGG6(CONFIG).eval()
    model.load_state_dict(package_weights(packed, CONFIG))
    np.testing.assert_allclose(got, logits_of(model, images).numpy(), atol=1e-4, rtol=0)
    for wrong in (images.float().numpy(), DATA.val.images[:40]):  # normalised; colours last
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            session.run(None, {"images": wrong})


def test_the_onnx_file_is_valid_and_names_its_classes_and_no_folder_of_this_machine(
    packed: Path,
) -> None:
    proto = onnx.load(packed / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    facts = {p.key: p.value for p in proto.metadata_props}
    assert json.loads(facts["classes"]) == [str(i) for i in range(10)]
    assert str(Path(tune_vgg6.__file__).parent).encode() not in proto.SerializeToString()


# Run by a Python that sees neither this project nor its folder.
ALONE = """
import importlib.util, json, sys
import torch
torch.set_num_threads(1)
folders, images, out = json.loads(sys.argv[1]), torch.load(sys.argv[2]), {}
for folder in folders:
    spec = importlib.util.spec_from_file_location("load_model", folder + "/load_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.load()
    with torch.inference_mode():
        out[folder] = model(images)
    assert module.classify(images) == [module.CLASSES[i] for i in out[folder].argmax(1)]
assert not {"vgg6", "analysis", "numpy.testing", "onnx"} & set(sys.modules)
torch.save(out, sys.argv[3])
"""


@pytest.mark.slow
def test_load_model_alone_gives_the_projects_logits_bit_for_bit(
    packed: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    models = {str(packed): VGG6(CONFIG).eval().to(memory_format=torch.channels_last)}
    models[str(packed)].load_state_dict(package_weights(packed, CONFIG))
    for number, config in enumerate(NETWORKS):
        folder = tmp_path / str(number)
        folder.mkdir()
        models[str(folder)] = network(config)
        save_weights(folder / "weights.safetensors", models[str(folder)].state_dict(), config)
        (folder / "load_model.py").write_text(torch_loader(config, FACTS, WIDTHS))
    images = torch.from_numpy(DATA.val.images[:64]).permute(0, 3, 1, 2).contiguous()
    torch.save(images, tmp_path / "images.pt")
    (tmp_path / "empty").mkdir()
    subprocess.run(
        [sys.executable, "-I", "-c", ALONE, json.dumps(list(models)), str(tmp_path / "images.pt"),
         str(tmp_path / "logits.pt")],
        cwd=tmp_path / "empty", check=True, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    logits = torch.load(tmp_path / "logits.pt")
    for folder, model in models.items():
        assert torch.equal(logits[folder], logits_of(model, images)), folder


@pytest.mark.slow
def test_load_model_runs_as_a_script_and_refuses_what_is_no_pixel(
    packed: Path, tmp_path: Path
) -> None:
    shutil.copy(packed / "load_model.py", tmp_path)
    shutil.copy(packed / "weights.safetensors", tmp_path)
    check = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import load_model, torch\n"
        "try:\n    load_model.classify(torch.zeros(1, 3, 32, 32))\n"
        "except ValueError as error:\n    print(error)"
    )
    for arguments in ([str(tmp_path / "load_model.py")], ["-c", check]):
        done = subprocess.run(
            [sys.executable, "-I", *arguments],
            cwd="/", check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert "your images" in done.stdout or "must be uint8 RGB" in done.stdout


# The test images


@pytest.mark.slow
def test_the_same_weights_are_scored_once_and_then_read_from_the_record(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = look(read_search(run), weights_file(0), "trial 0")
    (line,) = [json.loads(x) for x in run.read(LOOKS).splitlines()]
    assert line["weights"] == hashlib.sha256(run.read(weights_file(0))).hexdigest()
    assert {k: line[k] for k in ("what", "images")} == {"what": "trial 0", "images": 359}
    source = load_digits()
    model = VGG6(CONFIG).to(memory_format=torch.channels_last)
    state, _ = trained(CONFIG)
    model.load_state_dict(state.best.weights)
    expected = evaluate(
        model, torch.from_numpy(source.test.images), torch.from_numpy(source.test.labels),
        Normalizer(DATA.mean, DATA.std, torch.device("cpu")), RUNTIME,
    )  # fmt: skip
    assert (first.accuracy, first.loss) == (expected.accuracy, expected.loss)
    assert first.low < first.accuracy < first.high and first.looks == 1

    def scores(*_: Any) -> None:
        raise AssertionError("a second look at the test images")

    monkeypatch.setattr("analysis.winner.score_test_set.score", scores)
    assert look(read_search(run), weights_file(0), "called otherwise") == first
    assert len(looks(run)) == 1


@pytest.mark.slow
def test_a_second_look_is_counted_in_every_output(
    run: RunFolder, tmp_path: Path, said: Any
) -> None:
    status, out, _ = said("export", run.path, "--out", tmp_path / "first", "--json")
    assert status == 0 and json.loads(out)["test"]["looks"] == 1
    assert "the only look" in (tmp_path / "first" / "README.md").read_text()
    winner = read_history(run).ranking()[0].number
    assert look(read_search(run), weights_file(1 - winner), "the other").looks == 2
    status, out, _ = said("export", run.path, "--out", tmp_path / "second", "--json")
    found = json.loads(out)["test"]
    assert found["looks"] == 2 and "looked at 2 times" in found["note"]
    assert json.loads((tmp_path / "second" / "metrics.json").read_text())["test"] == found
    assert "looked at 2 times" in (tmp_path / "second" / "README.md").read_text()
    assert len(looks(run)) == 2, "the export read the record"


@pytest.mark.slow
def test_export_prints_a_table_and_replaces_a_package_only_when_told_to(
    run: RunFolder, tmp_path: Path, said: Any
) -> None:
    words = ["export", run.path, "--out", tmp_path / "out"]
    status, out, _ = said(*words)
    lines = dict(re.findall(r"^(\S.{20}) (\S.*)$", out, re.MULTILINE))
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    facts = {name.strip(): text for name, text in lines.items()}
    assert status == 0 and facts["validation accuracy"].startswith(f"{found['val_acc']:.4f} (95 %")
    assert facts["test accuracy"].startswith(f"{found['test']['accuracy']:.4f} (95 %")
    assert not re.search(r"\d\.\d{5}", out), "four digits"
    status, out, err = said(*words)
    assert (status, out) == (2, "") and "--out" in err and "holds a package already" in err
    assert found["packed"].split()[0] and "of the search" in err and "--force" in err
    assert said(*words, "--force", "--json")[0] == 0


def test_a_damaged_record_of_looks_is_refused_by_its_line(run: RunFolder) -> None:
    look(read_search(run), weights_file(0), "trial 0")
    run.write(LOOKS, run.read(LOOKS) + b'{"time": 1\n')
    with pytest.raises(InputError, match="test_looks.jsonl line 2"):
        look(read_search(run), weights_file(1), "trial 1")


@pytest.mark.slow
def test_what_is_packed_without_looking_holds_no_test_score_unless_there_is_one(
    run: RunFolder, tmp_path: Path
) -> None:
    assert "test" not in export_best(read_search(run), tmp_path / "a", look_at_test=False)
    assert not run.exists(LOOKS)
    assert "have not been scored" in (tmp_path / "a" / "README.md").read_text()
    seen = export_best(read_search(run), tmp_path / "b")["test"]
    assert export_best(read_search(run), tmp_path / "c", look_at_test=False)["test"] == seen


def test_the_look_of_a_version_that_kept_no_record_is_counted(
    run: RunFolder, tmp_path: Path
) -> None:
    winner = read_history(run).ranking()[0].number
    metrics = {"test": {"accuracy": 0.5, "loss": 1.0, "images": 359}}
    run.write_json("best/metrics.json", metrics)
    run.write("best/weights.safetensors", run.read(weights_file(winner)))
    again = look(read_search(run), weights_file(winner), "the same weights")
    assert (again.accuracy, again.looks) == (0.5, 1)
    assert look(read_search(run), weights_file(1 - winner), "others").looks == 2
    assert looks(run)[0].accuracy == 0.5


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    found = wilson(0.9, 1000)
    z, n, p = 1.959964, 1000, 0.9  # Wilson 1927
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half), abs=1e-6)


# The confirmed winner


@pytest.mark.slow
def test_the_confirmed_winner_is_packed_with_its_representative_seed_and_verifies(
    confirmed: RunFolder, confirmation: tuple[dict[str, Any], bytes], tmp_path: Path, said: Any
) -> None:
    asked, weights = confirmation
    seed, candidate = asked["representative_seed"], asked["candidates"][0]
    out = tmp_path / "out"
    metrics = export_best(read_search(confirmed), out)
    package = read_package(out)
    assert package.config == replace(CONFIG, seed=seed) and package.stop_after is None
    assert (out / "weights.safetensors").read_bytes() == weights
    chosen = next(r for r in candidate["runs"] if r["seed"] == seed)
    assert [row.to_dict() for row in package.history] == chosen["history"]
    assert metrics["val_acc"] == chosen["val_acc"]
    assert metrics["confirmed"]["mean"] == candidate["mean"]
    assert metrics["confirmed"]["seeds"] == list(SEEDS)
    assert metrics["test"]["what"] == f"trial 0 seed {seed}"
    card = (out / "README.md").read_text()
    for part in (f"{candidate['mean']:.4f}", "0.9000", f"{candidate['optimism']:+.4f}",
                 "the only look", f"--seed {seed}", "verify"):  # fmt: skip
        assert part in card
    assert "unconfirmed" not in card and "optimistic" not in card
    status, printed, _ = said("verify", out)
    assert status == 0 and printed.startswith("bit-identical")
    status, printed, _ = said("verify", out, "--quick")
    assert status == 0 and "359 test images" in printed
    assert len(looks(confirmed)) == 1


def test_confirmed_weights_that_are_not_there_are_answered_with_the_command(
    confirmed: RunFolder, tmp_path: Path
) -> None:
    shutil.rmtree(confirmed.file("confirmed"))
    with pytest.raises(InputError, match="confirmed/trial_00000_seed_10.*train.*--seed 10"):
        export_best(read_search(confirmed), tmp_path / "out")


def test_an_unconfirmed_winner_is_said_to_be_unconfirmed_and_optimistic(
    run: RunFolder, tmp_path: Path
) -> None:
    metrics = export_best(read_search(run), tmp_path / "out", look_at_test=False)
    assert metrics["confirmed"] is None and "optimistic" in metrics["note"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "unconfirmed" in card.splitlines()[0] and "**optimistic**" in card


def test_the_environment_names_versions_arithmetic_and_machine(packed: Path) -> None:
    found = read_package(packed).environment
    assert (found.device, found.threads) == ("cpu", 1)
    assert found.precision == RUNTIME.precision
    assert found.versions["torch"] == torch.__version__.split("+")[0]
    assert {"python", "ray", "optuna", "numpy"} <= set(found.versions)
    assert found.cpu and found.os
    assert yaml.safe_load((packed / "config.yaml").read_text())["runtime"] == RUNTIME.to_dict()
