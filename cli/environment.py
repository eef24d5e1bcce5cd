"""The environment variables that a session depends on, checked before anything starts.

Each means something to Ray, CUDA or W&B, which would take nonsense for absence, or fail late.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path
from urllib.parse import urlparse

from vgg6.common.checks import InputError, check_choice
from vgg6.common.files import check_characters, check_target
from vgg6.common.user_folders import home
from vgg6.tuning.cluster.connect import ray_temp_folder
from vgg6.tuning.settings import WANDB_MODES, check_address

# What CUDA takes: numbers, the identifiers of GPUs and of their parts, or a word for none.
_GPU = re.compile(r"\d+|GPU-[0-9a-fA-F-]+|MIG-[0-9a-zA-Z/-]+")
_NO_GPU = ("", "-1", "NoDevFiles", "none")


def check_environment(address: str | None, wandb: str | None) -> None:
    """Check what a search, a resume or a confirmation takes from its environment.

    Args:
        address: where Ray is, and ``wandb``: the mode, as the command line gave them, which come
            before ``RAY_ADDRESS`` and ``WANDB_MODE``.

    Raises:
        InputError: a variable breaks its rule, or Ray has no folder for its files; the key is the
            variable's name.
    """
    check_devices()
    check_python()
    check_home()
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR", "RAY_TMPDIR", "CIFAR10_DIR"):
        check_characters(name, os.environ.get(name, ""))
    named = os.environ.get("RAY_ADDRESS")
    if named and address is None:
        check_address("RAY_ADDRESS", named)
    scratch = os.environ.get("RAY_TMPDIR")
    if scratch and not (Path(scratch).is_dir() and os.access(scratch, os.W_OK)):
        raise InputError("RAY_TMPDIR", scratch, "is not a folder that can be written")
    if address in (None, "local"):
        ray_temp_folder()
    if wandb == "disabled":
        return
    if wandb is None and (mode := os.environ.get("WANDB_MODE")):
        check_choice("WANDB_MODE", mode, WANDB_MODES)
    server = os.environ.get("WANDB_BASE_URL")
    if server and not _is_url(server):
        raise InputError("WANDB_BASE_URL", server, "is no URL such as https://api.wandb.ai")


def let_warnings_be_warnings() -> None:
    """Let a warning of a dependency end nothing, though Python was told to make errors of them by
    ``-W error`` or ``PYTHONWARNINGS``: Ray's own processes, too, would not start."""

    def is_strict(option: str) -> bool:
        return bool(option) and "error".startswith(option.partition(":")[0])

    if any(map(is_strict, sys.warnoptions)):
        warnings.simplefilter("ignore")
        others = [option for option in sys.warnoptions if not is_strict(option)]
        os.environ["PYTHONWARNINGS"] = ",".join(others)


def check_current_folder() -> None:
    """Raise InputError where this process has no folder to find others from: torch, too, would end
    by a message of its own."""
    try:
        check_characters("current folder", os.getcwd())
    except FileNotFoundError:
        rule = "is gone: change to one that exists"
        raise InputError("current folder", os.environ.get("PWD", ""), rule) from None


def check_python() -> None:
    """Raise InputError where Python was told to drop docstrings: Ray reads them on import."""
    if sys.flags.optimize >= 2:
        rule = "drops docstrings, without which Ray Tune cannot be imported: 1 (-O) keeps them"
        named = os.environ.get("PYTHONOPTIMIZE")
        raise InputError("PYTHONOPTIMIZE" if named else "python", named or "-OO", rule)


def check_home() -> None:
    """Raise InputError unless Ray can keep its token in this user's home."""
    folder = home()
    check_target("HOME", folder / ".ray", str(folder))


def check_devices() -> None:
    """Raise InputError for a ``CUDA_VISIBLE_DEVICES`` that CUDA would take for no GPU at all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None or named in _NO_GPU:
        return
    for part in named.split(","):
        if not _GPU.fullmatch(part.strip()):
            rule = f"is not a list of GPUs such as 0,1 or GPU-8f1c...: {part.strip()!r} is none"
            raise InputError("CUDA_VISIBLE_DEVICES", named, rule)


def _is_url(text: str) -> bool:
    try:
        found = urlparse(text)
    except ValueError:
        return False
    return found.scheme in ("http", "https") and bool(found.hostname)
