"""A process that trains does not give its memory back to the kernel after each step."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
from support.paths import ROOT

from vgg6.hardware import kept_memory

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory by rules of their own"
)
# Blocks of 33 MB, in a thread as trials have one.
PROGRAM = """
import resource, sys, threading
from vgg6.config import TrialConfig
from vgg6.data import load_source, split
from vgg6.hardware import runtime
from vgg6.training import TrainState, fit

if sys.argv[1] == "given back":
    runtime.keep_freed_memory = lambda: False

def train():
    data = split(load_source("digits"), limit_train=512)
    config = TrialConfig(activation="gelu", batch_size=256, width=0.5, epochs=5)
    arithmetic = runtime.Runtime(device="cpu", precision="fp32", threads=1)
    for metrics in fit(TrainState(config, arithmetic), data):
        pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        print(pages, metrics.train_loss.hex(), metrics.val_loss.hex())

thread = threading.Thread(target=train)
thread.start()
thread.join()
"""


def trained(how: str) -> tuple[int, list[str]]:
    """Pages that the kernel gave for the last two of five epochs, and what was learnt."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    pages, *losses = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    return int(pages[-1]) - int(pages[2]), [*losses[0], *losses[1]]


@needs_glibc
def test_later_epochs_need_few_new_pages_and_give_the_same_bits() -> None:
    kept, kept_losses = trained("kept")
    given_back, losses = trained("given back")
    assert kept < given_back / 5
    assert kept_losses == losses


@pytest.mark.parametrize("why", ["no mallopt", "no linux", "rules of a user"])
def test_another_c_library_is_left_alone_and_one_that_a_user_has_set_up(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no linux":
        monkeypatch.setattr(sys, "platform", "darwin")
    elif why == "rules of a user":
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "0")
    else:
        monkeypatch.setattr(kept_memory.ctypes, "CDLL", lambda name: object())
    assert kept_memory.keep_freed_memory.__wrapped__() is False


@pytest.mark.skipif(
    any(name in os.environ for name in kept_memory.VARIABLES), reason="rules of a user are set"
)
def test_glibc_takes_the_rules_and_no_other_library_is_asked() -> None:
    assert kept_memory.keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
