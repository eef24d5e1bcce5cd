"""The recorded curves as one tidy table a space."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.replay.plan import EPOCHS, LIMIT_TRAIN, SHARES, widths
from vgg6.common.files import write_atomic

FOLDER = Path(__file__).parent
# float32 keeps more digits than 1,777 validation images give, in half the space.
NUMBERS = ("train_loss", "train_acc", "val_loss", "val_acc", "best_val_acc", "lr", "seconds")
KEYS = ("space", "point", "seed", "config", "ended", "data", "machine")

# Goes into each file: a table of measurements says what it measured.
ABOUT = {
    "about": "Learning curves of VGG6 on CIFAR-10, one row a (run, epoch), to replay searches on.",
    "how": f"python -m benchmarks.replay.record: {LIMIT_TRAIN} training images, a stratified part"
    f" of CIFAR-10 (JPEG re-encoded, fingerprint in 'data'), and a ninth as many for validation;"
    f" {EPOCHS} epochs, bf16, one thread, the machine in 'machine'; as a trial of a search with"
    f" --epochs {EPOCHS} --limit-train {LIMIT_TRAIN}, where the network is as wide as VGG6 is.",
    "config": "The run's whole configuration as JSON; 'point' is its place in the plan of its"
    " space, and the same for all seeds.",
    "ended": "completed; diverged: the loss was not finite in the epoch after the last row; dead:"
    " every image got the same answer, and the rows after the last one would repeat it.",
    "seconds": "Wall time of an epoch beside other work: no measure of speed.",
}


def read_curves(space: str, width: str, folder: Path = FOLDER) -> pd.DataFrame:
    """The rows of ``space`` on the network of this width, one a (run, epoch); empty where nothing
    has been recorded."""
    path = folder / width / f"{space}.parquet"
    if not path.exists():
        return pd.DataFrame(columns=[*KEYS, "epoch", *NUMBERS, "best_epoch"])
    return pd.read_parquet(path)


def write_curves(space: str, width: str, rows: pd.DataFrame, folder: Path = FOLDER) -> None:
    """Replace the table of ``space`` on the network of this width, whole or not at all."""
    typed = rows.astype({name: "float32" for name in NUMBERS})
    typed["best_epoch"] = typed["best_epoch"].astype("Int64")
    table = pa.Table.from_pandas(typed, preserve_index=False)
    content = io.BytesIO()
    channels = f"{width} (1/{SHARES[width]}): {', '.join(map(str, widths(width)))}"
    about = {**(table.schema.metadata or {}), **ABOUT, "widths": channels}
    pq.write_table(table.replace_schema_metadata(about), content, compression="zstd")
    (folder / width).mkdir(exist_ok=True)
    write_atomic(folder / width / f"{space}.parquet", content.getvalue())
