"""What replayed searches found, as one tidy table: a row a search."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import write_file

# One search: epochs (None without an answer), time, trials, budget, regret at each look.
Sample = dict[str, Any]
Samples = dict[str, dict[str, list[Sample]]]  # by method and number of workers, in order of seeds
ABOUT = {
    "about": "Searches replayed on recorded learning curves, one row a search.",
    "epochs": "Epochs charged until the answer; missing where there was none within 'budget'.",
    "time": "The answer's time on the virtual clock, in epochs of one worker.",
    "trials": "Trials begun by the end of the replay.",
    "budget": "Epochs that the search was given.",
    "regret": "The best recorded accuracy less the incumbent's, after the epochs in 'looks'.",
}


def write_searches(path: Path, samples: Samples, looks: tuple[int, ...], **facts: Any) -> None:
    """Replace the table at ``path``, whole or not at all. ``facts`` become JSON in its metadata."""
    rows = [
        {"method": method, "workers": int(workers), "seed": seed, **sample}
        for method, cells in samples.items()
        for workers, cell in cells.items()
        for seed, sample in enumerate(cell)
    ]
    table = pd.DataFrame(rows)
    table["epochs"] = table["epochs"].astype("Int64")
    typed = pa.Table.from_pandas(table, preserve_index=False)
    about = ABOUT | {key: json.dumps(value) for key, value in {**facts, "looks": looks}.items()}
    content = io.BytesIO()
    metadata = {**(typed.schema.metadata or {}), **about}
    pq.write_table(typed.replace_schema_metadata(metadata), content, compression="zstd")
    write_file(path, content.getvalue())


def read_searches(path: Path) -> tuple[Samples, dict[str, Any]]:
    """The samples of a table, and the curves that were replayed."""
    table = pq.read_table(path)
    samples: Samples = {}
    for row in table.to_pylist():
        cell = samples.setdefault(row.pop("method"), {}).setdefault(str(row.pop("workers")), [])
        assert row.pop("seed") == len(cell), f"{path}: a seed is missing"
        cell.append(row)
    return samples, json.loads(table.schema.metadata[b"curves"])
