"""cluster/slurm.sh under stand-ins for Slurm: alone, and with real Ray on two hosts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from support.clusters.namespaces import missing, network
from support.clusters.nodes import SEARCH
from support.clusters.slurm import SCRIPT, Slurm
from support.paths import ROOT

from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.journal import read_history
from vgg6.tuning.run.trials import COMPLETED, INFEASIBLE

# In the place of Python: notes what it is asked for. Ray runs until it is ended, and a search until
# the file `ended` says with which exit status, or until SIGTERM, which it saves and says as 130.
PYTHON = """\
case "$*" in *scripts*start*) trap 'echo "ray ended" >>{calls}; exit' TERM ;; esac
echo "python $*" >>{calls}
case "$*" in
    *scripts*start*) ;;
    -*) until [ "$(grep -c "^python.* start " {calls})" = 2 ]; do sleep 0.05; done; exit 0 ;;
    *status*) [ -e {folder}/run ]; exit ;;
    *) trap 'exit {saved}' TERM ;;
esac
while [[ "$*" == *start* || ! -e {folder}/ended ]]; do sleep 0.05; done
exit "$(cat {folder}/ended)"
"""


def slurm(folder: Path, saved: int = 130, **options: int) -> Slurm:
    """Two nodes, where a stand-in for Python runs no Ray and no search."""
    found = Slurm(folder, ["a", "b"], **options)
    python = found.program("py", PYTHON.format(calls=found.calls, folder=folder, saved=saved))
    (folder / "tune_vgg6.py").touch()
    found.environment |= {"PYTHON": str(python)}
    return found


def wait_until_searching(found: Slurm) -> None:
    end = time.monotonic() + 30
    while not any(" tune_vgg6.py search" in c or " resume" in c for c in found.called("python")):
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.2)  # until it answers signals


def ended(job: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = job.communicate(timeout=300)
    return job.returncode, out


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_job_ends_with_the_exit_status_of_its_search_and_ray_on_all_nodes(
    tmp_path: Path, status: int
) -> None:
    found = slurm(tmp_path)
    (tmp_path / "ended").write_text(str(status))
    code, out = ended(found.sbatch("search", "--name", "first", cwd=tmp_path))
    assert code == status, out
    starts = [call for call in found.called("python") if "scripts start" in call]
    assert len(starts) == 2 and sum("--head" in call for call in starts) == 1
    assert len(found.called("ray")) == 2, "both were told to end"
    (step,) = found.called("srun")
    assert "--nodes 1 --ntasks 1" in step and "--nodelist b" in step
    assert not found.called("scontrol"), "a search that has ended is not queued again"
    folders = [Path(call.split(" --temp-dir ")[1].split()[0]).parent for call in starts]
    assert len(set(folders)) == 2 and not any(f.exists() for f in folders), "Ray's files are gone"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("warning", "left", "requeued"),
    [
        (signal.SIGUSR1, None, True),
        (signal.SIGTERM, None, True),
        (signal.SIGTERM, 120, True),
        (signal.SIGTERM, 7200, False),  # cancelled, or preempted: Slurm itself requeues those
        (signal.SIGINT, None, False),
    ],
)
def test_a_job_near_its_time_limit_saves_its_search_and_is_queued_again(
    tmp_path: Path, warning: signal.Signals, left: int | None, requeued: bool
) -> None:
    found = slurm(tmp_path)
    limit = {} if left is None else {"SLURM_JOB_END_TIME": str(int(time.time()) + left)}
    job = found.sbatch("search", "--name", "first", cwd=tmp_path, **limit)
    wait_until_searching(found)
    job.send_signal(warning)
    code, out = ended(job)
    assert code == 130, out
    assert found.called("scontrol") == (["scontrol requeue 4711"] if requeued else [])
    assert len(found.called("ray")) == 2, "Ray was ended first"


@pytest.mark.slow
def test_a_search_that_fails_while_it_is_saved_is_not_queued_again(tmp_path: Path) -> None:
    found = slurm(tmp_path, saved=1)
    job = found.sbatch("search", "--name", "first", cwd=tmp_path)
    wait_until_searching(found)
    job.send_signal(signal.SIGUSR1)
    assert ended(job)[0] == 1 and not found.called("scontrol")


@pytest.mark.slow
def test_a_job_that_cannot_be_queued_again_says_how_to_go_on(tmp_path: Path) -> None:
    found = slurm(tmp_path, requeued=1)
    job = found.sbatch("search", "--name", "first", cwd=tmp_path)
    wait_until_searching(found)
    job.send_signal(signal.SIGUSR1)
    code, out = ended(job)
    assert code == 130 and "not requeued: submit the same command to go on" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "resumed"),
    [
        (("--name", "first", "--trials", "9"), "resume first --storage runs"),
        (("--name=first", "--storage=/s"), "resume first --storage /s"),
        ((), "resume slurm-4711 --storage runs"),
        (
            ("--name", "x", "--confirm", "5", "--seed", "3", "--wandb", "offline", "--verbose"),
            "resume x --storage runs --confirm 5 --wandb offline --verbose",
        ),
        (("--confirm", "--name=x", "--margin=1"), "resume x --storage runs --confirm --margin=1"),
        (("--name", "x", "--mps", "off"), "resume x --storage runs --mps off"),
        (("--mps=off", "--name=x"), "resume x --storage runs --mps=off"),
    ],
)  # fmt: skip
def test_a_job_whose_search_is_there_resumes_it(
    tmp_path: Path, given: tuple[str, ...], resumed: str
) -> None:
    found = slurm(tmp_path)
    (tmp_path / "run").touch()
    (tmp_path / "ended").write_text("0")
    job = found.sbatch("search", *given, cwd=tmp_path, SLURM_RESTART_COUNT="1")
    assert ended(job)[0] == 0
    assert f"python tune_vgg6.py {resumed} --address " in found.calls.read_text()


@pytest.mark.slow
def test_a_new_search_has_the_jobs_name_if_it_is_given_none(tmp_path: Path) -> None:
    found = slurm(tmp_path)
    (tmp_path / "ended").write_text("0")
    assert ended(found.sbatch("search", "--trials", "9", cwd=tmp_path))[0] == 0
    assert " search --trials 9 --name slurm-4711 --address " in found.calls.read_text()


@pytest.mark.slow
def test_nodes_get_what_the_job_was_granted(tmp_path: Path) -> None:
    found = slurm(tmp_path)
    (tmp_path / "ended").write_text("0")
    granted = {"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "8", "SLURM_MEM_PER_NODE": "1000"}
    granted |= {"SLURM_GPUS_ON_NODE": "4", "SLURM_EXPORT_ENV": "NONE"}
    assert ended(found.sbatch("search", cwd=tmp_path, **granted))[0] == 0
    starts = [call for call in found.called("python") if "scripts start" in call]
    for start in starts:
        assert "--num-cpus 8 --num-gpus 4 --object-store-memory 314572800" in start
    (step,) = found.called("srun")
    assert "--cpus-per-task 8" in step and "--export=ALL" in step


@pytest.mark.slow
def test_two_jobs_on_a_node_share_no_port_and_no_folder(tmp_path: Path) -> None:
    used = []
    for number in ("4711", "4712"):
        (folder := tmp_path / number / "slurm").mkdir(parents=True)
        found = slurm(folder)
        (folder / "ended").write_text("0")
        assert ended(found.sbatch("search", cwd=folder, SLURM_JOB_ID=number))[0] == 0
        (start,) = (c.split() for c in found.called("python") if "--head" in c)
        flags = ("--port", "--ray-client-server-port", "--temp-dir")
        used += [start[start.index(flag) + 1] for flag in flags]
    assert len(set(used)) == 6


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ((), {}, "sbatch --nodes 4"),
        (("status",), {}, "sbatch --nodes 4"),
        (("search",), {"SLURM_JOB_ID": ""}, "submit this file with sbatch"),
        (("search",), {"PYTHON": "/no/python"}, "PYTHON: '/no/python' is not there"),
    ],
)
def test_what_cannot_work_is_refused_before_ray_starts(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    found = slurm(tmp_path)
    code, out = ended(found.sbatch(*arguments, cwd=tmp_path, **variables))
    assert code == 2 and said in out
    assert not found.called("python")


def test_it_is_refused_outside_of_the_checkout(tmp_path: Path) -> None:
    found = slurm(tmp_path)
    code, out = ended(found.sbatch("search", cwd=Path("/")))
    assert code == 2 and "submit from the checkout" in out


@pytest.mark.starts_ray
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_search_on_two_nodes_is_requeued_at_the_time_limit_and_ends_with_each_epoch_once(
    tmp_path: Path,
) -> None:
    short = Path(tempfile.mkdtemp(prefix="s"))
    journal = tmp_path / "s" / "journal.jsonl"
    arguments = (*SEARCH, "--storage", str(tmp_path), "--trials", "8", "--epochs", "3")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
    try:
        with network(2) as hosts:
            found = Slurm(short, [host.name for host in hosts], namespaces=True)
            found.environment = kept | {"PYTHON": sys.executable, "RAY_TMPDIR": str(short)}
            job = found.sbatch(*arguments, cwd=ROOT)
            while not journal.exists() or journal.read_text().count('"event": "epoch"') < 4:
                assert job.poll() is None, ended(job)[1]
                time.sleep(0.1)
            job.send_signal(signal.SIGUSR1)
            code, out = ended(job)
            assert code == 130 and "incomplete: SIGTERM received" in out, out
            assert found.called("scontrol") == ["scontrol requeue 4711"]
            assert not [host for host in hosts if host.pids()], "no process is left on any node"
            job = found.sbatch(*arguments, cwd=ROOT, SLURM_RESTART_COUNT="1")
            code, out = ended(job)
            assert code == 0, out
            assert "it goes on where it stopped" in out and "best again" in out
            addresses = {host.address for host in hosts}
        assert not list(short.glob("ray-*"))
    finally:
        shutil.rmtree(short)
    history = read_history(RunFolder(str(journal.parent)))
    assert len(history.trials) == 8
    assert {t.state for t in history.trials.values()} <= {COMPLETED, INFEASIBLE}
    assert [s.outcome for s in history.sessions] == ["interrupted", "complete"]
    counted = Counter((number, epoch) for number, epoch, _ in history.arrivals)
    assert set(counted.values()) == {1}
    done = [t for t in history.trials.values() if t.state == COMPLETED]
    assert done and all(set(t.rows) == {1, 2, 3} for t in done)
    assert {row.node for t in history.trials.values() for row in t.rows.values()} == addresses


def test_bash_reads_it() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
