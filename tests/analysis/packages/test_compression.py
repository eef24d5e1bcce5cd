"""Pruned and quantised networks: smaller for real, the same function where they must be, packed."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from support.made_runs import made_run
from support.paths import ROOT
from torch import Tensor

import tune_vgg6
from analysis.packages.compressed_networks import WHOLE, CompressedNetwork, on_front
from analysis.packages.package import read_package
from analysis.packages.package_files import PACKAGE, QUANTIZED, SUMS, write_sums
from analysis.packages.weights import load_network
from analysis.report.gather_contents import gather
from analysis.report.page import render_page
from vgg6.architecture import LAYOUT, WIDTHS, count_flops, count_parameters
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import image_facts, load_digits, split
from vgg6.evaluation import assess
from vgg6.hardware.runtime import Runtime
from vgg6.hardware.speedup import Speedup, speedup, time_in_turns
from vgg6.model import VGG6
from vgg6.network import Network
from vgg6.onnx_export.onnx_file import OnnxNetwork, check_onnx, onnx_bytes
from vgg6.onnx_export.quantization import quantize
from vgg6.pruning import cut, importances
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.slow

SOURCE = load_digits()
DATA = split(SOURCE, limit_train=100)
FP32 = Runtime(device="cpu", precision="fp32", threads=1)
TRAIN = (
    "train --data digits --limit-train 100 --activation silu --optimizer adam --lr 0.001"
    " --batch-size 32 --epochs 2 --threads 1"
)


def network(**hyperparameters: Any) -> Network:
    """A network that has seen some images, so that its batch norms have statistics of their own."""
    torch.manual_seed(0)
    config = TrialConfig(init="kaiming", **hyperparameters)
    model = VGG6(config)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 32, 32) * 2 + 1)
    return Network(config, dict(model.state_dict()), DATA.mean, DATA.std, FP32)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package, and what each method makes of it, as the command line does."""
    folder = tmp_path_factory.mktemp("packages")
    assert tune_vgg6.main([*TRAIN.split(), "--out", str(folder / "whole")]) == 0
    for words in ("--method int8", "--method prune --epochs 1 --sparsity 0.6",
                  "--method int8 --method prune --epochs 1"):  # fmt: skip
        arguments = ["compress", str(folder / "whole"), *words.split(), "--rounds", "1"]
        assert tune_vgg6.main(arguments) == 0
    yield folder
    shutil.rmtree(folder)


COMPRESSED = ("whole-int8", "whole-prune-0.6", "whole-prune-0.5-int8")


# Pruning


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "norm"), [("silu", "batch"), ("relu", "none"), ("sigmoid", "none")]
)
def test_channels_that_nothing_reads_are_the_first_to_go_and_are_not_missed(
    activation: str, norm: str
) -> None:
    whole = network(activation=activation, norm=norm)
    weights = {name: tensor.clone() for name, tensor in whole.weights.items()}
    draw = np.random.default_rng(1)
    unread = [torch.from_numpy(draw.choice(width, 8, replace=False)) for width in WIDTHS]
    for layer, channels in enumerate(unread[:4]):
        weights[f"convs.{layer + 1}.weight"][:, channels] = 0
    weights["fc1.weight"].unflatten(1, (256, 16))[:, unread[4]] = 0
    weights["fc2.weight"][:, unread[5]] = 0
    whole = replace(whole, weights=weights)
    widths = tuple(width - 8 for width in WIDTHS)
    small = cut(whole, DATA.train, 1 - count_flops(widths) / count_flops())
    assert small.widths == widths
    images = DATA.val.images[:64]
    np.testing.assert_allclose(small(images), whole(images), atol=1e-4)
    kept = sorted(set(range(64)) - set(unread[0].tolist()))
    assert torch.equal(small.weights["convs.0.weight"], weights["convs.0.weight"][kept])


