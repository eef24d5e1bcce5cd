"""Writing files so that nobody ever reads a part of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vgg6.common.checks import InputError


def check_characters(key: str, text: str) -> None:
    """Raise InputError where bytes of a path are no characters in the encoding of file names, which
    pyarrow, Ray and JSON files need."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return
    encoding = sys.getfilesystemencoding()
    rule = f"has bytes that are no characters in {encoding}, the encoding of file names here"
    if encoding != "utf-8":
        rule += ": PYTHONUTF8=1 would make it UTF-8"
    raise InputError(key, os.fsencode(text).decode("utf-8", "replace"), rule)


def check_target(key: str, out: Path, given: str | None = None) -> None:
    """Raise InputError unless ``out`` can be made, in folders that are there or can be made too.
    ``given``: what an error shows, where that is not ``out`` itself."""
    above = next(p for p in out.absolute().parents if p.exists())
    shown = str(out) if given is None else given
    if not above.is_dir():
        raise InputError(key, shown, f"cannot be written: {above} is no folder")
    if not os.access(above, os.W_OK):
        raise InputError(key, shown, f"cannot be written: {above} is read-only")


def write_atomic(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write ``content`` to ``path`` so that a reader finds the old file or the new one, whole.

    Without ``sync`` that holds for whatever happens to this process, but a power cut may leave the
    file cut short: for what has a checksum and an older copy beside it.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(scratch, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names none
        raise
    finally:
        scratch.unlink(missing_ok=True)
