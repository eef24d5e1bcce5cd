"""What a search and a package record of their data, and the way back to the same images."""

from __future__ import annotations

from pathlib import Path

from vgg6.common.checks import InputError
from vgg6.data.images import Source, TrialData
from vgg6.data.sources import load_source
from vgg6.data.splits import split
from vgg6.run_record import CompleteFacts, DataFacts, ImageFacts


def data_facts(
    asked: str, source: Source, data: TrialData, *, split_seed: int, limit_train: int | None
) -> CompleteFacts:
    """What a search or a package records of its data.

    Args:
        asked: what the user named: ``auto`` is recorded as what it found, a folder with its path.
    """
    named = asked in ("auto", "cifar10", "digits")
    return CompleteFacts(
        name=source.name,
        argument=source.name if named else str(Path(asked).absolute()),
        origin=source.origin,
        fingerprint=data.fingerprint,
        train_images=len(data.train),
        val_images=len(data.val),
        split_seed=split_seed,
        limit_train=limit_train,
        **image_facts(source).to_dict(),
    )


def image_facts(source: Source) -> ImageFacts:
    """The normalisation and the classes of a data set."""
    return ImageFacts(mean=source.mean, std=source.std, classes=source.classes)


def load_recorded(facts: DataFacts) -> tuple[Source, TrialData]:
    """Find the data again that ``data_facts`` recorded.

    Raises:
        InputError: it is not there, or is not what it was.
    """
    source = load_source(facts.argument)
    data = split(source, split_seed=facts.split_seed, limit_train=facts.limit_train)
    if data.fingerprint != facts.fingerprint:
        rule = f"is not the data of this search: {data.fingerprint}, it had {facts.fingerprint}"
        raise InputError("data", facts.argument, rule)
    return source, data
