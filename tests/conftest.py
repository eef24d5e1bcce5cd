"""What tests share: a command run in this process; one Ray; and real images, CIFAR-10 where it can
be found, scikit-learn's digits everywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import own_cache
from support.clusters import one_ray
from support.paths import ROOT

# Tests run side by side: one thread each where none asks for more, and one that waits sleeps. Torch
# reads both when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import tune_vgg6
from analysis.insights.evaluator_names import EVALUATORS
from vgg6.data import Source, TrialData, load_digits, load_folder, split
from vgg6.hardware.runtime import Runtime


def _cifar10_folder() -> Path | None:
    """``$CIFAR10_DIR`` if set, whatever it holds; else ``../shared/cifar10`` if it is there."""
    if named := os.environ.get("CIFAR10_DIR"):
        return Path(named)
    beside = ROOT.parent / "shared" / "cifar10"
    return beside if beside.is_dir() else None


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the processes of -n have it from here
        own_cache.use(ROOT / ".pytest_cache" / "of_the_user")
    # A shell starts what goes into its background deaf to SIGINT, and tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    if _cifar10_folder() is None:
        return "CIFAR-10: not found, its tests are skipped (set CIFAR10_DIR to run them)"
    return f"CIFAR-10: {'$CIFAR10_DIR' if os.environ.get('CIFAR10_DIR') else 'beside the checkout'}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray are slow and come first. With ``-n`` one process runs all that use the
    Ray that tests share. Those that start their own, marked ``starts_ray``, run beside them."""

    def fixtures(item: pytest.Item) -> set[str]:
        return set(getattr(item, "fixturenames", ()))

    def starts_ray(item: pytest.Item) -> bool:
        return item.get_closest_marker("starts_ray") is not None

    for item in items:
        if {"ray_here", "no_ray_here"} & fixtures(item):
            item.add_marker(pytest.mark.xdist_group("ray"))
            item.add_marker(pytest.mark.starts_ray)
        if starts_ray(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: (not starts_ray(item), "no_ray_here" in fixtures(item)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For ``-n``: tests of a group, and others of one file, run in the same process."""
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            return str(scope if scope != nodeid else nodeid.split("::")[0])

    return ByFile(config, log)


def pytest_sessionfinish() -> None:
    one_ray.end()


@pytest.fixture(scope="module")
def ray_here() -> None:
    """This process runs a Ray, the same for all tests."""
    one_ray.start()


@pytest.fixture(scope="module")
def no_ray_here() -> Iterator[None]:
    """This process runs no Ray: for tests that start one of their own in it."""
    one_ray.end()
    yield
    one_ray.end()


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
    """All of CIFAR-10, through the tests' cache, so that it is decoded once a checkout."""
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
    """The CPU in the precision that a user of this machine gets, on one thread."""
    return Runtime.resolve("cpu", threads=1)


@pytest.fixture(scope="module")
def few_draws() -> Iterator[None]:
    """Importance is drawn 3 times: for tests of all but its figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.insights.importance.DRAWS", dict.fromkeys(EVALUATORS, 3))
        patch.setattr("analysis.insights.importance.HALVES", 3)
        yield


@pytest.fixture
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the Python processes that a test starts import this repository."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
