"""NVIDIA's Multi-Process Service is started for trials that share a GPU, and ends with them.

Where there is no GPU, a program takes the place of the service's own and notes how it is called.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from support.clusters.fake_mps import PID, TOOL, FakeService
from support.clusters.nodes import SEARCH, messages, wait_until
from support.paths import ROOT

from vgg6.common.machine import mps_is_running
from vgg6.tuning.cluster import mps, reaper
from vgg6.tuning.cluster.mps import may_share
from vgg6.tuning.settings import Settings

VARIABLES = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
# A search that takes this machine to have a GPU, and a client of the service to work. It says where
# a worker of its Ray would look for the service.
WITH_A_GPU = """
import os, sys
from vgg6.tuning.cluster import mps
from vgg6.tuning.cluster.connect import quiet_environment
quiet_environment()
import ray
from vgg6.tuning.session import start
mps.local_gpus, mps.FIRST_CLIENT = lambda: 1, ""
run_session = start.run_session

def asking(*given):
    asked = ray.remote(lambda: os.environ["CUDA_MPS_PIPE_DIRECTORY"])
    print(f"a worker has {ray.get(asked.remote())}.", file=sys.stderr)
    return run_session(*given)

start.run_session = asking
import tune_vgg6
sys.exit(tune_vgg6.main(sys.argv[1:]))
"""


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine seems to have a GPU, whose service can be used and does not run."""
    monkeypatch.setattr(mps, "local_gpus", lambda: 1)
    monkeypatch.setattr(mps, "FIRST_CLIENT", "")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "nobody"))
    monkeypatch.delenv("CUDA_MPS_LOG_DIRECTORY", raising=False)


