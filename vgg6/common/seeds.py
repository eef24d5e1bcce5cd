"""Seeds derived from (seed, epoch, purpose): the same wherever and whenever they are needed."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed for one purpose in one epoch, so that a resumed run draws the same numbers."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
