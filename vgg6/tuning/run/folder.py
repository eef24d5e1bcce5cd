"""Where a search keeps its files: a local folder, or a storage URI that pyarrow can open."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from vgg6.common.checks import InputError, check_choice
from vgg6.common.files import check_target, write_atomic
from vgg6.common.say import say
from vgg6.common.user_folders import user_cache

SEARCH, JOURNAL, BEST, TABLE, WEIGHTS = (
    "search.json", "journal.jsonl", "best.json", "results.csv", "weights",
)  # fmt: skip
# What a confirmation leaves: its own folder, and what came of it, for the best and for the front.
CONFIRMED, CONFIRMATION, FRONT = "confirmed", "confirmation.json", "front.json"
BEFORE = ".before"  # the JSON files as they were before they were last written
UPLOAD_EVERY_S = 10.0


class RunFolder:
    """Reads and writes the files of one search by their names below its folder.

    Args:
        location: a folder's path or a URI (``s3://bucket/runs/name``, ``file:///...``).
        given: how the user named it, if not by its location; ``storage``: what it is a name below.
    """

    def __init__(self, location: str, given: str | None = None, storage: str | None = None) -> None:
        self.given, self.storage = given or location, storage
        if "://" in location:
            try:
                self.fs, self.path = pafs.FileSystem.from_uri(location)
            except (pa.ArrowException, OSError) as error:
                rule = f"is no storage that pyarrow can open: {error}"
                raise InputError("storage", location, rule) from None
            self.uri = location
        else:
            self.fs, self.path = pafs.LocalFileSystem(), str(Path(location).absolute())
            self.uri = self.path
        self.local = isinstance(self.fs, pafs.LocalFileSystem)
        self.name = self.path.rstrip("/").rsplit("/", 1)[-1]

    def file(self, name: str) -> str:
        return f"{self.path}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.get_file_info(self.file(name)).type != pafs.FileType.NotFound)

    @property
    def confirmed(self) -> RunFolder:
        """The folder of its confirmation, a small search of its own."""
        return RunFolder(f"{self.uri.rstrip('/')}/{CONFIRMED}")

    def create(self) -> None:
        self.fs.create_dir(self.path, recursive=True)

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError when there is no such file."""
        with self.fs.open_input_stream(self.file(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file; on a local disk a reader never sees a part of it."""
        self.fs.create_dir(self.file(name).rsplit("/", 1)[0], recursive=True)
        if self.local:
            write_atomic(Path(self.file(name)), content)
            return
        with self.fs.open_output_stream(self.file(name)) as stream:
            stream.write(content)

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object. For a damaged file the one before it is used, and both are named.

        Raises:
            FileNotFoundError: there is no such file.
            InputError: it is damaged, and no whole one is left from before; or it is no file.
        """
        try:
            found, problem = _parsed(self.read(name))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError("run", self.file(name), f"cannot be read: {error}") from None
        if found is not None:
            return found
        spare = f"{BEFORE}/{name}"
        if self.exists(spare):
            found, _ = _parsed(self.read(spare))
        if found is None:
            raise InputError("run", self.file(name), problem)
        say(f"{self.file(name)} {problem}: using the one before it, {self.file(spare)}")
        return found

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON object and keep the whole one before it; of the first one a copy."""
        content = (json.dumps(value, indent=1) + "\n").encode()
        before = self.read(name) if self.exists(name) else content
        if _parsed(before)[0] is not None:
            self.write(f"{BEFORE}/{name}", before)
        self.write(name, content)

    def delete_scraps(self) -> None:
        """Remove what writers left that were killed: half files and half packages beside those that
        they were to replace. Only for who is alone in the folder, and only of a local one."""
        if not self.local:
            return
        for path in Path(self.path).rglob(".*.tmp"):
            path.unlink(missing_ok=True)
        for path in Path(self.path).glob(".best-*"):
            shutil.rmtree(path)

    def names(self, folder: str) -> list[str]:
        """What lies in a folder of the run; nothing where there is no such folder."""
        below = pafs.FileSelector(self.file(folder), allow_not_found=True)
        return names_of(self.fs.get_file_info(below))

    def delete(self, name: str) -> None:
        """Remove a file, or nothing where there is none."""
        if self.exists(name):
            self.fs.delete_file(self.file(name))

    def delete_folder(self, name: str) -> None:
        """Remove a folder with all that is in it, or nothing where there is none."""
        if self.exists(name):
            self.fs.delete_dir(self.file(name))


def _parsed(content: bytes) -> tuple[dict[str, Any] | None, str]:
    """A file's JSON object; where it holds none, None and what is wrong with it."""
    if not content.strip():
        return None, "is empty"
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        return None, f"is not JSON: {error}"
    if not isinstance(found, dict):
        return None, "is no JSON object"
    return found, ""


def trial_folder(number: int) -> str:
    """The name of a trial's folder below a session's."""
    return f"trial_{number:05d}"


def trial_number(name: str) -> int | None:
    """The trial that a file or a folder is named after; None where it is of no trial."""
    found = re.match(r"trial_(\d+)", name)
    return int(found[1]) if found else None


def weights_file(number: int) -> str:
    """The name of a trial's best weights below the run folder."""
    return f"{WEIGHTS}/{trial_folder(number)}.safetensors"


def confirmed_file(number: int, seed: int) -> str:
    """The name of the weights of a confirmed trial's run with ``seed`` below the run folder."""
    return f"{CONFIRMED}/{trial_folder(number)}_seed_{seed}.safetensors"


def staging(run: RunFolder) -> Path:
    """A folder of this machine for what a remote run folder gets in parts."""
    digest = hashlib.sha256(run.uri.encode()).hexdigest()[:16]
    folder = user_cache() / "staging" / digest
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def store_left_over(run: RunFolder, name: str) -> None:
    """Store the lines that a killed ``Appender`` of this machine wrote and did not come to store.

    Only lines that go on from what is stored: the folder may have been written elsewhere since, or
    be another search's of the same name.
    """
    if run.local or not (staged := staging(run) / name).exists() or not run.exists(name):
        return
    content, stored = staged.read_bytes(), run.read(name)
    if stored and len(content) > len(stored) and content.startswith(stored):
        run.write(name, content)


class Appender:
    """Appends lines to one file of a run folder.

    An object store cannot append: there the lines gather in a local file, which replaces the
    stored one at most every 10 s and on close. Lines that a killed writer left there, and did not
    come to store, are stored before anybody reads: see ``store_left_over``.
    """

    def __init__(self, run: RunFolder, name: str) -> None:
        self.run, self.where = run, run.file(name)
        self.name = name
        staged = Path(run.file(name))
        if not run.local:
            staged = staging(run) / name
            staged.write_bytes(run.read(name) if run.exists(name) else b"")
        self.staged, self.uploaded_at = staged, -math.inf
        self.fd = os.open(staged, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if staged.stat().st_size and not staged.read_bytes().endswith(b"\n"):
            os.write(self.fd, b"\n")  # a torn last line must not swallow the next one

    def append(self, line: str) -> None:
        """Add one line in one system call, so that a signal cannot tear it."""
        if not os.fstat(self.fd).st_nlink:  # writing to it would succeed, and be lost
            raise FileNotFoundError(errno.ENOENT, "it was deleted", str(self.staged))
        content = line.encode() + b"\n"
        if os.write(self.fd, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.staged))
        if not self.run.local and time.monotonic() - self.uploaded_at > UPLOAD_EVERY_S:
            self._upload()

    def close(self) -> None:
        os.fsync(self.fd)
        os.close(self.fd)
        if not self.run.local:
            self._upload()

    def _upload(self) -> None:
        self.run.write(self.name, self.staged.read_bytes())
        self.uploaded_at = time.monotonic()


def names_of(entries: Sequence[pafs.FileInfo]) -> list[str]:
    """The names of what a folder holds, without those whose bytes are no text: pyarrow cannot say
    them, and nothing here has written them."""
    names = []
    for entry in entries:
        with suppress(UnicodeDecodeError):
            names.append(entry.base_name)
    return names


def open_run(run: str, storage: str) -> RunFolder:
    """Find a search by its folder, its URI, or its name below ``storage``.

    Raises:
        InputError: there is no search there; names the nearest one.
    """
    for folder in (RunFolder(run), named_below(run, storage)):
        if folder.exists(SEARCH):
            return folder
    if Path(run).is_file():
        raise InputError("run", run, "is a file: a search is a folder")
    known = []
    if Path(storage).is_dir():
        known = sorted(p.parent.name for p in Path(storage).glob(f"*/{SEARCH}"))
    if known:
        check_choice("run", run, known)
    raise InputError("run", run, f"is no search: neither {run} nor {storage}/{run} has {SEARCH}")


def new_run(
    name: str, storage: str, to_go_on: Callable[[RunFolder], str] = lambda run: run.path
) -> RunFolder:
    """The folder of a new search.

    Args:
        to_go_on: what an error says of a search that is there already.

    Raises:
        InputError: there is one of that name already, or nothing can be written there.
    """
    run = named_below(name, storage)
    if (Path(name) / SEARCH).exists():  # where a name is looked up first: that is another search
        run.given, run.storage = run.uri, None
    if run.exists(SEARCH):
        rule = (
            f"names a search that exists. Choose another, or go on with that one: {to_go_on(run)}"
        )
        raise InputError("name", name, rule)
    if run.local:
        check_target("storage", Path(run.path), storage)
    return run


def named_below(name: str, storage: str) -> RunFolder:
    """The folder of that name in a storage, whatever it holds."""
    return RunFolder(f"{storage.rstrip('/')}/{name}", given=name, storage=storage)