def serving(folder: str) -> list[psutil.Process]:
    """The processes that have the variables of the service in this folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            if process.environ().get("CUDA_MPS_PIPE_DIRECTORY") == f"{folder}/pipe":
                found.append(process)
    return found


def ended(process: psutil.Process) -> bool:
    psutil.wait_procs([process], timeout=30)
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("one_gpu")
def test_the_service_is_started_in_a_folder_of_its_own_and_ends_with_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeService(tmp_path)
    monkeypatch.setenv("PATH", fake.path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), mps.service_for(True):
        daemon = fake.daemon()
        given = mps.variables()
        assert mps.why_not() == "" and mps_is_running(given)
        assert dict(os.environ) == before, "this process would be bound to the service"
        assert daemon.is_running()
        raise ZeroDivisionError
    assert ended(daemon)
    assert [call.asked for call in fake.calls] == ["-d", "get_server_list", "quit"]
    folder = Path(given["CUDA_MPS_PIPE_DIRECTORY"]).parent
    assert {call.pipe for call in fake.calls} == {given["CUDA_MPS_PIPE_DIRECTORY"]}
    assert {call.log for call in fake.calls} == {given["CUDA_MPS_LOG_DIRECTORY"]}
    assert len(str(folder)) < 80 and not folder.exists()
    assert fake.calls[0].visible == "none", "its clients would number devices otherwise than it"
    assert mps.variables() == {} and mps.why_not()
    assert capsys.readouterr().err.count("Multi-Process Service is started") == 1


@pytest.mark.usefixtures("one_gpu")
def test_devices_that_are_named_and_not_numbered_are_named_to_the_service_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeService(tmp_path)
    monkeypatch.setenv("PATH", fake.path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937")
    with mps.service_for(True):
        assert fake.calls[0].visible == "GPU-8932f937"


FAILURES: dict[str, tuple[dict[str, str], str, str]] = {
    "it is not permitted": (
        {"daemon": "echo; echo 'no permission' >&2; exit 3"},
        "",
        f"{TOOL} ends with status 3: no permission",
    ),
    "it never comes up": ({"daemon": ":"}, "", "it has not started in 1 s"),
    "it hangs": ({"daemon": "exec sleep 600"}, "", f"{TOOL} takes over 1 s"),
    "its client fails": ({}, "raise SystemExit('CUDA error 805')", "status 1: CUDA error 805"),
    "its server is never ready": ({}, "raise SystemExit('CUDA error 807')", "CUDA error 807"),
    "its client does not use it": ({"servers": ""}, "", "no process comes to use it"),
}


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("case", FAILURES)
def test_where_it_cannot_be_used_the_reason_is_known_and_nothing_is_left(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour, client, reason = FAILURES[case]
    fake = FakeService(tmp_path, **behaviour)
    monkeypatch.setenv("PATH", fake.path)
    monkeypatch.setattr(mps, "FIRST_CLIENT", client)
    monkeypatch.setattr(mps, "START_S", 1.0)
    told: list[str] = []
    with monkeypatch.context() as patch, mps.workers_end_with_this_process() as beside:
        patch.setattr(beside, "quit_service", told.append)
        with mps.service(beside):
            assert reason in mps.why_not()
            assert mps.variables() == {}
            assert fake.calls[-1].asked == "quit", "it would hold the GPU beside the trials"
    assert fake.calls[-1].asked == "quit"
    (folder,) = told
    reaper.end_service(folder)  # as the reaper does
    assert not Path(folder).exists()
    assert all(ended(process) for process in serving(folder))
    assert mps.why_not() == f"{mps.SERVICE} does not run", "the next search may fare better"


@pytest.mark.usefixtures("one_gpu")
def test_without_its_program_it_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with mps.service_for(True):
        assert mps.why_not().endswith(f"{TOOL} is not on PATH")


@pytest.mark.usefixtures("one_gpu")
def test_where_no_folder_can_be_made_it_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mps, "LONGEST_BASE", 4096)
    monkeypatch.setattr(mps.tempfile, "gettempdir", lambda: str(tmp_path / "none"))
    with mps.service_for(True):
        assert "No such file" in mps.why_not()


@pytest.mark.usefixtures("one_gpu")
def test_a_service_that_runs_already_is_used_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeService(tmp_path)
    monkeypatch.setenv("PATH", fake.path)
    pipe = tmp_path / "nobody"
    pipe.mkdir()
    (pipe / "control").touch()
    assert mps.why_not(), "a socket that an ended service has left is no service"
    (pipe / PID).write_text("1")
    with mps.service_for(True):
        assert mps.why_not() == "" and mps.variables() == {}
    assert fake.calls == [] and (pipe / PID).exists()


def test_without_a_gpu_it_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeService(tmp_path)
    monkeypatch.setenv("PATH", fake.path)
    monkeypatch.setattr(mps, "local_gpus", lambda: 0)
    with mps.service_for(True):
        pass
    assert fake.calls == []


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, True),
        ({"gpus_per_trial": 0.5}, True),
        ({"gpus_per_trial": "auto"}, True),
        ({"gpus_per_trial": 1.0}, False),
        ({"gpus_per_trial": 2.0}, False),
        ({"gpus_per_trial": 0.0}, False),
        ({"device": "cpu"}, False),
        ({"max_concurrent": 1}, False),
        ({"trials": 1}, False),
        ({"mps": "off"}, False),
    ],
)
def test_it_is_wanted_only_where_trials_may_share_a_gpu_and_it_is_not_switched_off(
    asked: dict[str, Any], wanted: bool
) -> None:
    assert may_share(Settings(name="x", **asked)) == wanted


@pytest.mark.parametrize("code", [0, 805])
def test_the_first_client_asks_the_drivers_own_library_and_says_its_error(
    code: int, tmp_path: Path
) -> None:
    """With a library of its name that answers the same to each call."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    calls = ("cuInit(unsigned a)", "cuDeviceGet(int *a, int b)")
    calls += ("cuDevicePrimaryCtxRetain(void **a, int b)",)
    source.write_text("\n".join(f"int {call} {{ return {code}; }}" for call in calls))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    asked = subprocess.run(
        [sys.executable, "-S", "-E", "-c", mps.FIRST_CLIENT],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert asked.returncode == bool(code)
    assert asked.stderr == (f"CUDA error {code}\n" if code else "")


KILLED = """
import os, signal
from vgg6.tuning.cluster import mps
mps.local_gpus, mps.FIRST_CLIENT = lambda: 1, ""
with mps.service_for(True):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_service_of_a_killed_process_ends_too(tmp_path: Path) -> None:
    fake = FakeService(tmp_path)
    environment = os.environ | {"PATH": fake.path, "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=ROOT, env=environment, stderr=subprocess.PIPE
    )  # the end of standard error is that of the reaper too, which holds it open
    assert killed.returncode == -signal.SIGKILL
    (folder,) = {str(Path(call.pipe).parent) for call in fake.calls}
    assert all(ended(process) for process in serving(folder))
    assert fake.calls[-1].asked == "quit" and not Path(folder).exists()


@pytest.mark.starts_ray
@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_service_of_a_search_serves_its_workers_and_ends_however_it_ends(
    end: signal.Signals | None, tmp_path: Path
) -> None:
    fake = FakeService(tmp_path)
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", *VARIABLES)}
    environment |= {"PATH": fake.path, "PYTHONPATH": str(ROOT)}
    environment |= {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path / "nobody")}
    words = (*SEARCH, "--address", "local", "--trials", "2", "--epochs", "2" if not end else "200")
    with open(tmp_path / "messages", "w") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_A_GPU, *words],
            cwd=tmp_path, env=environment, stdout=said, stderr=said, text=True,
        )  # fmt: skip
    try:
        begun = tmp_path / "runs" / "s" / "journal.jsonl"
        wait_until(lambda: begun.exists() and '"epoch"' in begun.read_text(), "an epoch", process)
        daemon, pipe = fake.daemon(), fake.calls[0].pipe
        assert f"a worker has {pipe}." in messages(tmp_path)
        assert psutil.Process(process.pid).environ()["CUDA_MPS_PIPE_DIRECTORY"] != pipe
        if end:
            process.send_signal(end)
        process.wait(120)
    finally:
        process.kill()
    assert process.returncode == {None: 0, signal.SIGKILL: -9}.get(end, 130), messages(tmp_path)
    assert ended(daemon), "the service outlived its search"
    assert fake.calls[-1].asked == "quit"
    if end != signal.SIGKILL:
        assert not Path(pipe).exists(), "it has ended before its search has"
    assert messages(tmp_path).count("Multi-Process Service is started") == 1


def test_a_service_whose_clients_hold_it_up_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its control program never returns."""
    folder = tmp_path / "service"
    (folder / "pipe").mkdir(parents=True)
    held = FakeService(tmp_path)
    (held.folder / TOOL).write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setenv("PATH", held.path)
    monkeypatch.setattr(reaper, "QUIT_S", 0.2)
    with subprocess.Popen(["sleep", "600"]) as daemon:
        (folder / "pipe" / PID).write_text(str(daemon.pid))
        assert not reaper.quit_service(str(folder))
        assert folder.exists() and daemon.poll() is None
        reaper.end_service(str(folder))
    assert daemon.returncode == -signal.SIGTERM and not folder.exists()


@needs_gpu
def test_two_processes_on_a_real_gpu_are_clients_of_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "nobody"))
    with mps.service_for(True):
        if reason := mps.why_not():
            pytest.skip(reason)
        folder = str(Path(mps.variables()["CUDA_MPS_PIPE_DIRECTORY"]).parent)
        waits = f"{mps.FIRST_CLIENT}\nprint(1, flush=True)\ninput()"
        clients = [
            subprocess.Popen(
                [sys.executable, "-c", waits],
                env=os.environ | mps.variables(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        assert [c.stdout.readline() for c in clients if c.stdout] == [b"1\n"] * 2
        (server,) = (reaper.ask_service(folder, "get_server_list") or "").split()
        listed = (reaper.ask_service(folder, f"get_client_list {server}") or "").split()
        assert {str(client.pid) for client in clients} <= set(listed)
        for client in clients:
            client.communicate(b"\n")
    assert not Path(folder).exists()
