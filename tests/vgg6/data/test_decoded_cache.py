"""Images are decoded once: the cache is made whole by one process, and again where it is broken."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.made.image_files import TRAIN_FILE, as_png, files_in, noise, write_parquet

from vgg6.common.checks import InputError
from vgg6.data import load_source


def _is_mapped(array: Any) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


def test_a_second_load_is_a_memory_map_and_decodes_nothing(
    parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_source(str(parquet))
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("decoded an image again"))
    second = load_source(str(parquet))
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert _is_mapped(second.train.images)
    assert not second.train.images.flags.writeable


READER = """
import hashlib, sys
import pyarrow.parquet, PIL.Image
from vgg6.data import load_source
print("ready", flush=True)
sys.stdin.readline()
source = load_source(sys.argv[1])
digest = hashlib.sha256()
for part in (source.train, source.test):
    digest.update(part.images.tobytes() + part.labels.tobytes())
print(digest.hexdigest())
"""


def test_four_first_readers_at_once_agree_and_leave_one_finished_set(
    parquet: Path, cache: Path, python_path: None
) -> None:
    write_parquet(
        parquet / TRAIN_FILE, [as_png(i) for i in noise(2000)], [i % 10 for i in range(2000)]
    )
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(parquet)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for reader in readers:
        assert reader.stdout and reader.stdout.readline() == "ready\n"
    for reader in readers:
        assert reader.stdin
        reader.stdin.write("go\n")
        reader.stdin.flush()
    answers = [reader.communicate(timeout=120)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    assert len(set(answers)) == 1
    assert len(answers[0].strip()) == 64

    left = [p for p in cache.iterdir() if p.suffix not in (".lock", ".known")]
    assert len(left) == 1
    names = [f"{part}_{kind}.npy" for part in ("test", "train") for kind in ("images", "labels")]
    assert files_in(left[0]) == ["about.json", *names]


@pytest.mark.parametrize("name", ["train_images.npy", "test_labels.npy"])
@pytest.mark.parametrize("damage", ["empty", "header cut", "data cut", "missing"])
def test_a_damaged_cache_is_made_again(
    parquet: Path, cache: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = np.array(load_source(str(parquet)).train.images)
    (file,) = cache.rglob(name)
    content = file.read_bytes()
    keep = {"empty": 0, "header cut": 40, "data cut": len(content) - 10, "missing": 0}[damage]
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:keep])
    again = load_source(str(parquet))
    assert re.search("was damaged .* made again", capsys.readouterr().err)
    np.testing.assert_array_equal(again.train.images, whole)
    assert file.read_bytes() == content


def test_images_are_read_where_the_cache_is_full(
    parquet: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, before[1]))  # no file may be larger
    try:
        found = load_source(str(parquet))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "is full" in capsys.readouterr().err
    assert [f for f in files_in(cache) if not f.endswith(".lock")] == []
    np.testing.assert_array_equal(found.train.images, load_source(str(parquet)).train.images)


def test_a_reader_killed_while_decoding_leaves_nothing_that_the_next_would_take(
    parquet: Path, cache: Path, python_path: None
) -> None:
    killed = """
import os, signal, sys
import numpy as np
from vgg6.data import load_source
save = np.save
def save_then_die(path, array):
    save(path, array)
    os.kill(os.getpid(), signal.SIGKILL)
np.save = save_then_die
load_source(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", killed, str(parquet)], timeout=120)
    assert done.returncode == -9
    np.testing.assert_array_equal(load_source(str(parquet)).test.images, noise(20, 2))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who is not root")
def test_a_home_that_cannot_be_written_is_a_clear_error(
    parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(locked))
    with pytest.raises((InputError, OSError), match="locked"):
        load_source(str(parquet))