@pytest.mark.slow
def test_importance_is_the_mean_square_of_the_losss_derivative_by_a_channels_factor() -> None:
    whole = network(activation="silu")
    few = DATA.train.take(np.arange(12))
    found = importances(whole, few)
    assert [len(scores) for scores in found] == list(WIDTHS)
    labels = torch.from_numpy(few.labels)

    def losses(name: str, channel: int, factor: float) -> Tensor:
        weights = {k: v.double() for k, v in whole.weights.items()}
        groups = WIDTHS[4] if name == "fc1.weight" else weights[name].shape[1]
        read = weights[name].reshape(len(weights[name]), groups, -1)
        read[:, channel] *= factor
        weights[name] = read.view(weights[name].shape)
        model = VGG6(whole.config).double().eval()
        model.load_state_dict(weights)
        pixels = torch.from_numpy(few.images).permute(0, 3, 1, 2).double() / 255
        shape = (1, 3, 1, 1)
        mean, std = (
            torch.tensor(x, dtype=torch.float64).view(shape) for x in (DATA.mean, DATA.std)
        )
        logits = model((pixels - mean) / std)
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none").detach()

    readers = ["convs.1.weight", "convs.3.weight", "fc1.weight", "fc2.weight"]
    for layer, name in zip((0, 2, 4, 5), readers, strict=True):
        for channel in (0, 7):
            slope = (losses(name, channel, 1.001) - losses(name, channel, 0.999)) / 0.002
            expected = slope.square().mean().item()
            assert found[layer][channel].item() == pytest.approx(expected, rel=0.01, abs=1e-9)


@pytest.mark.parametrize("sparsity", [0.05, 0.5, 0.95])
def test_a_cut_takes_the_share_of_the_flops_that_was_asked_for_and_not_much_more(
    sparsity: float,
) -> None:
    small = cut(network(activation="relu"), DATA.train, sparsity)
    left = count_flops(small.widths) / count_flops()
    assert 1 - sparsity - 0.1 < left <= 1 - sparsity
    assert all(width % 8 == 0 and width >= 8 for width in small.widths)
    shapes = {name: tensor.shape for name, tensor in small.module().state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in small.weights.items()}
    assert sum(t.numel() for t in small.weights.values()) == count_parameters(
        small.config, small.widths
    )


def test_flops_are_two_for_each_product_of_the_layers() -> None:
    counted = 0

    def count(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal counted
        counted += 2 * output[0].numel() * module.weight[0].numel()  # type: ignore[operator]

    small = cut(network(activation="relu"), DATA.train, 0.4)
    model = small.module()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    model(torch.zeros(1, 3, 32, 32))
    assert counted == count_flops(small.widths)
    assert count_flops() == 234_235_904 and len(WIDTHS) == len(LAYOUT) + 1


def test_a_group_norm_is_not_pruned() -> None:
    with pytest.raises(InputError, match="norm: 'group' cannot be pruned"):
        cut(network(norm="group"), DATA.train, 0.5)


# Int8


@pytest.fixture(scope="module")
def fp32() -> bytes:
    made = network(activation="silu", norm="batch")
    return onnx_bytes(made.config, made.weights, image_facts(SOURCE))


@pytest.mark.slow
def test_every_weight_is_an_8_bit_integer_and_is_multiplied_as_one(
    fp32: bytes, tmp_path: Path
) -> None:
    content = quantize(fp32, DATA.train.images[:64])
    assert len(fp32) / len(content) > 3.5
    model = onnx.load_from_string(content)
    sizes: dict[int, int] = {}
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    weights = sum(i * o * 9 for i, o, _ in LAYOUT) + 4096 * 512 + 512 * 10
    assert sizes[onnx.TensorProto.INT8] >= weights
    assert sizes[onnx.TensorProto.FLOAT] < 10_000, "scales only"
    # What onnxruntime makes of it for this machine.
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    assert (kinds.count("QLinearConv"), kinds.count("QGemm"), kinds.count("Conv")) == (5, 2, 0)


def test_int8_gives_nearly_the_logits_of_fp32_and_keeps_its_input_and_metadata(fp32: bytes) -> None:
    content = quantize(fp32, DATA.train.images[:64])
    images = DATA.val.images
    before, after = OnnxNetwork(fp32, 1)(images), OnnxNetwork(content, 1)(images)
    assert np.abs(after - before).max() < 0.08 * np.ptp(before)
    assert (after.argmax(1) == before.argmax(1)).mean() > 0.92
    # On a CPU without VNNI two products are added in 16 bits: 255 * 64 * 2 just fit.
    kept = onnx.load_from_string(content).graph.initializer
    weights = [onnx.numpy_helper.to_array(w) for w in kept
               if w.data_type == onnx.TensorProto.INT8 and len(w.dims) > 1]  # fmt: skip
    assert weights and all(abs(w.astype(int)).max() <= 64 for w in weights)
    facts = [{p.key: p.value for p in onnx.load_from_string(c).metadata_props}
             for c in (fp32, content)]  # fmt: skip
    assert facts[0] == facts[1] and json.loads(facts[1]["classes"]) == list("0123456789")
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        OnnxNetwork(content, 1)(images.astype(np.float32))


def test_a_network_of_onnxruntime_is_the_network_of_torch(fp32: bytes) -> None:
    made = network(activation="silu", norm="batch")
    images = DATA.val.images[:40]
    np.testing.assert_allclose(OnnxNetwork(fp32, 1)(images), made(images), atol=1e-4)


# Packages


@pytest.mark.slow
def test_a_compressed_package_says_before_and_after_of_the_same_images(packages: Path) -> None:
    before = (packages / "whole" / "model.onnx").read_bytes()
    for name in COMPRESSED:
        folder = packages / name
        found = json.loads((folder / "metrics.json").read_text())
        for side, content in (("before", before), ("after", (folder / "model.onnx").read_bytes())):
            scored = assess(OnnxNetwork(content, 1), DATA.val)
            assert found[side]["accuracy"] == scored.accuracy, name
            assert found[side]["loss"] == pytest.approx(scored.loss)
            assert found[side]["bytes"] == len(content)
        assert found["val_acc"] == found["after"]["accuracy"]
        assert [row["batch"] for row in found["speed"]] == [1, 256]
        card = (folder / "README.md").read_text()
        after, speed = found["after"], found["speed"][1]["ratio"]
        for value in (f"{after['accuracy']:.4f}", f"{after['bytes']:,}", f"{speed:.2f}"):
            assert value in card
        pruned = read_package(folder).widths
        assert found["after"]["parameters"] == count_parameters(TrialConfig(), pruned)
        assert found["after"]["flops"] == count_flops(pruned)


@pytest.mark.slow
def test_a_pruned_package_is_smaller_and_an_int8_one_holds_no_fp32_weights(packages: Path) -> None:
    files = {name: {p.name for p in (packages / name).iterdir()} for name in COMPRESSED}
    assert files["whole-prune-0.6"] == {*PACKAGE, SUMS}
    assert files["whole-int8"] == files["whole-prune-0.5-int8"] == {*QUANTIZED, SUMS}
    sizes = {
        name: sum(p.stat().st_size for p in (packages / name).iterdir())
        for name in ("whole", *COMPRESSED)
    }
    assert sizes["whole"] > sizes["whole-prune-0.6"] > sizes["whole-int8"]
    assert sizes["whole-int8"] > sizes["whole-prune-0.5-int8"]
    weights = (packages / "whole-prune-0.6" / "weights.safetensors").stat().st_size
    assert weights < (packages / "whole" / "weights.safetensors").stat().st_size
    sections = yaml.safe_load((packages / "whole-prune-0.6" / "config.yaml").read_text())
    widths = sections["compression"]["prune"]["widths"]
    assert count_flops(tuple(widths)) <= 0.4 * count_flops()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPRESSED)
