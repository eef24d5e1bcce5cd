"""Writing files so that nobody ever reads a part of one."""

from __future__ import annotations

import os
from pathlib import Path


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
    finally:
        scratch.unlink(missing_ok=True)
