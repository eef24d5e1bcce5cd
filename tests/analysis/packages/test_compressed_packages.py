"""Compressed packages: what they hold and say, that they verify and load, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.bad_values.compression import BAD_COMMANDS, BAD_PACKAGES
from support.made.networks import DATA, SOURCE, network
from support.made.runs import made_run

import tune_vgg6
from analysis.packages.compressed_networks import WHOLE, CompressedNetwork, on_front
from analysis.packages.package import read_package
from analysis.packages.package_files import PACKAGE, QUANTIZED, SUMS, write_sums
from analysis.packages.weights import load_network
from analysis.report.gather_contents import gather
from analysis.report.page import render_page
from vgg6.architecture import count_flops, count_parameters
from vgg6.config import TrialConfig
from vgg6.data import image_facts
from vgg6.evaluation import assess
from vgg6.onnx_export.onnx_file import OnnxNetwork, onnx_bytes
from vgg6.onnx_export.quantization import quantize
from vgg6.tuning.run.search import read_search

pytestmark = pytest.mark.slow

TRAIN = (
    "train --data digits --limit-train 100 --activation silu --optimizer adam --lr 0.001"
    " --batch-size 32 --epochs 2 --threads 1"
)


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
    for name, row in zip(COMPRESSED, (int8, pruned, both), strict=True):
        recorded = json.loads((packages / name / "metrics.json").read_text())["after"]
        shown = (row.score, row.bytes, row.flops)
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
