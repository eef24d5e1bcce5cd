"""onnxruntime-web from its npm package, and a folder that is served as the docs say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from analysis.demo.onnxruntime_web import FETCH, SERVE, VERSION

PATIENCE_S = 120


@cache
def _archive() -> Path | str:
    """The package as npm packs it, or why it is not there. npm keeps what it has fetched."""
    npm = shutil.which("npm")
    if npm is None:
        return "needs npm, to fetch onnxruntime-web"
    folder = Path(tempfile.mkdtemp(prefix="onnxruntime-web-"))
    words = [npm, "pack", "--silent", "--prefer-offline", f"onnxruntime-web@{VERSION}"]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"npm did not fetch onnxruntime-web in {PATIENCE_S} s"
    if done.returncode:
        return f"npm cannot fetch onnxruntime-web: {done.stderr.strip()[:200]}"
    return folder / done.stdout.strip().splitlines()[-1]


def unpack_runtime(folder: Path) -> None:
    """Do in ``folder`` what the page says, but with the archive that npm fetched. The test is
    skipped where that is not to be had."""
    archive = _archive()
    if isinstance(archive, str):
        pytest.skip(archive)
    make, _, rest = FETCH.partition(" && ")
    fetch, _, unpack = rest.partition(" | ")
    assert fetch.startswith("curl ") and fetch.endswith(f"onnxruntime-web-{VERSION}.tgz")
    subprocess.run(shlex.split(make), cwd=folder, check=True)
    with archive.open("rb") as packed:
        subprocess.run(shlex.split(unpack), cwd=folder, check=True, stdin=packed)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of ``folder``, served by the command of the docs on a free port."""
    words = [sys.executable, "-u", *shlex.split(SERVE)[1:], "0"]
    server = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout
    try:
        said = server.stdout.readline()  # Serving HTTP on 127.0.0.1 port 40123 (http://...) ...
        yield said.partition("(")[2].partition(")")[0]
    finally:
        server.kill()
        server.wait()
