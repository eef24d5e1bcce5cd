"""The files of a package: whole, as they were made, and free of code."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.made.digits_packages import CONFIG, OTHER, RUNTIME, rewrite
from torch import Tensor

from analysis.packages.package import read_package
from analysis.packages.package_files import PACKAGE, SUMS, check_sums, write_sums
from analysis.packages.weights import package_weights, read_weights
from analysis.verification import verify as v
from vgg6.checkpoint import save_weights
from vgg6.common.checks import InputError

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


def test_the_environment_names_versions_arithmetic_and_machine(packed: Path) -> None:
    found = read_package(packed).environment
    assert (found.device, found.threads) == ("cpu", 1)
    assert found.precision == RUNTIME.precision
    assert found.versions["torch"] == torch.__version__.split("+")[0]
    assert {"python", "ray", "optuna", "numpy"} <= set(found.versions)
    assert found.cpu and found.os
    assert yaml.safe_load((packed / "config.yaml").read_text())["runtime"] == RUNTIME.to_dict()
