"""The decoded images of a data set, kept once by this user and mapped into memory.

They are kept by the content of the files that they were read from, so that a copy of a folder finds
them too. A file of a known path, size and time is not read again to find that out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vgg6.common.checks import InputError
from vgg6.common.files import write_atomic
from vgg6.common.locks import one_at_a_time
from vgg6.common.machine import available_memory, usable_cpus
from vgg6.common.say import say
from vgg6.common.user_folders import user_cache
from vgg6.data.decode import Allocate, Seen, colours_of, decode_all
from vgg6.data.images import Array, LabelledImages
from vgg6.data.layouts import Layout
from vgg6.data.listing import PARTS, TEST, Listing, check_listing, used_classes
from vgg6.data.published import rename
from vgg6.data.reading import Reading

FORMAT = 2  # of what is kept; another one is made anew
ABOUT = "about.json"


@dataclass(frozen=True)
class Decoded:
    """A decoded data set, by part, mapped from disk; ``about``: what else is known of it."""

    parts: dict[str, LabelledImages]
    about: dict[str, Any]


def cached(layout: Layout, how: Reading) -> Decoded:
    """The decoded images of a data set: decoded on the first call on this machine, then mapped.

    Raises:
        InputError: a picture or the data set breaks a rule, or the disk is too small.
    """
    root = user_cache()
    state = [(str(f.absolute()), (s := f.stat()).st_size, s.st_mtime_ns) for f in layout.files]
    here = _digest(repr((FORMAT, asdict(how), state)).encode())
    known = root / f"{here}.known"
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = root / f"{here}.lock"
        with one_at_a_time(lock, "it decodes these images"):
            pass
    except OSError as error:
        variable = "XDG_CACHE_HOME" if os.environ.get("XDG_CACHE_HOME") else "HOME"
        rule = f"cannot be written, and keeps the decoded images: {error}"
        raise InputError(variable, os.environ.get(variable), rule) from None
    # The lock lets the first of several readers decode while the others wait for its files.
    with one_at_a_time(lock, "it decodes these images"):
        key = known.read_text() if known.is_file() else ""
        target = root / key
        if not key or not target.is_dir():
            try:
                key = _content_key(layout, how)
                target = root / key
                uncached = None if target.is_dir() else _decode(layout, how, root, key)
            except InputError:  # whoever waits for the lock will be told the same
                lock.unlink(missing_ok=True)
                raise
            if uncached is not None:
                return uncached
            write_atomic(known, key.encode(), sync=False)
    try:
        return _read(target)
    except (ValueError, OSError, EOFError, KeyError) as error:
        shutil.rmtree(target, ignore_errors=True)  # another reader may be at it too
        say(f"{target} was damaged ({error}) and is made again")
        return cached(layout, how)


def _decode(layout: Layout, how: Reading, root: Path, key: str) -> Decoded | None:
    """Decode a data set into the cache. Where that is full, into memory: then it is returned."""
    listing = used_classes(layout.list())
    check_listing(listing)
    images = sum(len(part.labels) for part in listing.parts.values())
    needed = images * how.image_size**2 * 3
    say(f"decoding {images:,} images into {root}, once")
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        whole = Path(scratch) / key
        whole.mkdir()
        try:
            found = _decoded(listing, how, layout, partial(_on_disk, whole))
            _save(found, whole)
        except OSError as error:  # it is only a cache
            free = available_memory()
            if needed > free:
                rule = (
                    f"has {images:,} images, which take {needed / 1e9:.1f} GB when decoded. {root}"
                    f" is full ({error}), and {free / 1e9:.1f} GB of memory are free: a smaller"
                    " `image_size` takes less"
                )
                raise InputError("data", str(layout.root), rule) from None
            say(f"{root} is full, so the next process decodes them again: {error}")
            return _decoded(listing, how, layout, _in_memory)
        rename(whole, root / key)
    return None


def _decoded(listing: Listing, how: Reading, layout: Layout, allocate: Allocate) -> Decoded:
    parts, seen = decode_all(listing, how.image_size, how.skip_damaged, allocate)
    for name, part in parts.items():
        if not len(part):
            raise InputError("data", str(layout.root), f"has no image left in its {name} part")
    return Decoded(parts, _about(listing, seen, parts))


def _on_disk(folder: Path, name: str, shape: tuple[int, ...]) -> Array:
    """An array in a file of ``folder`` that has all of its blocks: a full disk is an error now, and
    not a signal later."""
    file = folder / f"{name}_images.npy"
    found: Array = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with open(file, "r+b") as content:
            os.posix_fallocate(content.fileno(), 0, file.stat().st_size)
    return found


def _in_memory(name: str, shape: tuple[int, ...]) -> Array:
    return np.empty(shape, np.uint8)


def _save(found: Decoded, folder: Path) -> None:
    for name, part in found.parts.items():
        if isinstance(part.images, np.memmap):
            part.images.flush()
        else:  # without what was damaged, it is another array
            np.save(folder / f"{name}_images.npy", part.images)
        np.save(folder / f"{name}_labels.npy", part.labels)
    (folder / ABOUT).write_text(json.dumps(found.about), encoding="utf-8")


def _about(listing: Listing, seen: Seen, parts: dict[str, LabelledImages]) -> dict[str, Any]:
    mean, std = colours_of(parts["train"].images)
    return {
        "words": listing.words,
        "classes": listing.classes,
        "unnamed": listing.unnamed,
        "known": listing.known,
        "notes": listing.notes,
        "size": list(min(seen.sizes)) if len(seen.sizes) == 1 else None,
        "grey": seen.grey,
        "handled": dict(seen.handled),
        "damaged": seen.damaged,
        "held_out": TEST not in listing.parts,
        "mean": mean,
        "std": std,
    }


def _read(target: Path) -> Decoded:
    about = json.loads((target / ABOUT).read_text(encoding="utf-8"))
    parts = _read_parts(target)
    if not {"train", TEST} <= parts.keys():
        raise ValueError("a part is missing")
    return Decoded(parts, about)


def _read_parts(folder: Path) -> dict[str, LabelledImages]:
    parts = {}
    for name in PARTS:
        files = [folder / f"{name}_{kind}.npy" for kind in ("images", "labels")]
        if any(file.exists() for file in files):
            images, labels = np.load(files[0], mmap_mode="r"), np.load(files[1])
            parts[name] = LabelledImages(images, labels)
    return parts


def _content_key(layout: Layout, how: Reading) -> str:
    """What the content of the files, their names and how they are read decide."""
    home = layout.root if layout.root.is_dir() else layout.root.parent
    with ThreadPoolExecutor(usable_cpus()) as pool:
        try:
            digests = list(pool.map(_digests, _slices(layout.files)))
        except OSError as error:
            raise InputError("data", str(error.filename), f"cannot be read: {error}") from None
    names = [str(os.path.relpath(file, home)) for file in layout.files]
    return _digest(repr((FORMAT, asdict(how), names, digests)).encode())


def _slices(files: Sequence[Path]) -> list[Sequence[Path]]:
    return [files[i : i + 500] for i in range(0, len(files), 500)]


def _digests(files: Sequence[Path]) -> str:
    """One digest of the contents of many files, in their order."""
    whole = hashlib.sha256()
    for file in files:
        with open(file, "rb") as content:
            whole.update(hashlib.file_digest(content, "sha256").digest())
    return whole.hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
