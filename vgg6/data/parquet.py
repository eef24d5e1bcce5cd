"""Data sets as parquet files, as the Hugging Face hub writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vgg6.common.checks import InputError, check_choice
from vgg6.data.listing import (
    CHUNK,
    PART_NAMES,
    TRAIN,
    Encoded,
    Listing,
    PartListing,
    label_numbers,
    natural,
)

IMAGE_COLUMNS, LABEL_COLUMNS = ("img", "image"), ("label", "fine_label")
SUFFIX = ".parquet"


def parquet_files(folder: Path) -> dict[str, list[Path]]:
    """The parquet files of each part that lie in ``folder``: ``train-00000-of-00002.parquet``,
    ``train.parquet`` or ``train/0000.parquet``."""
    found: dict[str, list[Path]] = {}
    for part, names in PART_NAMES.items():
        for name in names:
            files = [*folder.glob(f"{name}-*{SUFFIX}"), *folder.glob(f"{name}{SUFFIX}")]
            if files := sorted(files or folder.glob(f"{name}/*{SUFFIX}")):
                found[part] = files
                break
    return found


def found_files(folder: Path) -> list[Path]:
    """The parquet files of the data set that lies in ``folder``, or one level below.

    Raises:
        InputError: several folders hold such files.
    """
    home = _home(folder)
    return [f for own in parquet_files(home).values() for f in own] if home else []


def _home(folder: Path) -> Path | None:
    below = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    homes = [place for place in (folder, *below) if TRAIN in parquet_files(place)]
    if homes and homes[0] != folder and len(homes) > 1:
        named = ", ".join(place.name for place in homes)
        raise InputError("data", str(folder), f"holds several data sets: give one of {named}")
    return homes[0] if homes else None


def list_parquet(folder: Path, label_column: str | None) -> Listing:
    """The pictures of the parquet files in ``folder`` or one level below.

    Raises:
        InputError: a file is damaged or lacks the columns; several folders hold such files.
    """
    home = _home(folder)
    assert home is not None, "call it where found_files finds some"
    files = parquet_files(home)
    image, label, names = _columns(files[TRAIN][0], label_column)
    rows = {part: [_labels(f, image, label) for f in own] for part, own in files.items()}
    values = {part: [v for one in own for v in one] for part, own in rows.items()}
    unnamed = names is None and all(isinstance(v, int) for own in values.values() for v in own)
    if names is None:
        classes = sorted({v for own in values.values() for v in own}, key=lambda v: natural(str(v)))
        negative = next((v for v in classes if isinstance(v, int) and v < 0), None)
        if negative is not None:
            where = next(f for p, own in files.items()
                         for f, r in zip(own, rows[p], strict=True) if negative in r)  # fmt: skip
            rule = f"has the label {negative}: it must be 0 or more"
            raise InputError("data", str(where), rule)
    else:
        classes = list(range(len(names)))
    parts = {}
    for part, own in files.items():
        counts = [len(one) for one in rows[part]]
        labels = label_numbers(f"{home}/{part}", values[part], classes)
        parts[part] = PartListing(
            labels, partial(_chunks, own, image), partial(_where, own, counts)
        )
    place = f" in {home.name}/" if home != folder else ""
    return Listing(
        words=f"parquet files{place}, columns {image} and {label}",
        root=folder,
        files=[f for own in files.values() for f in own],
        classes=tuple(names if names is not None else map(str, classes)),
        parts=parts,
        unnamed=unnamed and (image, label) == (IMAGE_COLUMNS[0], LABEL_COLUMNS[0]),
    )


def _columns(file: Path, asked: str | None) -> tuple[str, str, list[str] | None]:
    """The columns of the images and the labels, and the names of the classes where they are given.

    Raises:
        InputError: there are none such.
    """
    import pyarrow as pa

    schema = _open(file).schema_arrow
    kinds = {name: schema.field(name).type for name in schema.names}
    images = [name for name, kind in kinds.items() if _holds_bytes(kind)]
    if not images:
        rule = f"has no column that holds encoded images: it has {', '.join(kinds)}"
        raise InputError("data", str(file), rule)
    image = next((name for name in IMAGE_COLUMNS if name in images), images[0])
    able = [
        name
        for name, kind in kinds.items()
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or _is_text(kind)
    ]
    if asked is not None:
        check_choice("label_column", asked, able)
        label = asked
    else:
        known = next((name for name in LABEL_COLUMNS if name in able), None)
        if known is None:
            rule = (
                f"has no column {' or '.join(LABEL_COLUMNS)}: `label_column` names another, of"
                f" {', '.join(able) or 'which there is none of whole numbers or text'}"
            )
            raise InputError("data", str(file), rule)
        label = known
    return image, label, _class_names(schema.metadata or {}, label)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        inner = [kind.field(i) for i in range(kind.num_fields)]
        return any(f.name == "bytes" and _holds_bytes(f.type) for f in inner)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes], label: str) -> list[str] | None:
    """The names of the classes that the hub's library wrote beside the columns."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _open(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError("data", str(file), f"cannot be read as parquet: {error}") from None


def _labels(file: Path, image: str, label: str) -> list[int | str]:
    """The labels of a file. Its other columns are not read."""
    import pyarrow as pa

    opened = _open(file)
    if missing := {image, label} - set(opened.schema_arrow.names):
        raise InputError("data", str(file), f"has no column {min(missing)}")
    try:
        values: list[Any] = opened.read(columns=[label])[label].to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError("data", str(file), f"cannot be read as parquet: {error}") from None
    if not values:
        raise InputError("data", str(file), "has no rows")
    if None in values:
        raise InputError("data", str(file), f"has no label in row {values.index(None)}")
    return [int(v) if isinstance(v, bool) else v for v in values]


def _chunks(files: Sequence[Path], image: str) -> Iterator[Sequence[Encoded]]:
    import pyarrow as pa

    for file in files:
        try:
            for batch in _open(file).iter_batches(CHUNK, columns=[image]):
                column = batch.column(0)
                yield (
                    column.field("bytes") if pa.types.is_struct(column.type) else column
                ).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise InputError("data", str(file), f"cannot be read as parquet: {error}") from None


def _where(files: Sequence[Path], counts: Sequence[int], row: int) -> tuple[str, str]:
    ends = np.cumsum(counts)
    index = int(np.searchsorted(ends, row, side="right"))
    return str(files[index]), f"row {row - (ends[index] - counts[index])} holds no image"
