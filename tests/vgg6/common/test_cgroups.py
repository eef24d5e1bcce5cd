"""CPU quotas of control groups, in both versions, made-up ones and a real one."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

from vgg6.common.cgroups import MOUNTED, cpu_quota

ONE_CPU = {"cpu.cfs_quota_us": "100000\n", "cpu.cfs_period_us": "100000\n"}
NO_LIMIT = {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}


def group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("own", "groups", "quota"),
    [
        ("0::/job\n", {"job": {"cpu.max": "150000 100000\n"}}, 1.5),
        ("0::/job\n", {"job": {"cpu.max": "max 100000\n"}}, math.inf),
        ("0::/job/step\n", {"job": {"cpu.max": "200000 100000\n"}, "job/step": {}}, 2.0),
        ("0::/of/the/host\n", {".": {"cpu.max": "50000 100000\n"}}, 0.5),
        ("4:cpu,cpuacct:/job\n", {"cpu,cpuacct/job": ONE_CPU, "cpu,cpuacct": NO_LIMIT}, 1.0),
        ("7:cpu:/job\n3:memory:/job\n0::/\n", {"cpu/job": NO_LIMIT, "cpu": ONE_CPU}, 1.0),
        ("3:cpuset:/job\n", {"cpu/job": ONE_CPU}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_the_least_quota_of_a_group_and_those_above_it_counts(
    tmp_path: Path, own: str, groups: dict[str, dict[str, str]], quota: float
) -> None:
    for name, files in groups.items():
        group(tmp_path / "groups" / name, files)
    (tmp_path / "own").write_text(own)
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") == quota


@pytest.fixture
def one_cpu() -> Iterator[Path]:
    """A real group with a quota of one CPU."""
    version_2 = (MOUNTED / "cgroup.controllers").is_file()
    folder = (MOUNTED if version_2 else MOUNTED / "cpu") / "tune_vgg6_test"
    limit = {"cpu.max": "100000 100000"} if version_2 else {"cpu.cfs_quota_us": "100000"}
    try:
        folder.mkdir()
        for name, content in limit.items():
            (folder / name).write_text(content)
    except OSError as error:
        pytest.skip(f"needs to make a control group, which this user may not: {error}")
    yield folder
    folder.rmdir()


def test_a_process_in_a_group_of_one_cpu_plans_for_one(one_cpu: Path) -> None:
    program = (
        f"import os; open('{one_cpu}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "from vgg6.common.machine import usable_cpus\n"
        "print(len(os.sched_getaffinity(0)), usable_cpus())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    affinity, usable = map(int, ended.stdout.split())
    assert usable == 1 <= affinity