def test_verify_trains_and_compresses_again_and_finds_every_bit(
    packages: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune_vgg6.main(["verify", str(packages / name)]) == 0
    assert capsys.readouterr().out.startswith("bit-identical")
    assert tune_vgg6.main(["verify", "--quick", str(packages / name)]) == 0
    assert capsys.readouterr().out.startswith("as recorded")


@pytest.fixture
def package(packages: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the pruned package in int8 to do things to."""
    folder = tmp_path / "package"
    shutil.copytree(packages / COMPRESSED[2], folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_another_network_in_int8_is_not_reproduced(
    packages: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = network(activation="silu")
    content = quantize(
        onnx_bytes(other.config, other.weights, image_facts(SOURCE)), DATA.train.images[:64]
    )
    (package / "model.onnx").write_bytes(content)
    write_sums(package)
    assert tune_vgg6.main(["verify", str(package), "--quick"]) == 1
    assert capsys.readouterr().out.startswith("not reproduced: validation accuracy")


@pytest.mark.parametrize("name", [*QUANTIZED, SUMS])
def test_an_int8_package_with_one_byte_changed_or_a_file_gone_is_refused_by_its_name(
    package: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((package / name).read_bytes())
    content[len(content) // 2] ^= 1
    (package / name).write_bytes(content)
    assert tune_vgg6.main(["verify", str(package), "--quick"]) == 2
    assert name in capsys.readouterr().err
    (package / name).unlink()
    assert tune_vgg6.main(["evaluate", str(package)]) == 2
    assert name in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole-prune-0.6", "whole-prune-0.5-int8"])
def test_load_model_of_a_compressed_package_stands_alone(
    packages: Path, name: str, tmp_path: Path
) -> None:
    folder, images = packages / name, DATA.val.images[:50]
    np.save(tmp_path / "images.npy", np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    code = (
        "import importlib.util, json, sys, numpy\n"
        "spec = importlib.util.spec_from_file_location('load_model', sys.argv[1])\n"
        "m = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(m)\n"
        "x = numpy.load(sys.argv[2])\n"
        "x = x if 'onnxruntime' in sys.modules else __import__('torch').from_numpy(x)\n"
        "print(json.dumps(m.classify(x)))\n"
        "assert not {'vgg6', 'analysis'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", code, str(folder / "load_model.py"),
         str(tmp_path / "images.npy")], cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    expected = load_network(folder, read_package(folder))(images).argmax(1)
    assert json.loads(done.stdout) == [str(i) for i in expected]


# The report


@pytest.mark.slow
def test_a_report_draws_the_compressed_winner_and_says_what_no_other_one_beats(
    packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path, trials=4, epochs=2)
    page = render_page(gather(read_search(run)))
    assert "has not been compressed" in page and "&lt;code&gt;" not in page
    for name in ("whole", *COMPRESSED):
        shutil.copytree(packages / name, Path(run.path) / name.replace("whole", "best"))
    found = gather(read_search(run))
    names = [network.name for network in found.compressed]
    assert names == [WHOLE, "int8", "prune-0.5-int8", "prune-0.6"]
    int8, both, pruned = found.compressed[1:]
    for name, network in zip(COMPRESSED, (int8, pruned, both), strict=True):
        recorded = json.loads((packages / name / "metrics.json").read_text())["after"]
        shown = (network.score, network.bytes, network.flops)
        assert shown == (recorded["accuracy"], recorded["bytes"], recorded["flops"])
    drawn: dict[str, list[str]] = {"x": [], "x2": []}  # by panel
    for trace in found.figures["compression"].data:
        if trace.mode == "markers":
            drawn[trace.xaxis].append(trace.name)
    assert sorted(drawn["x"]) == sorted(drawn["x2"]) == sorted(names)
    page = render_page(found)
    assert (
        all(f"<span>{name}</span></td>" in page for name in names) and "no other beats it" in page
    )
    shutil.rmtree(run.path)


def test_the_front_holds_what_no_other_network_beats() -> None:
    def row(name: str, accuracy: float, size: int, speed: float) -> CompressedNetwork:
        return CompressedNetwork(name, accuracy, None, None, size, flops=0, speed={256: speed})

    rows = [
        row("whole", 0.80, 100, 1.0), row("small", 0.78, 25, 3.0), row("worse", 0.77, 25, 3.0),
        row("slow but exact", 0.81, 120, 0.9), row("twin", 0.78, 25, 3.0), row("bad", 0.5, 99, 0.5),
    ]  # fmt: skip
    assert [r.name for r in on_front(rows)] == ["whole", "small", "slow but exact", "twin"]


# What is refused


def altered(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change config.yaml."""

    def write(package: Path) -> None:
        sections = yaml.safe_load((package / "config.yaml").read_text())
        change(sections)
        (package / "config.yaml").write_text(yaml.safe_dump(sections))

    return write


def proto(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], object]:
    """Change model.onnx."""

    def write(package: Path) -> None:
        model = onnx.load(package / "model.onnx")
        change(model)
        (package / "model.onnx").write_bytes(model.SerializeToString())

    return write


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


BAD_PACKAGES: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("widths too wide", altered(lambda s: s["compression"]["prune"]["widths"].__setitem__(0, 72)),
     ["config.yaml", "compression.prune.widths", "72", "at most"]),
    ("widths too few", altered(lambda s: s["compression"]["prune"]["widths"].pop()),
     ["config.yaml", "compression.prune.widths", "list of 6"]),
    ("a misspelt method", altered(lambda s: s["compression"].update(purne=None)),
     ["config.yaml", "'purne'", "did you mean 'prune'"]),
    ("no compression", altered(lambda s: s.pop("compression")),
     ["has no weights.safetensors"]),
    ("colours", altered(lambda s: s["data"].update(mean=[0.5])), ["data.mean", "three numbers"]),
    ("no network", lambda at: (at / "model.onnx").write_bytes(b"no network"),
     ["model.onnx", "cannot be read as ONNX"]),
    ("tensors elsewhere", proto(outside), ["model.onnx"]),
    ("an operator of others", proto(lambda m: (
        m.graph.node[-1].__setattr__("domain", "evil"),
        m.opset_import.append(onnx.helper.make_opsetid("evil", 1)))), ["model.onnx", "'evil'"]),
    ("another input", proto(lambda m: setattr(
        m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 28)),
     ["model.onnx", "uint8 images (N, 3, 32, 32)"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "says"), BAD_PACKAGES, ids=[b[0] for b in BAD_PACKAGES])
@pytest.mark.parametrize("command", [["verify"], ["verify", "--quick"], ["evaluate"]], ids=" ".join)
def test_a_compressed_package_that_is_wrong_inside_is_refused_by_file_and_rule(
    package: Path, name: str, change: Callable[[Path], object], says: list[str],
    command: list[str], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    change(package)
    write_sums(package)
    assert tune_vgg6.main([*command, str(package)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    for part in says:
        assert part in err


BAD_COMMANDS: list[tuple[str, list[str]]] = [
    ("{whole} --method prone", ["--method", "'prone'", "did you mean 'prune'"]),
    ("{whole} --method prune --sparsity half", ["--sparsity", "'half'", "number"]),
    ("{whole} --method prune --sparsity 0", ["--sparsity", "0.0", "(0, 0.95]"]),
    ("{whole} --method prune --sparsity 0.99", ["--sparsity", "0.99", "(0, 0.95]"]),
    ("{whole} --method prune --sparsity nan", ["--sparsity", "nan", "(0, 0.95]"]),
    ("{whole} --method int8 --sparsity 0.5", ["--sparsity", "0.5", "--method prune"]),
    ("{whole} --method prune --epochs -1", ["--epochs", "-1", "[0, 1000]"]),
    ("{whole} --method int8 --rounds 0", ["--rounds", "0", "[1, 10000]"]),
    ("{whole} --method int8 --data {at}/none", ["--data", "none", "FOLDER"]),
    ("{whole} --method int8 --out {whole}/config.yaml", ["--out", "is a file"]),
    ("{whole} --method int8 --out {at}", ["--out", "holds other things"]),
    ("{whole} --method int8 --out {whole}", ["--out", "holds a package already", "--force"]),
    ("{whole}-int8 --method prune", ["DIR", "compressed already"]),
    ("{at} --method int8", ["DIR", "no SHA256SUMS"]),
    ("{whole}", ["--method", "required"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "says"), BAD_COMMANDS, ids=[b[0] for b in BAD_COMMANDS])
def test_a_bad_value_of_compress_is_named_with_its_rule_and_nothing_is_written(
    packages: Path, words: str, says: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(packages.rglob("*"))
    filled = words.replace("{whole}", str(packages / "whole")).replace("{at}", str(packages))
    assert tune_vgg6.main(["compress", *filled.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and "Traceback" not in err
    for part in says:
        assert part in err
    assert sorted(packages.rglob("*")) == before


def test_check_onnx_passes_what_the_project_writes(fp32: bytes) -> None:
    check_onnx(fp32)
    check_onnx(quantize(fp32, DATA.train.images[:32]))


# How it is built


def test_speed_is_a_ratio_of_medians_of_times_taken_in_turns() -> None:
    order: list[str] = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    assert [len(x) for x in time_in_turns(calls, 3).values()] == [3, 3]
    assert order == ["a", "b"] * 4
    times = {"slow": [4.0, 8.0, 6.0, 60.0, 6.0], "fast": [2.0, 2.0, 3.0, 3.0, 2.0]}
    assert speedup(times, "slow", "fast") == Speedup(ratio=3.0, low=2.0, high=4.0)


def imported(module: str) -> set[str]:
    """What a module of vgg6 imports of vgg6, with the names it takes."""
    tree = ast.parse((ROOT / "vgg6" / f"{module.replace('.', '/')}.py").read_text())
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}.{a.name}" for node in froms for a in node.names}


def test_training_evaluation_and_compression_know_nothing_of_each_others_insides() -> None:
    parts = {"training", "evaluation", "pruning", "onnx_export.quantization"}
    known = {
        part: {
            name
            for name in imported(part)
            if name.removeprefix("vgg6.").rpartition(".")[0] in parts - {part}
        }
        for part in parts
    }  # fmt: skip
    assert known == {
        "training": {"vgg6.evaluation.evaluate"},
        "evaluation": set(),
        "pruning": {"vgg6.training.train"},
        "onnx_export.quantization": set(),
    }
    everything = set().union(*map(imported, parts))
    assert not any(name.split(".")[-1].startswith("_") for name in everything)
