"""The recorded curves as one tidy table a space."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from vgg6.files import write_atomic

FOLDER = Path(__file__).parent
# float32 keeps more digits than 1,777 validation images give, in half the space.
NUMBERS = ("train_loss", "train_acc", "val_loss", "val_acc", "best_val_acc", "lr", "seconds")
KEYS = ("space", "point", "seed", "config", "ended", "data", "machine")


def read_curves(space: str, folder: Path = FOLDER) -> pd.DataFrame:
    """The rows of ``space``, one a (run, epoch); empty where nothing has been recorded."""
    path = folder / f"{space}.parquet"
    if not path.exists():
        return pd.DataFrame(columns=[*KEYS, "epoch", *NUMBERS, "best_epoch"])
    return pd.read_parquet(path)


def write_curves(space: str, rows: pd.DataFrame, folder: Path = FOLDER) -> None:
    """Replace the table of ``space``, whole or not at all."""
    typed = rows.astype({name: "float32" for name in NUMBERS})
    typed["best_epoch"] = typed["best_epoch"].astype("Int64")
    content = io.BytesIO()
    typed.to_parquet(content, compression="zstd", index=False)
    write_atomic(folder / f"{space}.parquet", content.getvalue())
