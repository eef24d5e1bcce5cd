"""Reads W&B's offline run files: LevelDB log blocks of protobuf records."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

BLOCK, HEADER = 32 * 1024, 7


@dataclass
class OfflineRun:
    """What one offline run file holds."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def records(path: Path) -> list[pb.Record]:
    """All records of a ``.wandb`` file; a record may be cut over several blocks."""
    data, found, parts, at = path.read_bytes(), [], b"", HEADER
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            record = pb.Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def read_run(path: Path) -> OfflineRun:
    run = OfflineRun()
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name = record.run.run_id, record.run.display_name
            run.group, run.project = record.run.run_group, record.run.project
            run.config |= _values(record.run.config.update)
        elif kind == "history":
            run.history.append(_values(record.history.item))
        elif kind == "summary":
            run.summary |= _values(record.summary.update)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def read_runs(folder: Path) -> list[OfflineRun]:
    """All offline runs below a search's folder, the first made first."""
    return [read_run(p) for p in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]


def _values(items: Any) -> dict[str, Any]:
    named = {item.key or "/".join(item.nested_key): item.value_json for item in items}
    return {k: json.loads(v) for k, v in named.items() if not k.startswith("_")}
