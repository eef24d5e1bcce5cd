"""What tests share: a command run in this process; and real images, CIFAR-10 where it can be found,
scikit-learn's digits everywhere."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

import tune_vgg6
from vgg6.data import Source, TrialData, load_digits, load_folder, split
from vgg6.hardware.runtime import Runtime, usable_cpus


def _cifar10_folder() -> Path | None:
    """``$CIFAR10_DIR`` if set, whatever it holds; else ``../shared/cifar10`` if it is there."""
    if named := os.environ.get("CIFAR10_DIR"):
        return Path(named)
    beside = ROOT.parent / "shared" / "cifar10"
    return beside if beside.is_dir() else None


def pytest_configure() -> None:
    # A shell starts what goes into its background deaf to SIGINT, and tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    if _cifar10_folder() is None:
        return "CIFAR-10: not found, its tests are skipped (set CIFAR10_DIR to run them)"
    return f"CIFAR-10: {'$CIFAR10_DIR' if os.environ.get('CIFAR10_DIR') else 'beside the checkout'}"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process; gives its exit status, its stdout and its stderr."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = tune_vgg6.main([str(a) for a in arguments])
        return status, *capsys.readouterr()

    return command


@pytest.fixture(scope="session")
def cifar10_source() -> Source:
    """All of CIFAR-10, through the user's decoded cache, so that it is decoded once a machine."""
    folder = _cifar10_folder()
    if folder is None:
        pytest.skip("needs CIFAR-10: set CIFAR10_DIR to a folder that holds it")
    return load_folder(folder)


@pytest.fixture(scope="session")
def cifar10_small(cifar10_source: Source) -> TrialData:
    return split(cifar10_source, limit_train=400)


@pytest.fixture(scope="session")
def digits_source() -> Source:
    return load_digits()


@pytest.fixture(scope="session")
def digits_small(digits_source: Source) -> TrialData:
    return split(digits_source, limit_train=400)


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """The CPU in the precision that a user of this machine gets, on at most two threads."""
    return Runtime.resolve("cpu", threads=min(2, usable_cpus()))


@pytest.fixture
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the Python processes that a test starts import this repository."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
