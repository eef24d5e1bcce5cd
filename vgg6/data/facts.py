"""What a search and a package record of their data, and the way back to the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vgg6.common.checks import InputError
from vgg6.data.images import Source, TrialData
from vgg6.data.reading import AS_THE_STUDY, Reading
from vgg6.data.sources import NAMES, load_source
from vgg6.data.splits import split
from vgg6.run_record import CompleteFacts, DataFacts, ImageFacts


def data_facts(
    asked: str,
    source: Source,
    data: TrialData,
    *,
    split_seed: int,
    limit_train: int | None,
    how: Reading = AS_THE_STUDY,
) -> CompleteFacts:
    """What a search or a package records of its data.

    Args:
        asked: what the user named: ``auto`` is recorded as what it found, a folder with its path.
        how: its images were read.
    """
    named = asked in ("auto", *NAMES)
    # Only what is unusual is written: a record of a plain search stays as it was.
    unusual: dict[str, Any] = {}
    if how.label_column is not None:
        unusual["label_column"] = how.label_column
    if how.skip_damaged:
        unusual["skip_damaged"] = True
    by_class = np.bincount(data.val.labels, minlength=data.classes).tolist()
    if len(set(by_class)) > 1:
        unusual["val_by_class"] = by_class
    return CompleteFacts(
        name=source.name,
        argument=source.name if named else str(Path(asked).absolute()),
        origin=source.origin,
        fingerprint=data.fingerprint,
        train_images=len(data.train),
        val_images=len(data.val),
        split_seed=split_seed,
        limit_train=limit_train,
        mirrored=source.flip,
        **unusual,
        **image_facts(source).to_dict(),
    )


def image_facts(source: Source) -> ImageFacts:
    """The normalisation and the classes of a data set."""
    return ImageFacts(
        mean=source.mean, std=source.std, classes=source.classes, image_size=source.image_size
    )


def load_recorded(facts: DataFacts, *, fetch: bool = True) -> tuple[Source, TrialData]:
    """Find the data again that ``data_facts`` recorded.

    Args:
        fetch: as of ``load_source``.

    Raises:
        InputError: it is not there, or is not what it was.
    """
    source = load_source(facts.argument, Reading.of(facts), fetch=fetch)
    data = split(source, split_seed=facts.split_seed, limit_train=facts.limit_train)
    if data.fingerprint != facts.fingerprint:
        rule = f"is not the data of this search: {_difference(facts, source, data)}"
        raise InputError("data", facts.argument, rule)
    return source, data


def _difference(facts: DataFacts, source: Source, data: TrialData) -> str:
    """The first thing by which images are others than those recorded."""
    if facts.classes is not None and source.classes != facts.classes:
        return other_classes(source.classes, facts.classes)
    for what, here, before in (
        ("training", len(data.train), facts.train_images),
        ("validation", len(data.val), facts.val_images),
    ):
        if here != before:
            return f"{here:,} {what} images, it had {before:,}"
    return f"{data.fingerprint}, it had {facts.fingerprint}"


def other_classes(here: tuple[str, ...], before: tuple[str, ...]) -> str:
    """How two sets of classes differ."""
    new, gone = ([n for n in a if n not in b] for a, b in ((here, before), (before, here)))
    parts = [f"{len(here)} classes, it had {len(before)}"] if len(here) != len(before) else []
    parts += [f"new: {', '.join(new[:5])}"] if new else []
    parts += [f"missing: {', '.join(gone[:5])}"] if gone else []
    return "; ".join(parts or ["the same classes in another order"])
